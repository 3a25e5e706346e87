"""How often each instruction of a network ran in one inference, and for whom: exact counts, from Unicorn.

The program is the one that `tinyc run` counts, with line tables (-g1), which change no instruction.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tinyc.errors import ToolError
from tinyc.runners.base import DEFAULT_TIMEOUT_SECONDS, Array
from tinyc.runners.description import BuildDescription, read_description
from tinyc.runners.emulated import ELF_FILE, Machine, build_for_machine, machine_for
from tinyc.runners.harness import calls_of_sample, interpret, prepare_work_dir
from tinyc.runners.io import prepare_inputs
from tinyc.runners.unicorn import MARK_COUNTED, MARK_IT, AccessCount, Monitor, UnicornRun, instruction_marks, monitor_library
from tinyc.runners.unicorn_engine import UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE, Engine, find_unicorn
from tinyc.toolchains.elf import Program
from tinyc.toolchains.gcc_arm import find_gcc_arm

LINE_TABLES: Final = "-g1"
MARK_GUARDED: Final = 0x0F
MOST_OWNERS: Final = 4096
"""Rows of counters that are reserved at most."""

Counts = npt.NDArray[np.uint64]
Owners = Mapping[int, int]
"""Owner by address of an instruction. One that is not there belongs to the owner of the instruction executed before it."""


@dataclass(frozen=True)
class Histogram:
    """Executions in one inference.

    `counts` and `jumps` have the shape (owners, halfwords); column h is the instruction at `start` + 2 * h. `jumps` says how often the
    instruction executed next was not the next one in memory; it means something for branches only. `flash_reads` (owners,) counts data
    reads from flash, `arena_accesses` (arenas, owners) loads and stores of each arena. `instructions` is the sum of `counts`, and the
    number that `tinyc run` gives.
    """

    program: Program
    elf: Path
    start: int
    counts: Counts
    jumps: Counts
    flash_reads: Counts
    arena_accesses: Counts
    instructions: int


class _Table(ctypes.Structure):
    """struct histogram of runtime/emulator/unicorn_monitor.c."""

    _fields_ = (
        ("counts", ctypes.c_void_p),
        ("jumps", ctypes.c_void_p),
        ("flash_reads", ctypes.c_void_p),
        ("owners", ctypes.c_void_p),
        ("owner", ctypes.c_uint32),
        ("place", ctypes.c_uint32),
        ("next", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
    )


@dataclass
class _Request:
    """Memory that the monitor counts in."""

    machine: Machine
    owners: npt.NDArray[np.uint16]
    owner_count: int
    arena_count: int
    table: _Table = field(default_factory=_Table)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.owner_count, len(self.owners)), dtype=np.uint64)
        self.jumps = np.zeros_like(self.counts)
        self.flash_reads = np.zeros(self.owner_count, dtype=np.uint64)
        self.arena_accesses = np.zeros((self.arena_count, self.owner_count), dtype=np.uint64)
        for name in ("counts", "jumps", "flash_reads", "owners"):
            setattr(self.table, name, getattr(self, name).ctypes.data)

    def address(self) -> int:
        """Of the structure."""
        return ctypes.addressof(self.table)

    def begin(self, new_sample: bool) -> None:
        """Another call into the network; the first of a sample empties the histogram."""
        if new_sample:
            for array in (self.counts, self.jumps, self.flash_reads, self.arena_accesses):
                array.fill(0)
        self.table.owner = self.table.place = self.table.next = 0

    def watch_flash(self, engine: Engine, library: ctypes.CDLL, monitor: Monitor) -> None:
        """Counts data reads from flash."""
        flash = self.machine.flash
        engine.hook(UC_HOOK_MEM_READ, library.tinyc_on_flash_read, monitor, flash.start, flash.end - 1)

    def watch_arenas(self, engine: Engine, library: ctypes.CDLL, monitor: Monitor, arenas: Sequence[tuple[int, int]]) -> None:
        """Counts loads and stores in each arena."""
        for counts, (start, end) in zip(self.arena_accesses, arenas, strict=True):
            count = AccessCount(ctypes.addressof(monitor), counts.ctypes.data)
            engine.hook(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, library.tinyc_on_counted_access, count, start, end - 1)


def count_executions(
    build_dir: Path,
    inputs: Mapping[str, Array],
    owner_count: int,
    find_owners: Callable[[Program, Path], Owners],
    work_dir: Path | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> Histogram:
    """Runs the build in `build_dir` in Unicorn, compiled by arm-none-eabi-gcc, on `inputs`; the histogram is of the last sample.

    `find_owners` is given the linked program and its file and says whose instructions are whose, from 0 to `owner_count` - 1; the
    inference starts with owner 0. Raises UsageError (a build for the host), ToolError (a missing tool) and RunnerError as `run_build` does.
    """
    if owner_count > MOST_OWNERS:
        raise ToolError(f"a network of {owner_count} layers is too large to be profiled; up to {MOST_OWNERS} are counted apart")
    description = read_description(build_dir)
    samples = prepare_inputs(description, inputs)
    machine = machine_for(description, "Unicorn")
    find_unicorn()
    folder, _ = prepare_work_dir(build_dir, "run-profile", work_dir)
    program = build_for_machine(description, machine, find_gcc_arm(), folder, [LINE_TABLES])
    elf = folder / ELF_FILE
    start, marks = instruction_marks(program)
    owners = np.zeros(len(marks), dtype=np.uint16)
    for address, owner in find_owners(program, elf).items():
        owners[(address - start) // 2] = owner + 1
    request = _Request(machine, owners, owner_count, len(description.arenas))
    counted = _run(description, program, machine, request, samples.encode(), folder, timeout_seconds)
    _spread_conditional(request.counts, marks)
    if int(request.counts.sum()) != counted:
        raise AssertionError(f"the histogram has {int(request.counts.sum())} instructions, {counted} were executed")
    return Histogram(program, elf, start, request.counts, request.jumps, request.flash_reads, request.arena_accesses, counted)


def _run(
    description: BuildDescription, program: Program, machine: Machine, request: _Request, data: bytes, folder: Path, timeout_seconds: float
) -> int:
    """Instructions of the last sample."""
    library = monitor_library(folder)
    with Engine(description.core) as engine:
        run = UnicornRun(description, program, machine, engine, library, data, request)
        interpret(run.until_exit(timeout_seconds), description, program.addresses(), "Unicorn")
    return sum(run.counts[-calls_of_sample(description) :])


def _spread_conditional(counts: Counts, marks: bytes) -> None:
    """Instructions of an IT block count as often as their IT: Unicorn does not report those whose condition does not hold."""
    kinds = np.frombuffer(marks, dtype=np.uint8)
    for place in np.flatnonzero(kinds & MARK_IT):
        # Which halfwords begin an instruction is known only by the mark of the conditional ones.
        guarded, found, position = int(kinds[place]) & MARK_GUARDED, 0, int(place) + 1
        while found < guarded:
            if kinds[position] & MARK_COUNTED:
                counts[:, position] = counts[:, place]
                found += 1
            position += 1
