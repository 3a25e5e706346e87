"""arm-none-eabi-gcc: compile, link and measure for Cortex-M."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tinyc.errors import DoesNotFitError, ToolError
from tinyc.toolchains.process import execute, find_tool, first_error_lines, run_tool

FAST, SMALL = "-O2", "-Os"
"""What a compiler is asked for: speed, or little code."""
OPTIMISATION_FLAGS: Final = (FAST, "-std=c99", "-ffunction-sections", "-fdata-sections")
WARNING_FLAGS: Final = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-pedantic")
DEFAULT_FLAGS: Final = (*OPTIMISATION_FLAGS, *WARNING_FLAGS)

PACKAGE: Final = "gcc-arm-none-eabi"
LIBRARY_PACKAGE: Final = "libnewlib-arm-none-eabi"
OVERFLOW: Final = re.compile(r"region [`']([^`']+)' overflowed by (\d+) bytes?")


@dataclass(frozen=True)
class ObjectSize:
    """Bytes of one object file or linked image, by kind: code, constants, initialised variables, zeroed or uninitialised memory."""

    name: str
    text: int
    rodata: int
    data: int
    bss: int

    @property
    def flash(self) -> int:
        """Bytes that lie in flash; initialised variables are copied from there."""
        return self.text + self.rodata + self.data

    @property
    def ram(self) -> int:
        """Bytes of RAM that are taken statically."""
        return self.data + self.bss


class RegionOverflowError(DoesNotFitError):
    """The linker ran out of memory regions; `overflow` maps each region's name in the linker script to the missing bytes."""

    def __init__(self, overflow: dict[str, int]) -> None:
        self.overflow = overflow
        super().__init__("; ".join(f"region {name} is too small by {missing} bytes" for name, missing in overflow.items()))


@dataclass(frozen=True)
class GccArm:
    """A found compiler. `prefix` is the path of the tools up to and with `arm-none-eabi-`."""

    prefix: str

    @property
    def name(self) -> str:
        """Its key among the toolchains."""
        return "gcc"

    @property
    def place(self) -> str:
        """Where it was found."""
        return self.prefix

    def tool(self, name: str) -> Path:
        """Path of the tool `name` of this toolchain, e.g. `gcc` or `objdump`; raises ToolError where it is missing."""
        return find_tool([f"{self.prefix}{name}"], PACKAGE if name == "gcc" else "binutils-arm-none-eabi")

    def version(self) -> str:
        """Version number that the compiler reports, e.g. `12.2.1`."""
        return run_tool([self.tool("gcc"), "-dumpfullversion"]).stdout.strip()

    def compile(
        self, sources: Sequence[Path], output_dir: Path, core_flags: Sequence[str], flags: Sequence[str] = DEFAULT_FLAGS
    ) -> list[Path]:
        """Object files of `sources`, in their order, in `output_dir`; `core_flags` are `Target.gcc_flags`. Raises ToolError."""
        return compile_all([self.tool("gcc")], sources, output_dir, [*core_flags, *flags])

    def link(self, objects: Sequence[Path], script: Path, output: Path, core_flags: Sequence[str], flags: Sequence[str] = ()) -> Path:
        """Image at `output`, laid out by the linker `script`, without start files of the C library, unused sections dropped.

        Raises RegionOverflowError where a memory region of the script is too small, ToolError for everything else.
        """
        command = [self.tool("gcc"), *core_flags, "-nostartfiles", "-Wl,--gc-sections", "-T", script, *flags, *objects, "-lm", "-o", output]
        result = execute([str(part) for part in command])
        if result.returncode != 0:
            overflow = {name: int(missing) for name, missing in OVERFLOW.findall(result.stderr)}
            if overflow:
                raise RegionOverflowError(overflow)
            hint = f"\n  (the C library is in the package {LIBRARY_PACKAGE})" if "cannot find -l" in result.stderr else ""
            raise ToolError(f"linking {output.name} failed\n{first_error_lines(result)}{hint}")
        return output

    def sizes(self, files: Sequence[Path]) -> list[ObjectSize]:
        """Bytes of each object file or image, from its section headers: what takes no memory in the part is not counted."""
        return [_size_from(path.name, run_tool([self.tool("objdump"), "-h", "-w", path]).stdout) for path in files]

    def symbols(self, image: Path) -> dict[str, int]:
        """Address of each defined symbol of `image`; the Thumb bit of functions is cleared."""
        found = {}
        for line in run_tool([self.tool("nm"), "--defined-only", image]).stdout.splitlines():
            address, kind, name = line.split(maxsplit=2)
            found[name] = int(address, 16) & ~(1 if kind in "tTwW" else 0)
        return found


def find_gcc_arm() -> GccArm:
    """The arm-none-eabi-gcc on PATH; raises ToolError naming the package where there is none."""
    return GccArm(str(find_tool(["arm-none-eabi-gcc"], PACKAGE)).removesuffix("gcc"))


def compile_all(
    compiler: Sequence[str | Path],
    sources: Sequence[Path],
    output_dir: Path,
    flags: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> list[Path]:
    """Compiles `sources` side by side with a gcc-like command `compiler`; objects are named after their sources. Raises ToolError."""
    output_dir.mkdir(parents=True, exist_ok=True)
    objects = [output_dir / f"{source.name}.o" for source in sources]
    if len(set(objects)) != len(objects):
        raise ToolError("two sources have the same file name: " + ", ".join(source.name for source in sources))

    def compile_one(source: Path, output: Path) -> None:
        run_tool([*compiler, *flags, "-c", source, "-o", output], environment=environment)

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(compile_one, sources, objects))
    return objects


def _size_from(name: str, headers: str) -> ObjectSize:
    """Sums `objdump -h -w` lines: index, name, size, addresses, file offset, alignment, flags."""
    kinds = {"text": 0, "rodata": 0, "data": 0, "bss": 0}
    for line in headers.splitlines():
        fields = line.split(maxsplit=7)
        if len(fields) < 8 or not fields[0].isdigit():
            continue
        flags = {flag.strip() for flag in fields[7].split(",")}
        if "ALLOC" not in flags:
            continue
        if "CODE" in flags:
            kind = "text"
        elif "READONLY" in flags:
            kind = "rodata"
        else:
            kind = "data" if "LOAD" in flags else "bss"
        kinds[kind] += int(fields[2], 16)
    return ObjectSize(name, **kinds)
