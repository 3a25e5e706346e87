"""A batch's program in Unicorn, watched as the product's runner watches a network: forbidden memory, read-only flash, alignment, faults."""

from __future__ import annotations

import ctypes
from pathlib import Path

from tinyc.numerics.profile import Profile
from tinyc.runners.description import ArenaRegion, BuildDescription
from tinyc.runners.emulated import MACHINES
from tinyc.runners.harness import INPUT_FILE, OUTPUT_FILE, guard_bytes
from tinyc.runners.unicorn import MONITOR_FILE, UnicornRun
from tinyc.runners.unicorn_engine import Engine
from tinyc.toolchains.elf import read_program
from tinyc.toolchains.native import find_native_compiler
from tinyc.toolchains.runtime_files import runtime_directory

SECONDS = 300.0


def execute_on_unicorn(folder: Path, core: str, guard: int) -> None:
    """Runs folder/batch.elf, which reads input.bin and leaves output.bin there. Between profile marks it may touch `tinyc_storage` but for
    `guard` bytes at either end; raises RunnerError where it touches anything else."""
    program = read_program(folder / "batch.elf")
    room = program.symbol("tinyc_storage").bytes - 2 * guard
    description = BuildDescription(folder, "batch", Profile.LITERT, core, core, (), (), (ArenaRegion("", "", room, guard),), (), ())
    assert guard_bytes(description) == guard
    monitor = find_native_compiler().shared_library(
        runtime_directory() / "emulator" / "unicorn_monitor.c", folder / MONITOR_FILE, ["-nostdlib"]
    )
    with Engine(core) as engine:
        run = UnicornRun(description, program, MACHINES[core], engine, ctypes.CDLL(str(monitor)), (folder / INPUT_FILE).read_bytes())
        output = run.until_exit(SECONDS)
        assert output.returncode == 0, f"exit code {output.returncode}"
        (folder / OUTPUT_FILE).write_bytes(run.semihosting.outputs[OUTPUT_FILE])
