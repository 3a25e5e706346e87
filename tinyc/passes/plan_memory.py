"""plan-memory: gives every buffer its offset in the arena."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tinyc.errors import PassError, UsageError, printable
from tinyc.ir.mcu import number
from tinyc.ir.schedule import build_schedule
from tinyc.memory.exact import place_exactly
from tinyc.memory.placement import align_up, lower_bound, place

SOLVERS = ("greedy", "exact")
ARENA_ALIGNMENT = 16
"""The caller's arena starts at a multiple of this many bytes; no buffer needs more than 8."""


@dataclass(frozen=True)
class PlanMemory(ModulePass):
    """Place all buffers in one arena, and record its size and the schedule's lower bound; `overlap` = false keeps buffers apart.

    `solver` is greedy or exact; exact needs OR-Tools, searches for `seconds` at most, and raises the lower bound to what it proved.
    """

    name = "plan-memory"
    overlap: bool = True
    solver: str = SOLVERS[0]
    seconds: int = 10

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS or self.seconds < 1:
            raise UsageError(f"plan-memory: solver must be {' or '.join(SOLVERS)} and seconds positive, got {printable(self.solver)}")

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        schedule = build_schedule(op)
        if not schedule.steps:
            raise PassError("plan-memory finds no steps to plan for; run select-kernels first")
        bound = lower_bound(schedule.lives, schedule.step_bounds)
        overlaps = schedule.overlaps if self.overlap else ()
        if self.solver == "exact":
            exact = place_exactly(schedule.lives, overlaps, bound, self.seconds)
            placement, bound = exact.placement, exact.proved_bytes
        else:
            placement = place(schedule.lives, overlaps, bound)
        for buffer, offset in zip(schedule.buffers, placement.offsets, strict=True):
            buffer.properties["offset"] = number(offset)
        op.attributes["arena_bytes"] = number(align_up(placement.arena_bytes, 4))
        op.attributes["lower_bound_bytes"] = number(bound)
