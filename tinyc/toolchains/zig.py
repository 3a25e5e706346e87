"""zig cc, a C compiler from PyPI: for Cortex-M and for this machine where no other compiler is installed.

Clang and lld with zig's own compiler support routines and no C library for the part: runtime/libc stands for that.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tinyc.errors import ToolError, UsageError
from tinyc.toolchains.gcc_arm import DEFAULT_FLAGS, OPTIMISATION_FLAGS, RegionOverflowError, compile_all
from tinyc.toolchains.process import execute, first_error_lines, run_tool
from tinyc.toolchains.runtime_files import runtime_directory

PACKAGE: Final = "ziglang"
OVERFLOW: Final = re.compile(r"will not fit in region '([^']+)': overflowed by (\d+) bytes?")
CPUS: Final = {"cortex-m4": "cortex_m4", "cortex-m7": "cortex_m7"}
FPU_FEATURES: Final = {"fpv4-sp-d16": "+vfp4d16sp", "fpv5-sp-d16": "+fp_armv8d16sp", "fpv5-d16": "+fp_armv8d16"}
# Clang fuses a*b+c into one rounding unless told not to; gcc in C99 mode never does. Tables for unwinding would need a library.
CODE_FLAGS: Final = ("-ffp-contract=off", "-fno-unwind-tables", "-fno-exceptions", "-fno-sanitize=all", "-fno-stack-protector")
LIBRARY_SOURCES: Final = ("libc/string.c", "libc/math.c")


def zig_environment() -> dict[str, str]:
    """What must be added to the environment so that zig finds a place for its cache: nothing where the user's own can be written."""
    if "ZIG_GLOBAL_CACHE_DIR" in os.environ:
        return {}
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME")
    if home and os.access(home, os.W_OK | os.X_OK):
        return {}
    return {"ZIG_GLOBAL_CACHE_DIR": str(Path(tempfile.gettempdir()) / f"tinyc-zig-{os.getuid() if hasattr(os, 'getuid') else 0}")}


def zig_arguments(core_flags: Sequence[str]) -> tuple[str, ...]:
    """zig's `-target` and `-mcpu` for the gcc flags `core_flags` of a target; raises UsageError for flags it has no word for."""
    values = dict(flag.split("=", 1) for flag in core_flags if "=" in flag)
    cpu, fpu, abi = values.get("-mcpu", ""), values.get("-mfpu"), values.get("-mfloat-abi", "soft")
    if cpu not in CPUS or (fpu is not None and fpu not in FPU_FEATURES) or abi not in ("hard", "softfp", "soft"):
        raise UsageError(f"zig cannot compile for the flags {' '.join(core_flags)}")
    features = FPU_FEATURES[fpu] if fpu is not None and abi != "soft" else ""
    return ("-target", f"thumb-freestanding-{'eabihf' if abi == 'hard' else 'eabi'}", f"-mcpu={CPUS[cpu]}{features}", f"-mfloat-abi={abi}")


@dataclass(frozen=True)
class ZigArm:
    """A found zig, as a compiler for Cortex-M."""

    path: Path

    @property
    def name(self) -> str:
        """Its key among the toolchains."""
        return "zig"

    @property
    def place(self) -> str:
        """Where it was found."""
        return str(self.path)

    def version(self) -> str:
        """Version number that zig reports."""
        return run_tool([self.path, "version"], environment=zig_environment()).stdout.strip()

    def compile(
        self, sources: Sequence[Path], output_dir: Path, core_flags: Sequence[str], flags: Sequence[str] = DEFAULT_FLAGS
    ) -> list[Path]:
        """Object files of `sources`, in their order, in `output_dir`; `core_flags` are `Target.gcc_flags`. Raises ToolError."""
        library = f"-I{runtime_directory() / 'libc'}"
        command: list[str | Path] = [self.path, "cc", *zig_arguments(core_flags)]
        return compile_all(command, sources, output_dir, [*flags, *CODE_FLAGS, library], zig_environment())

    def link(self, objects: Sequence[Path], script: Path, output: Path, core_flags: Sequence[str], flags: Sequence[str] = ()) -> Path:
        """Image at `output`, laid out by the linker `script`, with runtime/libc, unused sections dropped.

        Raises RegionOverflowError where a memory region of the script is too small, ToolError for everything else.
        """
        # Without -fno-builtin the loop in memset would be compiled to a call of memset.
        sources = [runtime_directory() / name for name in LIBRARY_SOURCES]
        library = self.compile(sources, output.parent / "objects" / "libc", core_flags, [*OPTIMISATION_FLAGS, "-fno-builtin"])
        command: list[str | Path] = [self.path, "cc", *zig_arguments(core_flags), "-O2", "-Wl,--gc-sections", "-Wl,--entry=Reset_Handler"]
        command += ["-T", script, *flags, *objects, *library, "-o", output]
        # Zig's support routines, such as 64-bit division, are compiled when they are first asked for: seconds that few programs need.
        result = execute([*command, "-nostdlib"], cwd=output.parent, environment=zig_environment())
        if "undefined symbol" in result.stderr:
            result = execute(command, cwd=output.parent, environment=zig_environment())
        if result.returncode != 0:
            overflow = {name: int(missing) for name, missing in OVERFLOW.findall(result.stderr)}
            if overflow:
                raise RegionOverflowError(overflow)
            raise ToolError(f"linking {output.name} failed\n{first_error_lines(result)}")
        return output


def find_zig() -> Path:
    """The zig of the Python package ziglang, or else the one on PATH; raises ToolError naming the package where there is none."""
    package = importlib.util.find_spec(PACKAGE)
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        for name in ("zig", "zig.exe"):
            if (Path(folder) / name).is_file():
                return Path(folder) / name
    found = shutil.which("zig")
    if found is None:
        raise ToolError(f"zig is not installed; pip install {PACKAGE}")
    return Path(found)


def find_zig_arm() -> ZigArm:
    """zig as a compiler for Cortex-M; raises ToolError naming the package where there is none."""
    return ZigArm(find_zig())
