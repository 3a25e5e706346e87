"""Runs a build in QEMU, on a board with the build's core, and counts its instructions exactly.

None of the parts that tinyc knows exists in QEMU: the network is compiled for its part and linked for a board with the same core.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tinyc.errors import DoesNotFitError, ToolError, UsageError
from tinyc.runners.base import DEFAULT_TIMEOUT_SECONDS, RunnerError, RunResult
from tinyc.runners.description import BuildDescription
from tinyc.runners.harness import INPUT_FILE, OUTPUT_FILE, interpret, is_current, mark_current, write_harness
from tinyc.runners.image import MemoryMap, linker_script
from tinyc.runners.io import Samples, decode_outputs
from tinyc.targets import Bank
from tinyc.toolchains.gcc_arm import DEFAULT_FLAGS, GccArm, RegionOverflowError, find_gcc_arm
from tinyc.toolchains.native import find_native_compiler
from tinyc.toolchains.process import ToolOutput, ToolTimeoutError, execute, find_tool, run_tool
from tinyc.toolchains.runtime_files import runtime_directory

PACKAGE: Final = "qemu-system-arm"
ELF_FILE: Final = "harness.elf"
PLUGIN_FILE: Final = "instruction_counter.so"
COUNT_FILE: Final = "instructions.txt"
STACK_BYTES: Final = 256 * 1024
# Arenas up to this size go to the 4 MB of SRAM next to the stack, larger ones to the 16 MB of PSRAM. No count depends on it.
SRAM_ARENA_BYTES: Final = 3 * 1024 * 1024
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


def run_on_qemu(
    description: BuildDescription, samples: Samples, work_dir: Path, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> RunResult:
    """Compiles, links and runs the build on `samples` in `work_dir`.

    Raises UsageError for a build for the host, ToolError where QEMU or the compiler is missing or fails, DoesNotFitError where the build is
    larger than the board's memory, RunnerError where the network faults, leaves its arena, reports failure or runs past `timeout_seconds`.
    """
    if description.core not in MACHINES:
        cores = " or ".join(MACHINES)
        raise UsageError(
            f"{description.name} was compiled for core {description.core}; QEMU runs {cores}. Use --runner host, or compile for a part"
        )
    machine = MACHINES[description.core]
    qemu = find_tool(["qemu-system-arm"], PACKAGE)
    gcc = find_gcc_arm()
    elf = build_elf(description, machine, gcc, work_dir)
    symbols = gcc.symbols(elf)
    plugin, notes = _build_plugin(work_dir, qemu)
    (work_dir / INPUT_FILE).write_bytes(samples.encode())
    (work_dir / OUTPUT_FILE).unlink(missing_ok=True)
    (work_dir / COUNT_FILE).unlink(missing_ok=True)
    plain: tuple[str, ...] = (str(qemu), "-M", machine.name, "-display", "none", "-monitor", "none", "-serial", "none")
    plain += ("-semihosting-config", "enable=on,target=native", "-kernel", ELF_FILE)
    command = plain
    if plugin is not None:
        begin, end = symbols["tinyc_profile_begin"], symbols["tinyc_profile_end"]
        command += ("-plugin", f"./{PLUGIN_FILE},begin={begin:#x},end={end:#x},out={COUNT_FILE}")
    output = _emulate(command, work_dir, description.name, timeout_seconds)
    if plugin is not None and output.returncode != 0 and not output.stdout and "plugin" in output.stderr.lower():
        notes = (f"instructions were not counted: QEMU does not take the plug-in: {output.stderr.strip().splitlines()[0]}",)
        command, plugin = plain, None
        output = _emulate(command, work_dir, description.name, timeout_seconds)
    report = interpret(output, description, symbols, "QEMU")
    counts = _read_counts(work_dir, samples.count) if plugin is not None else ()
    if len(set(counts)) > 1:
        notes += (f"instructions differ between samples: from {min(counts)} to {max(counts)}; the number is the last sample's",)
    return RunResult(
        outputs=decode_outputs(description, (work_dir / OUTPUT_FILE).read_bytes(), samples),
        samples=samples.count,
        instructions=counts[-1] if counts else None,
        instructions_per_sample=counts,
        stack_bytes=report["stack_bytes"],
        elf=work_dir / ELF_FILE,
        command=command,
        cwd=work_dir,
        runner="qemu",
        notes=notes,
    )


def build_elf(description: BuildDescription, machine: Machine, gcc: GccArm, work_dir: Path) -> Path:
    """The harness with the network, linked for `machine`; an image that is there and was made from the same files is used again."""
    in_sram = description.arena_bytes <= SRAM_ARENA_BYTES
    memory = MemoryMap(machine.flash, machine.sram, machine.sram if in_sram else machine.psram)
    script_text = linker_script(memory, STACK_BYTES)
    flags = [*DEFAULT_FLAGS, "-DTINYC_SEMIHOSTING=1"]
    program = write_harness(
        description, work_dir, RUNTIME_SOURCES, [gcc.prefix, gcc.version(), *description.gcc_flags, *flags, script_text]
    )
    elf = work_dir / ELF_FILE
    if is_current(work_dir, program, elf):
        return elf
    script = work_dir / "image.ld"
    script.write_text(script_text, encoding="utf-8")

    def compile_for_core(sources: Sequence[Path], output_dir: Path, flags: Sequence[str]) -> list[Path]:
        return gcc.compile(sources, output_dir, description.gcc_flags, flags)

    objects = program.compile(compile_for_core, work_dir / "objects", flags)
    try:
        gcc.link(objects, script, elf, description.gcc_flags)
    except RegionOverflowError as error:
        raise DoesNotFitError(f"{description.name} is too large for the emulated board {machine.name}: {error}") from error
    mark_current(work_dir, program, elf)
    return elf


def _build_plugin(work_dir: Path, qemu: Path) -> tuple[Path | None, tuple[str, ...]]:
    """The instruction counter, compiled for this machine, and notes: where no C compiler is, nothing is counted."""
    try:
        compiler = find_native_compiler()
    except ToolError as error:
        return None, (f"instructions were not counted: {error}",)
    version = _plugin_interface_version(run_tool([qemu, "--version"]).stdout)
    source = runtime_directory() / "emulator" / "instruction_counter.c"
    return compiler.shared_library(source, work_dir / PLUGIN_FILE, [f"-DPLUGIN_VERSION={version}"]), ()


def _plugin_interface_version(version_text: str) -> int:
    """QEMU up to 8 takes plug-ins of interface version 1, later ones from version 2; the functions that the counter uses are in both."""
    found = re.search(r"version (\d+)", version_text)
    if found is None:
        raise ToolError(f"cannot read QEMU's version from {version_text[:80]!r}")
    return 1 if int(found.group(1)) < 9 else 2


def _emulate(command: tuple[str, ...], work_dir: Path, name: str, timeout_seconds: float) -> ToolOutput:
    try:
        return execute(command, cwd=work_dir, timeout_seconds=timeout_seconds)
    except ToolTimeoutError as error:
        raise RunnerError(f"{name}_invoke did not end within {timeout_seconds:g} seconds in QEMU") from error


def _read_counts(work_dir: Path, samples: int) -> tuple[int, ...]:
    counts = tuple(int(line) for line in (work_dir / COUNT_FILE).read_text(encoding="ascii").split())
    if len(counts) != samples:
        raise ToolError(f"the instruction counter saw {len(counts)} runs of the network instead of {samples}")
    return counts
