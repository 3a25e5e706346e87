"""Reads linked ARM programs (ELF, 32 bits, little-endian): what is loaded where, and which name lies at which address.

Layout: System V Application Binary Interface, chapter 4, and ELF for the Arm Architecture (mapping symbols).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tinyc.errors import ToolError, printable

PT_LOAD: Final = 1
SHT_SYMTAB: Final = 2
STT_FUNC: Final = 2


@dataclass(frozen=True)
class Segment:
    """Bytes that a loader writes: `data` at physical address `address`; `executable` when code is among them."""

    address: int
    data: bytes
    executable: bool


@dataclass(frozen=True)
class Symbol:
    """A name with its address (the Thumb bit of functions cleared) and size in bytes, 0 where unknown."""

    name: str
    address: int
    bytes: int
    is_function: bool


@dataclass(frozen=True)
class Program:
    """A linked program. `entry` has its Thumb bit cleared."""

    entry: int
    segments: tuple[Segment, ...]
    symbols: tuple[Symbol, ...]

    def addresses(self) -> dict[str, int]:
        """Address by name, without mapping symbols; of equal names the last."""
        return {symbol.name: symbol.address for symbol in self.symbols if not symbol.name.startswith("$")}

    def symbol(self, name: str) -> Symbol:
        """The symbol called `name`; raises ToolError where there is none."""
        for symbol in self.symbols:
            if symbol.name == name:
                return symbol
        raise ToolError(f"the linked program has no symbol {printable(name)}")

    def function_at(self, address: int) -> Symbol | None:
        """The function whose code holds `address`."""
        for symbol in self.symbols:
            if symbol.is_function and symbol.address <= address < symbol.address + symbol.bytes:
                return symbol
        return None

    def thumb_code(self) -> list[tuple[int, bytes]]:
        """Stretches of Thumb instructions, (address, bytes), as the mapping symbols $t and $d of the compiler delimit them."""
        marks = sorted((symbol.address, symbol.name[:2] == "$t") for symbol in self.symbols if symbol.name[:2] in ("$t", "$d", "$a"))
        stretches = []
        for segment in self.segments:
            if not segment.executable:
                continue
            end = segment.address + len(segment.data)
            inside = [mark for mark in marks if segment.address <= mark[0] < end]
            for (start, is_thumb), (stop, _) in zip(inside, [*inside[1:], (end, False)], strict=True):
                if is_thumb and stop > start:
                    stretches.append((start, segment.data[start - segment.address : stop - segment.address]))
        return stretches


def read_program(path: Path) -> Program:
    """The program in the file `path`; raises ToolError where it is no such file."""
    try:
        return _parse(path.read_bytes())
    except OSError as error:
        raise ToolError(f"cannot read {printable(path)}: {error.strerror}") from error
    except (struct.error, IndexError, UnicodeDecodeError, _NotArm) as error:
        raise ToolError(f"{printable(path)} is not a linked program for ARM: {printable(error)}") from error


class _NotArm(Exception):
    """The file starts like something else."""


def _parse(data: bytes) -> Program:
    if data[:6] != b"\x7fELF\x01\x01" or struct.unpack_from("<H", data, 18)[0] != 40:
        raise _NotArm("no little-endian 32-bit ELF for ARM")
    entry, program_offset, section_offset = struct.unpack_from("<3I", data, 24)
    program_size, program_count, section_size, section_count = struct.unpack_from("<4H", data, 42)
    segments = []
    for index in range(program_count):
        kind, offset, _, address, file_bytes, _, flags, _ = struct.unpack_from("<8I", data, program_offset + index * program_size)
        if kind == PT_LOAD and file_bytes:
            segments.append(Segment(address, data[offset : offset + file_bytes], bool(flags & 1)))
    sections = [struct.unpack_from("<10I", data, section_offset + index * section_size) for index in range(section_count)]
    symbols: list[Symbol] = []
    for section in sections:
        if section[1] == SHT_SYMTAB:
            symbols += _symbols(data, section[4], section[5], sections[section[6]][4])
    return Program(entry & ~1, tuple(segments), tuple(symbols))


def _symbols(data: bytes, offset: int, size: int, names: int) -> list[Symbol]:
    found = []
    for name_offset, value, bytes_, info, _, section in struct.iter_unpack("<IIIBBH", data[offset : offset + size]):
        if section == 0 or not name_offset:
            continue
        start = names + name_offset
        name = data[start : data.index(b"\0", start)].decode("utf-8")
        is_function = info & 15 == STT_FUNC
        found.append(Symbol(name, value & ~1 if is_function else value, bytes_, is_function))
    return found
