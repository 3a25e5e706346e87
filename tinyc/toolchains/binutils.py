"""What objdump and addr2line say about a linked program: its instructions as text, and which functions each one was inlined from."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tinyc.errors import ToolError
from tinyc.toolchains.gcc_arm import GccArm
from tinyc.toolchains.process import run_tool

_LINE: Final = re.compile(r"^\s*([0-9a-f]+):\t((?:[0-9a-f]{4} ?)+)\s*\t([^.\s]\S*)(?:\t(.*))?$")
_COMMENT: Final = re.compile(r"\s*[@;].*$")
_ADDRESS: Final = re.compile(r"^0x([0-9a-f]+)$")


@dataclass(frozen=True)
class Line:
    """One instruction as objdump prints it: `bytes` is 2 or 4; `operands` without comments."""

    address: int
    bytes: int
    mnemonic: str
    operands: str


def disassemble(gcc: GccArm, elf: Path) -> list[Line]:
    """All instructions in the code of `elf`, by address; constants between functions are left out. Raises ToolError."""
    text = run_tool([gcc.tool("objdump"), "-d", "-w", elf]).stdout
    lines = []
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is not None:
            address, code, mnemonic, operands = found.groups()
            lines.append(Line(int(address, 16), 2 * len(code.split()), mnemonic, _COMMENT.sub("", operands or "").strip()))
    return sorted(lines, key=lambda line: line.address)


@dataclass(frozen=True)
class Origin:
    """Where an instruction comes from: functions of the source, innermost first, and the file of the last, which has the code."""

    functions: tuple[str, ...]
    file: Path


def origins(gcc: GccArm, elf: Path, addresses: Sequence[int]) -> dict[int, Origin]:
    """The origin of each of `addresses`. `elf` must have line tables; what was compiled without is left out. Raises ToolError."""
    command = [str(gcc.tool("addr2line")), "-a", "-i", "-f", "-e", str(elf)]
    try:
        done = subprocess.run(
            command, input="\n".join(f"{address:#x}" for address in addresses), capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolError(f"addr2line failed: {error}") from error
    found: dict[int, list[str]] = {}
    answer: list[str] = []
    for line in done.stdout.splitlines():
        address = _ADDRESS.match(line)
        if address is not None:
            answer = found.setdefault(int(address.group(1), 16), [])
        else:
            answer.append(line)
    # Names of functions and places in files take turns.
    return {
        address: Origin(tuple(answer[::2]), Path(answer[-1].rpartition(":")[0])) for address, answer in found.items() if "??" not in answer
    }
