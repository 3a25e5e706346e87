"""The C compiler of the machine that tinyc runs on: for the host runner and for what counts instructions in emulators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tinyc.errors import ToolError
from tinyc.toolchains.gcc_arm import DEFAULT_FLAGS, compile_all
from tinyc.toolchains.process import find_tool, run_tool
from tinyc.toolchains.zig import CODE_FLAGS, find_zig, zig_environment

PACKAGE: Final = "gcc"


@dataclass(frozen=True)
class NativeCompiler:
    """A found compiler with the command line of gcc. `command` starts it: its path and what must stand before all other arguments."""

    command: tuple[str, ...]

    @property
    def is_zig(self) -> bool:
        """Whether this is zig cc."""
        return self.command[1:] == ("cc",)

    def version(self) -> str:
        """Version number that the compiler reports."""
        asked = (self.command[0], "version") if self.is_zig else (*self.command, "-dumpversion")
        return run_tool(asked, environment=self._environment()).stdout.strip()

    def compile(self, sources: Sequence[Path], output_dir: Path, flags: Sequence[str] = DEFAULT_FLAGS) -> list[Path]:
        """Object files of `sources`, in their order, in `output_dir`. Raises ToolError."""
        return compile_all(self.command, sources, output_dir, [*self._own_flags(flags), *flags], self._environment())

    def link(self, objects: Sequence[Path], output: Path, flags: Sequence[str] = ()) -> Path:
        """Program at `output`. Raises ToolError."""
        run_tool([*self.command, *self._own_flags(flags), *objects, *flags, "-lm", "-o", output], environment=self._environment())
        return output

    def shared_library(self, source: Path, output: Path, flags: Sequence[str] = ()) -> Path:
        """Shared library of one `source`; its undefined symbols are left to the program that loads it. Raises ToolError."""
        options = ["-O2", "-fPIC", "-shared", *self._own_flags(flags), *flags]
        command: list[str | Path] = [*self.command, *options, source, "-o", output]
        run_tool(command, environment=self._environment())
        return output

    def _environment(self) -> dict[str, str]:
        return zig_environment() if self.is_zig else {}

    def _own_flags(self, flags: Sequence[str]) -> tuple[str, ...]:
        # zig checks for undefined behaviour of its own accord, with a library that is not there.
        return CODE_FLAGS if self.is_zig and not any(flag.startswith("-fsanitize") for flag in flags) else ()


def find_native_compiler() -> NativeCompiler:
    """cc, gcc or clang on PATH, the first there is, else zig; raises ToolError naming the packages where there is none."""
    try:
        return NativeCompiler((str(find_tool(["cc", "gcc", "clang"], PACKAGE)),))
    except ToolError as no_compiler:
        try:
            return NativeCompiler((str(find_zig()), "cc"))
        except ToolError as no_zig:
            raise ToolError(f"{no_compiler}; or, without root: {no_zig}") from no_zig
