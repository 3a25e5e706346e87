"""The exact planner: valid, never worse than the greedy one, and its proofs hold. The greedy planner is held against it."""

from __future__ import annotations

import importlib.util
import itertools
import random
import sys

import pytest
from planning_cases import planning_case
from test_placement import assert_valid

from tinyc.errors import ToolError
from tinyc.memory.exact import place_exactly
from tinyc.memory.placement import Buffer, Overlap, place

needs_solver = pytest.mark.skipif(importlib.util.find_spec("ortools") is None, reason="OR-Tools (tinyc[exact]) is not installed")
SMALL = range(60)


def least_by_hand(buffers: list[Buffer]) -> int:
    """Arena of the best of all offsets, by trying them all."""
    best = sum(buffer.size for buffer in buffers)
    for offsets in itertools.product(*(range(0, best - buffer.size + 1, buffer.alignment) for buffer in buffers)):
        ends = [offset + buffer.size for offset, buffer in zip(offsets, buffers, strict=True)]
        apart = all(
            buffers[i].last < buffers[j].first or buffers[j].last < buffers[i].first or ends[i] <= offsets[j] or ends[j] <= offsets[i]
            for i, j in itertools.combinations(range(len(buffers)), 2)
        )
        if apart:
            best = min(best, max(ends))
    return best


@needs_solver
@pytest.mark.parametrize("seed", range(12))
def test_the_proved_optimum_is_that_of_all_offsets(seed: int) -> None:
    generator = random.Random(seed)
    buffers = []
    for _ in range(4):
        first = generator.randint(0, 3)
        buffers.append(Buffer(generator.randint(1, 4) * 4, first, first + generator.randint(0, 2)))
    exact = place_exactly(buffers, [])
    assert exact.is_optimal
    assert exact.placement.arena_bytes == least_by_hand(buffers)


@needs_solver
def test_exact_placements_are_valid_and_never_larger_than_greedy_ones() -> None:
    for seed in SMALL:
        buffers, overlaps = planning_case(seed, 12)
        exact = place_exactly(buffers, overlaps, seconds=5)
        assert_valid(buffers, overlaps, exact.placement)
        assert exact.proved_bytes <= exact.placement.arena_bytes <= place(buffers, overlaps).arena_bytes


@needs_solver
def test_the_greedy_planner_meets_the_optimum_on_small_random_instances() -> None:
    gaps = {}
    for seed in SMALL:
        buffers, overlaps = planning_case(seed, 12)
        exact = place_exactly(buffers, overlaps, seconds=5)
        assert exact.is_optimal, f"no proof for seed {seed}"
        if place(buffers, overlaps).arena_bytes > exact.placement.arena_bytes:
            gaps[seed] = place(buffers, overlaps).arena_bytes - exact.placement.arena_bytes
    assert not gaps, f"bytes above the optimum by seed: {gaps}"


@needs_solver
def test_the_solver_finds_what_first_fit_in_the_greedy_orders_misses() -> None:
    better = 0
    for seed in range(40):
        buffers, overlaps = planning_case(seed, 14)
        better += place_exactly(buffers, overlaps, seconds=5).placement.arena_bytes < place(buffers, overlaps, attempts=0).arena_bytes
    assert better > 0


def test_where_the_bound_is_reached_the_greedy_placement_is_the_optimum() -> None:
    pytest.importorskip("ortools", reason="OR-Tools (tinyc[exact]) is not installed")
    buffers = [Buffer(100, 0, 1), Buffer(100, 1, 2)]
    exact = place_exactly(buffers, [Overlap(1, 0, 0)], bound=100)
    assert exact.placement.arena_bytes == exact.proved_bytes == 100


def test_without_or_tools_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(ToolError, match=r"tinyc\[exact\]"):
        place_exactly([Buffer(4, 0, 0), Buffer(4, 0, 1)], [])
