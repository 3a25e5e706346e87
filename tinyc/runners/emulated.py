"""The program that emulators run: the harness with the network, linked for a board with the build's core.

None of the parts that tinyc knows exists in QEMU: the network is compiled for its part and linked for a board with the same core. Unicorn,
which emulates a core and no board, is given the same program and the same memory, so that both execute the same instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tinyc.errors import DoesNotFitError, UsageError
from tinyc.runners.description import BuildDescription
from tinyc.runners.harness import is_current, mark_current, write_harness
from tinyc.runners.image import MemoryMap, linker_script
from tinyc.targets import Bank
from tinyc.toolchains.arm import ArmToolchain
from tinyc.toolchains.elf import Program, read_program
from tinyc.toolchains.gcc_arm import DEFAULT_FLAGS, RegionOverflowError

ELF_FILE: Final = "harness.elf"
STACK_BYTES: Final = 256 * 1024
# Arenas up to this size go to the 4 MB of SRAM next to the stack, larger ones to the 16 MB of PSRAM. No count depends on it.
SRAM_ARENA_BYTES: Final = 3 * 1024 * 1024
BANK_ALIGNMENT: Final = 64 * 1024
RUNTIME_SOURCES: Final = ("startup/startup.c", "startup/semihosting.c", "harness/platform_emulator.c")


@dataclass(frozen=True)
class Machine:
    """An emulated board: the name QEMU knows it by and its memory, as `info mtree` shows it."""

    name: str
    flash: Bank
    sram: Bank
    psram: Bank


CODE = Bank("code", 0x00000000, 4 * 1024 * 1024)
SRAM = Bank("sram", 0x20000000, 4 * 1024 * 1024)
MACHINES: Final = {
    "cortex-m4": Machine("mps2-an386", CODE, SRAM, Bank("psram", 0x21000000, 16 * 1024 * 1024)),
    "cortex-m7": Machine("mps2-an500", CODE, SRAM, Bank("psram", 0x60000000, 16 * 1024 * 1024)),
}


def machine_for(description: BuildDescription, emulator: str) -> Machine:
    """The board for the build's core; raises UsageError, naming the `emulator`, for a build for the host."""
    if description.core not in MACHINES:
        cores = " or ".join(MACHINES)
        raise UsageError(
            f"{description.name} was compiled for core {description.core}; {emulator} runs {cores}. "
            "Use --runner host, or compile for a part"
        )
    return MACHINES[description.core]


def build_for_machine(
    description: BuildDescription, machine: Machine, toolchain: ArmToolchain, work_dir: Path, flags: Sequence[str] = ()
) -> Program:
    """The harness with the network, linked for `machine` at `work_dir`/ELF_FILE, compiled with further `flags`; see `build_program`."""
    in_sram = description.arena_bytes <= SRAM_ARENA_BYTES
    memory = MemoryMap(machine.flash, machine.sram, machine.sram if in_sram else machine.psram, machine_banks(description, machine))
    try:
        return build_program(description, memory, STACK_BYTES, toolchain, work_dir, RUNTIME_SOURCES, ["-DTINYC_SEMIHOSTING=1", *flags])
    except RegionOverflowError as error:
        raise DoesNotFitError(f"{description.name} is too large for the emulated board {machine.name}: {error}") from error


def machine_banks(description: BuildDescription, machine: Machine) -> tuple[tuple[str, Bank], ...]:
    """For a network with several arenas a piece of PSRAM for each, by field; none for other networks. No count depends on it."""
    if not description.banked:
        return ()
    size = machine.psram.bytes // len(description.arenas) // BANK_ALIGNMENT * BANK_ALIGNMENT
    return tuple(
        (arena.field, Bank(arena.bank, machine.psram.start + number * size, size)) for number, arena in enumerate(description.arenas)
    )


def build_program(
    description: BuildDescription,
    memory: MemoryMap,
    stack_bytes: int,
    toolchain: ArmToolchain,
    work_dir: Path,
    runtime_sources: Sequence[str],
    definitions: Sequence[str],
) -> Program:
    """The harness on the platform that `runtime_sources` implement, with the network; an image made from the same files is used again.

    Raises ToolError where the compiler fails, RegionOverflowError where the program is larger than `memory`.
    """
    script_text = linker_script(memory, stack_bytes)
    flags = [*DEFAULT_FLAGS, description.optimization, *definitions]
    identity = [toolchain.name, toolchain.place, toolchain.version()]
    program = write_harness(description, work_dir, runtime_sources, [*identity, *description.gcc_flags, *flags, script_text])
    elf = work_dir / ELF_FILE
    if not is_current(work_dir, program, elf):
        script = work_dir / "image.ld"
        script.write_text(script_text, encoding="utf-8")

        def compile_for_core(sources: Sequence[Path], output_dir: Path, flags: Sequence[str]) -> list[Path]:
            return toolchain.compile(sources, output_dir, description.gcc_flags, flags)

        objects = program.compile(compile_for_core, work_dir / "objects", flags)
        toolchain.link(objects, script, elf, description.gcc_flags)
        mark_current(work_dir, program, elf)
    return read_program(elf)
