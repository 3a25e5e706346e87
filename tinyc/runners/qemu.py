"""Runs a build in QEMU, on a board with the build's core, and counts its instructions exactly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tinyc.errors import ToolError
from tinyc.runners.base import RunnerError, RunOptions, RunResult
from tinyc.runners.description import BuildDescription
from tinyc.runners.emulated import ELF_FILE, build_for_machine, machine_for
from tinyc.runners.harness import INPUT_FILE, OUTPUT_FILE, counts_of_samples, interpret
from tinyc.runners.io import Samples, decode_outputs
from tinyc.toolchains.arm import find_arm_toolchain
from tinyc.toolchains.native import find_native_compiler
from tinyc.toolchains.process import ToolOutput, ToolTimeoutError, execute, find_tool, run_tool
from tinyc.toolchains.runtime_files import runtime_directory

PACKAGE: Final = "qemu-system-arm"
PLUGIN_FILE: Final = "instruction_counter.so"
COUNT_FILE: Final = "instructions.txt"


def run_on_qemu(description: BuildDescription, samples: Samples, work_dir: Path, options: RunOptions) -> RunResult:
    """Compiles, links and runs the build on `samples` in `work_dir`.

    Raises UsageError for a build for the host, ToolError where QEMU or the compiler is missing or fails, DoesNotFitError where the build is
    larger than the board's memory, RunnerError where the network faults, leaves its arena, reports failure or runs past the time limit.
    """
    machine = machine_for(description, "QEMU")
    qemu = find_tool(["qemu-system-arm"], PACKAGE)
    program = build_for_machine(description, machine, find_arm_toolchain(options.toolchain), work_dir)
    symbols = program.addresses()
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
    output = _emulate(command, work_dir, description.entry_point, options.timeout_seconds)
    if plugin is not None and output.returncode != 0 and not output.stdout and "plugin" in output.stderr.lower():
        notes = (f"instructions were not counted: QEMU does not take the plug-in: {output.stderr.strip().splitlines()[0]}",)
        command, plugin = plain, None
        output = _emulate(command, work_dir, description.entry_point, options.timeout_seconds)
    report = interpret(output, description, symbols, "QEMU")
    counts, remarks = _read_counts(work_dir, description, samples.count) if plugin is not None else ((), ())
    notes += remarks
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


def _emulate(command: tuple[str, ...], work_dir: Path, function: str, timeout_seconds: float) -> ToolOutput:
    try:
        return execute(command, cwd=work_dir, timeout_seconds=timeout_seconds)
    except ToolTimeoutError as error:
        raise RunnerError(f"{function} did not end within {timeout_seconds:g} seconds in QEMU") from error


def _read_counts(work_dir: Path, description: BuildDescription, samples: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
    counts = [int(line) for line in (work_dir / COUNT_FILE).read_text(encoding="ascii").split()]
    return counts_of_samples(counts, description, samples, "the instruction counter")
