"""Offsets: nothing overlaps that must not, alignments hold, and small instances are placed as well as any order of first fit can."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyc.memory.placement import Buffer, Overlap, Placement, align_up, lower_bound, place


@st.composite
def instances(draw: st.DrawFn) -> tuple[list[Buffer], list[Overlap]]:
    buffers = []
    for _ in range(draw(st.integers(1, 12))):
        first = draw(st.integers(-1, 6))
        last = draw(st.integers(max(first, 0), 7))
        buffers.append(Buffer(draw(st.integers(1, 200)), first, last, draw(st.sampled_from([1, 4, 8, 16]))))
    overlaps = []
    for (i, result), (j, source) in itertools.permutations(enumerate(buffers), 2):
        if result.first == source.last and draw(st.booleans()):
            overlaps.append(Overlap(i, j, draw(st.integers(-source.size, result.size)), draw(st.booleans()), draw(st.booleans())))
    return buffers, overlaps


def assert_valid(buffers: list[Buffer], overlaps: list[Overlap], placement: Placement) -> None:
    known = {(overlap.result, overlap.source): overlap for overlap in overlaps}
    for offset, buffer in zip(placement.offsets, buffers, strict=True):
        assert offset >= 0
        assert offset % buffer.alignment == 0
    ends = [offset + buffer.size for offset, buffer in zip(placement.offsets, buffers, strict=True)]
    assert placement.arena_bytes == max(ends)

    def apart(result: int, source: int) -> int | None:
        if (result, source) not in known:
            return None
        overlap = known[result, source]
        if overlap.coinciding and placement.offsets[result] == placement.offsets[source]:
            return 0
        behind = ends[result] - ends[source] if overlap.backwards else placement.offsets[source] - placement.offsets[result]
        return behind - overlap.gap

    for i, j in itertools.combinations(range(len(buffers)), 2):
        together = buffers[i].first <= buffers[j].last and buffers[j].first <= buffers[i].last
        disjoint = ends[i] <= placement.offsets[j] or ends[j] <= placement.offsets[i]
        allowed = any(more is not None and more >= 0 for more in (apart(i, j), apart(j, i)))
        assert not together or disjoint or allowed, f"buffers {i} and {j} collide"


@settings(max_examples=200, deadline=None)
@given(instances())
def test_live_buffers_overlap_only_as_allowed(instance: tuple[list[Buffer], list[Overlap]]) -> None:
    buffers, overlaps = instance
    assert_valid(buffers, overlaps, place(buffers, overlaps, attempts=20))


@settings(max_examples=100, deadline=None)
@given(instances())
def test_without_overlaps_the_bound_holds(instance: tuple[list[Buffer], list[Overlap]]) -> None:
    buffers, _ = instance
    placement = place(buffers, [], lower_bound(buffers), attempts=20)
    assert_valid(buffers, [], placement)
    assert lower_bound(buffers) <= placement.arena_bytes <= sum(align_up(buffer.size, 16) for buffer in buffers)


def first_fit(buffers: list[Buffer], order: tuple[int, ...]) -> int:
    """Arena bytes of placing in `order` at the lowest free aligned offset, tried one by one."""
    offsets: dict[int, int] = {}
    for index in order:
        buffer = buffers[index]
        taken = [
            (offset, offset + buffers[other].size)
            for other, offset in offsets.items()
            if buffers[other].first <= buffer.last and buffer.first <= buffers[other].last
        ]
        offset = 0
        while any(offset < end and start < offset + buffer.size for start, end in taken):
            offset += buffer.alignment
        offsets[index] = offset
    return max(offset + buffers[index].size for index, offset in offsets.items())


@pytest.mark.parametrize("seed", range(25))
def test_small_instances_are_placed_as_well_as_by_the_best_of_all_orders(seed: int) -> None:
    generator = random.Random(seed)
    buffers = []
    for _ in range(generator.randint(2, 6)):
        first = generator.randint(0, 4)
        buffers.append(Buffer(generator.randint(1, 30) * 4, first, generator.randint(first, 5)))
    best = min(first_fit(buffers, order) for order in itertools.permutations(range(len(buffers))))
    assert place(buffers, []).arena_bytes == best


def test_a_result_moves_into_its_source_by_the_allowed_distance() -> None:
    buffers = [Buffer(100, 0, 1), Buffer(100, 1, 2)]
    assert place(buffers, []).arena_bytes == 200
    assert place(buffers, [Overlap(1, 0, 12)]).arena_bytes == 112
    assert place(buffers, [Overlap(1, 0, 0)]).arena_bytes == 100
    # Aligned to 16, a distance of 12 takes 16.
    assert place([Buffer(100, 0, 1, 16), Buffer(100, 1, 2, 16)], [Overlap(1, 0, 12)]).arena_bytes == 116


def test_bounds_of_steps_replace_sums_where_they_are_smaller() -> None:
    buffers = [Buffer(100, 0, 1), Buffer(50, 1, 2)]
    assert lower_bound(buffers) == 150
    assert lower_bound(buffers, [100, 110, 50]) == 110
    assert lower_bound(buffers, [1000, 1000, 1000]) == 150
    assert lower_bound([]) == 0
