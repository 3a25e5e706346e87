"""What a compiler for Cortex-M must offer to build emulated programs, and which one is taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from tinyc.errors import ToolError, UsageError, printable
from tinyc.toolchains.gcc_arm import DEFAULT_FLAGS, find_gcc_arm
from tinyc.toolchains.zig import find_zig_arm

TOOLCHAINS: Final = ("gcc", "zig")


class ArmToolchain(Protocol):
    """A compiler and linker for Cortex-M. Core flags are those of `Target.gcc_flags`, whoever the compiler is."""

    @property
    def name(self) -> str:
        """A key of TOOLCHAINS."""
        ...

    @property
    def place(self) -> str:
        """Where it was found; together with the version it identifies the toolchain."""
        ...

    def version(self) -> str:
        """Version number that the compiler reports."""
        ...

    def compile(
        self, sources: Sequence[Path], output_dir: Path, core_flags: Sequence[str], flags: Sequence[str] = DEFAULT_FLAGS
    ) -> list[Path]:
        """Object files of `sources`, in their order, in `output_dir`. Raises ToolError."""
        ...

    def link(self, objects: Sequence[Path], script: Path, output: Path, core_flags: Sequence[str], flags: Sequence[str] = ()) -> Path:
        """Image at `output`. Raises RegionOverflowError and ToolError."""
        ...


def find_arm_toolchain(name: str | None = None) -> ArmToolchain:
    """The toolchain called `name`; with None arm-none-eabi-gcc where it is on PATH, else zig.

    Raises ToolError saying how to install one, UsageError for an unknown name.
    """
    if name == "gcc":
        return find_gcc_arm()
    if name == "zig":
        return find_zig_arm()
    if name is not None:
        raise UsageError(f"unknown toolchain {printable(repr(name))}; available: {', '.join(TOOLCHAINS)}")
    try:
        return find_gcc_arm()
    except ToolError as no_gcc:
        try:
            return find_zig_arm()
        except ToolError as no_zig:
            raise ToolError(f"no compiler for Cortex-M: {no_gcc}; or, without root: {no_zig}") from no_zig
