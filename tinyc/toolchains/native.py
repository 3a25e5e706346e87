"""The C compiler of the machine that tinyc runs on: for the host runner and for the emulator's instruction counter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tinyc.toolchains.gcc_arm import DEFAULT_FLAGS, compile_all
from tinyc.toolchains.process import find_tool, run_tool

PACKAGE: Final = "gcc"


@dataclass(frozen=True)
class NativeCompiler:
    """A found compiler with the command line of gcc."""

    path: Path

    def version(self) -> str:
        """Version number that the compiler reports."""
        return run_tool([self.path, "-dumpversion"]).stdout.strip()

    def compile(self, sources: Sequence[Path], output_dir: Path, flags: Sequence[str] = DEFAULT_FLAGS) -> list[Path]:
        """Object files of `sources`, in their order, in `output_dir`. Raises ToolError."""
        return compile_all(self.path, sources, output_dir, flags)

    def link(self, objects: Sequence[Path], output: Path, flags: Sequence[str] = ()) -> Path:
        """Program at `output`. Raises ToolError."""
        run_tool([self.path, *objects, *flags, "-lm", "-o", output])
        return output

    def shared_library(self, source: Path, output: Path, flags: Sequence[str] = ()) -> Path:
        """Shared library of one `source`; its undefined symbols are left to the program that loads it. Raises ToolError."""
        run_tool([self.path, "-O2", "-fPIC", "-shared", *flags, source, "-o", output])
        return output


def find_native_compiler() -> NativeCompiler:
    """cc, gcc or clang on PATH, the first there is; raises ToolError naming the package where there is none."""
    return NativeCompiler(find_tool(["cc", "gcc", "clang"], PACKAGE))
