"""Offsets for buffers by constraint programming: the least arena, proved, or how far from proved it is. Needs OR-Tools (tinyc[exact])."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinyc.errors import ToolError
from tinyc.memory.placement import Buffer, Overlap, Placement, forbidden_differences, place


@dataclass(frozen=True)
class ExactPlacement:
    """The best placement that was found, and `proved_bytes`: no placement needs fewer. Where the two are equal, it is the optimum."""

    placement: Placement
    proved_bytes: int

    @property
    def is_optimal(self) -> bool:
        """Whether no placement is smaller."""
        return self.placement.arena_bytes <= self.proved_bytes


def place_exactly(buffers: Sequence[Buffer], overlaps: Sequence[Overlap], bound: int = 0, seconds: float = 10.0) -> ExactPlacement:
    """The placement with the least arena, by CP-SAT with one thread and a fixed seed; `bound` is known to be a lower bound.

    The greedy placement is where the search starts, so the result is never worse. After `seconds` the best one so far is given. Raises
    ToolError where OR-Tools is not installed.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise ToolError("the exact planner needs OR-Tools: pip install 'tinyc[exact]', or use the planner greedy") from error
    start = place(buffers, overlaps, bound)
    if start.arena_bytes <= bound or not buffers:
        return ExactPlacement(start, max(bound, 0) if buffers else start.arena_bytes)
    model = cp_model.CpModel()
    top = start.arena_bytes
    arena = model.new_int_var(max(bound, max(buffer.size for buffer in buffers)), top, "arena")
    offsets = []
    for index, buffer in enumerate(buffers):
        slot = model.new_int_var(0, max(0, top - buffer.size) // buffer.alignment, f"slot_{index}")
        offset = buffer.alignment * slot
        model.add(offset + buffer.size <= arena)
        model.add_hint(slot, start.offsets[index] // buffer.alignment)
        offsets.append(offset)
    for one, pairs in enumerate(forbidden_differences(buffers, overlaps)):
        for number, (other, low, high) in enumerate(pairs):
            if other < one:
                # offset(one) - offset(other) lies at or below `low`, or at or above `high`.
                below = model.new_bool_var(f"below_{one}_{number}")
                model.add(offsets[one] - offsets[other] <= low).only_enforce_if(below)
                model.add(offsets[one] - offsets[other] >= high).only_enforce_if(below.negated())
    model.add_hint(arena, top)
    model.minimize(arena)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    status = solver.solve(model)
    proved = max(bound, round(solver.best_objective_bound))
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE) or round(solver.objective_value) >= top:
        return ExactPlacement(start, min(proved, top))
    found = tuple(int(solver.value(offset)) for offset in offsets)
    size = max(offset + buffer.size for offset, buffer in zip(found, buffers, strict=True))
    return ExactPlacement(Placement(found, size), min(proved, size))
