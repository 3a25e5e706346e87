"""Reads the report.json of a build folder: what a runner must know to compile and feed the generated C."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tinyc.errors import ModelError, printable
from tinyc.numerics.profile import Profile
from tinyc.runners.base import DTYPES
from tinyc.targets import CORES
from tinyc.toolchains.gcc_arm import FAST, SMALL

REPORT_FILE: Final = "report.json"
IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A build folder may come from someone else: only flags that select a core reach the compiler.
CORE_FLAG: Final = re.compile(r"-mthumb|-m(cpu|fpu|float-abi)=[A-Za-z0-9.+-]+")
SIZE_LIMIT: Final = 2**31


@dataclass(frozen=True)
class ArenaRegion:
    """Memory that the C works in: `bytes` bytes in the target's RAM bank `bank`, the first one at a multiple of `align`.

    Without banks the name is empty. `field` is its place in the struct of arenas of a network with several, empty where there is one.
    """

    bank: str
    field: str
    bytes: int
    align: int

    @property
    def suffix(self) -> str:
        """Ending of the names of its macros."""
        return f"_{self.field.upper()}" if self.field else ""

    @property
    def symbol(self) -> str:
        """Behind the names that programs around the network give to what belongs to this arena."""
        return f"_{self.field}" if self.field else ""

    @property
    def title(self) -> str:
        """In messages."""
        return f"its arena of {self.bytes} bytes" + (f" in bank {self.bank}" if self.bank else "")


@dataclass(frozen=True)
class TensorRegion:
    """One input or output: `bytes` bytes at `offset` in arena number `arena`, dense, row-major, of `shape` and `dtype` (a key of DTYPES).

    `scale` and `zero_point` are its quantisation; None where it has none. An input that is pushed row by row has `rows` rows of `row_bytes`
    bytes, and `offset` and `bytes` are those of the memory that keeps some of them; for all others both are 0.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    bytes: int
    scale: float | None
    zero_point: int | None
    rows: int = 0
    row_bytes: int = 0
    arena: int = 0


@dataclass(frozen=True)
class BuildDescription:
    """A build folder, checked: every source is there and every region lies in its arena. Sizes in bytes."""

    directory: Path
    name: str
    profile: Profile
    target_name: str
    core: str
    gcc_flags: tuple[str, ...]
    sources: tuple[Path, ...]
    arenas: tuple[ArenaRegion, ...]
    inputs: tuple[TensorRegion, ...]
    outputs: tuple[TensorRegion, ...]
    optimization: str = FAST
    """The compiler's flag."""

    @property
    def arena_bytes(self) -> int:
        """Bytes of all arenas."""
        return sum(arena.bytes for arena in self.arenas)

    @property
    def arena_align(self) -> int:
        """What the first byte of every arena may be aligned to."""
        return max(arena.align for arena in self.arenas)

    @property
    def banked(self) -> bool:
        """Whether the C takes a struct of arenas."""
        return len(self.arenas) > 1

    @property
    def macro(self) -> str:
        """Prefix of the macros in the network's header."""
        return self.name.upper()

    @property
    def pushed(self) -> TensorRegion | None:
        """The input, where the C takes it row by row; None where all inputs lie in the arena."""
        return next((region for region in self.inputs if region.rows), None)

    @property
    def entry_point(self) -> str:
        """The C function that computes."""
        return f"{self.name}_{'push_row' if self.pushed else 'invoke'}"


def read_description(build_dir: Path) -> BuildDescription:
    """The description of the build in `build_dir`; raises ModelError saying what is missing or wrong in its report."""
    path = build_dir / REPORT_FILE
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{printable(build_dir)} is not a build folder: cannot read {REPORT_FILE}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{printable(path)} is not JSON: {printable(error)}") from error
    reader = _Reader(printable(path))
    top = reader.table(report, "the report")
    name = reader.text(top, "name")
    if not IDENTIFIER.fullmatch(name):
        raise reader.wrong("`name` must be a C identifier", name)
    target = reader.table(top.get("target"), "`target`")
    core = reader.text(target, "core")
    if core not in CORES:
        raise reader.wrong(f"`target.core` must be one of {', '.join(CORES)}", core)
    numerics = reader.text(top, "numerics")
    if numerics not in {profile.value for profile in Profile}:
        raise reader.wrong(f"`numerics` must be one of {', '.join(profile.value for profile in Profile)}", numerics)
    arenas = reader.arenas(top)
    return BuildDescription(
        directory=build_dir,
        name=name,
        profile=Profile(numerics),
        target_name=reader.text(target, "name"),
        core=core,
        gcc_flags=reader.flags(target),
        optimization=reader.optimization(top),
        sources=reader.sources(top, build_dir),
        arenas=arenas,
        inputs=reader.inputs(top, arenas),
        outputs=reader.regions(top, "outputs", arenas),
    )


@dataclass(frozen=True)
class _Reader:
    """Typed access to the parts of one report; every error names the file."""

    where: str

    def wrong(self, expected: str, found: object) -> ModelError:
        return ModelError(f"{self.where}: {expected}, found {printable(repr(found))}")

    def table(self, value: object, what: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(f"{what} must be an object", value)
        return value

    def text(self, table: dict[str, Any], key: str) -> str:
        value = table.get(key)
        if not isinstance(value, str):
            raise self.wrong(f"`{key}` must be a string", value)
        return value

    def number(self, table: dict[str, Any], key: str, what: str, least: int) -> int:
        value = table.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < SIZE_LIMIT:
            raise self.wrong(f"`{what}` must be a whole number from {least} to {SIZE_LIMIT - 1}", value)
        return value

    def entries(self, table: dict[str, Any], key: str) -> list[Any]:
        value = table.get(key)
        if not isinstance(value, list) or not value:
            raise self.wrong(f"`{key}` must be an array with at least one entry", value)
        return value

    def flags(self, target: dict[str, Any]) -> tuple[str, ...]:
        flags = target.get("gcc_flags")
        if not isinstance(flags, list) or not all(isinstance(flag, str) and CORE_FLAG.fullmatch(flag) for flag in flags):
            raise self.wrong("`target.gcc_flags` must be an array of -mcpu=, -mthumb, -mfpu= and -mfloat-abi= flags", flags)
        return tuple(flags)

    def optimization(self, top: dict[str, Any]) -> str:
        flag = top.get("optimization", FAST)
        if flag not in (FAST, SMALL):
            raise self.wrong(f"`optimization` must be {FAST} or {SMALL}", flag)
        return str(flag)

    def sources(self, top: dict[str, Any], build_dir: Path) -> tuple[Path, ...]:
        paths = []
        for entry in self.entries(top, "sources"):
            if not isinstance(entry, str) or Path(entry).name != entry or entry.startswith("-"):
                raise self.wrong("`sources` must be names of files in the build folder", entry)
            if not (build_dir / entry).is_file():
                raise ModelError(f"{self.where}: source file {printable(entry)} is missing from the build folder")
            if entry.endswith(".c"):
                paths.append((build_dir / entry).resolve())
        if not paths:
            raise self.wrong("`sources` must name at least one .c file", top["sources"])
        return tuple(paths)

    def arenas(self, top: dict[str, Any]) -> tuple[ArenaRegion, ...]:
        """One for each bank, or the only one."""
        if "arenas" not in top:
            return (self.arena(self.table(top.get("arena"), "`arena`"), "arena", False),)
        entries = self.entries(top, "arenas")
        found = tuple(
            self.arena(self.table(entry, f"`arenas[{index}]`"), f"arenas[{index}]", len(entries) > 1) for index, entry in enumerate(entries)
        )
        for names in ([arena.bank for arena in found], [arena.field for arena in found]):
            if len(found) > 1 and (len(set(names)) != len(names) or not all(names)):
                raise self.wrong("`arenas` must lie in different banks and have different fields", names)
        return found

    def arena(self, table: dict[str, Any], what: str, several: bool) -> ArenaRegion:
        bank = self.text(table, "bank") if what != "arena" else ""
        field = self.text(table, "field") if several else ""
        for key, name in (("bank", bank), ("field", field)):
            if name and not IDENTIFIER.fullmatch(name):
                raise self.wrong(f"`{what}.{key}` must be a C identifier", name)
        size, align = self.number(table, "bytes", f"{what}.bytes", 1), self.number(table, "align", f"{what}.align", 1)
        if align & (align - 1) or align > 4096:
            raise self.wrong(f"`{what}.align` must be a power of two up to 4096", align)
        return ArenaRegion(bank, field, size, align)

    def inputs(self, top: dict[str, Any], arenas: Sequence[ArenaRegion]) -> tuple[TensorRegion, ...]:
        found = self.regions(top, "inputs", arenas)
        if len(found) > 1 and any(region.rows for region in found):
            raise self.wrong("`inputs` must be a single one where rows are pushed", len(found))
        return found

    def regions(self, top: dict[str, Any], key: str, arenas: Sequence[ArenaRegion]) -> tuple[TensorRegion, ...]:
        return tuple(self.region(entry, f"{key}[{index}]", arenas) for index, entry in enumerate(self.entries(top, key)))

    def region(self, entry: object, what: str, arenas: Sequence[ArenaRegion]) -> TensorRegion:
        table = self.table(entry, f"`{what}`")
        banks = [arena.bank for arena in arenas]
        bank = self.text(table, "bank") if len(arenas) > 1 else banks[0]
        if bank not in banks:
            raise self.wrong(f"`{what}.bank` must be one of {', '.join(banks)}", bank)
        dtype = self.text(table, "dtype")
        if dtype not in DTYPES:
            raise self.wrong(f"`{what}.dtype` must be one of {', '.join(DTYPES)}", dtype)
        shape = table.get("shape")
        if not isinstance(shape, list) or not all(isinstance(size, int) and 0 < size < SIZE_LIMIT for size in shape):
            raise self.wrong(f"`{what}.shape` must be an array of positive whole numbers", shape)
        offset, size = self.number(table, "offset", f"{what}.offset", 0), self.number(table, "bytes", f"{what}.bytes", 1)
        rows = row_bytes = 0
        if "rows" in table and what.startswith("inputs"):
            rows, row_bytes = self.number(table, "rows", f"{what}.rows", 1), self.number(table, "row_bytes", f"{what}.row_bytes", 1)
            if rows * row_bytes != math.prod(shape) * DTYPES[dtype].itemsize:
                raise self.wrong(f"`{what}.rows` times `row_bytes` must be the size of {dtype} of shape {tuple(shape)}", rows * row_bytes)
        elif size != math.prod(shape) * DTYPES[dtype].itemsize:
            raise self.wrong(f"`{what}.bytes` must be the size of {dtype} of shape {tuple(shape)}", size)
        room = arenas[banks.index(bank)].bytes
        if offset + size > room:
            raise self.wrong(f"`{what}` must end inside the arena of {room} bytes", offset + size)
        scale, zero_point = table.get("scale"), table.get("zero_point")
        if scale is not None and (not isinstance(scale, (int, float)) or not math.isfinite(scale) or scale <= 0):
            raise self.wrong(f"`{what}.scale` must be a positive number or null", scale)
        if zero_point is not None and not isinstance(zero_point, int):
            raise self.wrong(f"`{what}.zero_point` must be a whole number or null", zero_point)
        return TensorRegion(
            name=self.text(table, "name"),
            dtype=dtype,
            shape=tuple(shape),
            offset=offset,
            bytes=size,
            scale=None if scale is None else float(scale),
            zero_point=zero_point,
            rows=rows,
            row_bytes=row_bytes,
            arena=banks.index(bank),
        )
