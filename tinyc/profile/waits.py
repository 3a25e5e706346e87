"""What slow memory adds to estimated cycles, by the parameters of the target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tinyc.cycles import Executed
from tinyc.targets import Timing


def wait_cycles(executed: Executed, flash_reads: npt.NDArray[np.uint64], timing: Timing) -> npt.NDArray[np.int64]:
    """(owners,) cycles that the core waits for flash: one access for each read of data, one for each line of code that execution enters.

    Code enters a line by running on into it or by a jump; what a cache or prefetcher answers is `timing.flash_hit_percent` of all accesses.
    """
    accesses = flash_reads.astype(np.int64) + _lines_entered(executed, timing.flash_line_bytes)
    return accesses * timing.flash_wait_cycles * (100 - timing.flash_hit_percent) // 100


def _lines_entered(executed: Executed, line_bytes: int) -> npt.NDArray[np.int64]:
    instructions = executed.instructions
    lines = np.array([(entry.address + entry.bytes - 1) // line_bytes for entry in instructions], dtype=np.int64)
    jumps = np.array([entry.is_jump for entry in instructions], dtype=bool)
    counts = executed.counts.astype(np.int64)
    taken = np.where(jumps, executed.jumps.astype(np.int64), 0)
    ran_on = np.zeros_like(counts)
    ran_on[:, 1:] = np.minimum(counts[:, :-1] - taken[:, :-1], counts[:, 1:])
    entered = np.concatenate([[False], lines[1:] != lines[:-1]])
    result: npt.NDArray[np.int64] = (ran_on * entered).sum(axis=1) + taken.sum(axis=1)
    return result


def bank_wait_cycles(arena_accesses: npt.NDArray[np.uint64], banks: Sequence[tuple[str, int]]) -> npt.NDArray[np.int64]:
    """(owners,) cycles that the core waits for RAM: `arena_accesses` (arenas, owners) times the wait cycles of each arena's bank."""
    waits = np.array([cycles for _, cycles in banks], dtype=np.int64)
    result: npt.NDArray[np.int64] = waits @ arena_accesses.astype(np.int64)
    return result


def describe_timing(timing: Timing, banks: Sequence[tuple[str, int]] = ()) -> str:
    """The assumptions in words."""
    slow = [f"{cycles} wait cycles an access to the arena in bank {name}" for name, cycles in banks if cycles]
    if timing.flash_wait_cycles == 0 and not slow:
        return "memory without wait states"
    return "; ".join([*([_describe_flash(timing)] if timing.flash_wait_cycles else []), *slow])


def _describe_flash(timing: Timing) -> str:
    hits = f", {timing.flash_hit_percent} % of them answered by cache or prefetch" if timing.flash_hit_percent else ", without a cache"
    return f"{timing.flash_wait_cycles} wait cycles an access to flash of {timing.flash_line_bytes} bytes{hits}"
