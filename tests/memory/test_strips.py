"""Strips of a stream against brute force: which columns they need, how far their result may overlap what they read, which are chosen."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from step_simulator import FIRST_OUTPUT, Step, far_offsets, simulate
from test_segments_exhaustively import LONGEST, random_chain, segmentations

from tinyc.memory.row_access import EACH_ROW, RowAccess
from tinyc.memory.segments import InStrips, Segment, choose_segments, segment, segments_in_strips
from tinyc.memory.stream import UNCONSTRAINED, Columns, StreamCall, StreamInput, Trace, joined, replay, safe_gap
from tinyc.memory.strips import Across, Strip, StripCall, computed_again, cut_strips

EXAMPLES = 150
SOURCE = 0


@dataclass(frozen=True)
class Chain:
    """Calls that each read the one before, some an earlier tensor too; rows and columns of every tensor; bytes of a column."""

    calls: tuple[StripCall, ...]
    rows: tuple[tuple[RowAccess, ...], ...]
    heights: Mapping[int, int]
    widths: Mapping[int, int]
    column_bytes: Mapping[int, int]


windows = st.builds(RowAccess, st.integers(1, 4), st.integers(1, 2), st.integers(1, 2), st.integers(0, 2))


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    heights, widths = {SOURCE: draw(st.integers(1, 6))}, {SOURCE: draw(st.integers(2, 12))}
    calls, rows = [], []
    for number in range(draw(st.integers(1, 4))):
        previous, output = FIRST_OUTPUT + number - 1 if number else SOURCE, FIRST_OUTPUT + number
        across, down = draw(windows), draw(windows)
        widths[output] = draw(st.integers(1, 10))
        heights[output] = draw(st.integers(1, 6))
        inputs = [(previous, (widths[previous], across), down)]
        equal = [buffer for buffer in widths if buffer not in (previous, output) and widths[buffer] == widths[output]]
        if equal and draw(st.booleans()):
            inputs.append((equal[0], (widths[output], EACH_ROW), EACH_ROW))
        calls.append(StripCall(tuple(entry[0] for entry in inputs), output, Across(widths[output], tuple(entry[1] for entry in inputs))))
        rows.append(tuple(entry[2] for entry in inputs))
    return Chain(tuple(calls), tuple(rows), heights, widths, {buffer: draw(st.integers(1, 3)) for buffer in widths})


def most_strips(chain: Chain, parts: int) -> tuple[Strip, ...]:
    """As many strips as there can be, up to `parts`."""
    found = next((strips for count in range(parts, 0, -1) if (strips := cut_strips(chain.calls, count)) is not None), None)
    # A window that lies in the padding altogether leaves even one strip empty.
    assume(found is not None)
    assert found is not None
    return found


def needed_columns(chain: Chain, last: range) -> dict[int, set[int]]:
    """Columns of every tensor that the columns `last` of the result depend on, one by one."""
    needed = {call.output: set[int]() for call in chain.calls} | {SOURCE: set[int]()}
    needed[chain.calls[-1].output] = set(last)
    for call in reversed(chain.calls):
        for buffer, entry in zip(call.inputs, call.across.inputs, strict=True):
            assert entry is not None
            columns, access = entry
            for column in needed[call.output]:
                reads = range(access.first(column), access.end(column), access.dilation)
                needed[buffer] |= {read for read in reads if 0 <= read < columns}
    return needed


@settings(max_examples=EXAMPLES, deadline=None)
@given(chains(), st.integers(1, 4))
def test_a_strip_computes_every_column_that_its_result_depends_on(chain: Chain, parts: int) -> None:
    strips = most_strips(chain, parts)
    result = chain.calls[-1].output
    assert [strip.computed[result][0] for strip in strips] == [0, *(strip.computed[result][1] for strip in strips[:-1])]
    assert strips[-1].computed[result][1] == chain.widths[result]
    for strip in strips:
        needed = needed_columns(chain, range(*strip.computed[result]))
        for call, read in zip(chain.calls, strip.read, strict=True):
            first, end = strip.computed[call.output]
            assert needed[call.output] <= set(range(first, end))
            for buffer, columns in zip(call.inputs, read, strict=True):
                assert columns is not None
                there = strip.computed.get(buffer, (0, chain.widths[buffer]))
                assert there[0] <= columns[0] < columns[1] <= there[1]


@settings(max_examples=EXAMPLES, deadline=None)
@given(chains(), st.integers(1, 4))
def test_what_is_computed_again_is_counted_column_by_column(chain: Chain, parts: int) -> None:
    strips = most_strips(chain, parts)
    for call in chain.calls:
        ranges = [range(*strip.computed[call.output]) for strip in strips]
        assume(all(one.start <= other.start for one, other in pairwise(ranges)))
        before: set[int] = set()
        wanted = []
        for columns in ranges:
            # Columns between two strips that nobody needs were not computed.
            wanted.append(len(set(columns) & set(range(max(before, default=-1) + 1))))
            before |= set(columns)
        assert computed_again(strips, call.output) == tuple(wanted)


def strip_step(chain: Chain, strip: Strip, number: int) -> tuple[Step, Trace]:
    """The step of one strip; its rings have numbers of their own."""

    def own(buffer: int) -> int:
        return buffer if buffer in (SOURCE, chain.calls[-1].output) else 100 * (number + 1) + buffer

    def columns(buffer: int, part: tuple[int, int]) -> tuple[int, Columns | None]:
        size = chain.column_bytes[buffer]
        first, end = (0, chain.widths[buffer]) if own(buffer) == buffer else strip.computed[buffer]
        view = None if part == (first, end) else Columns((part[0] - first) * size, (end - first) * size)
        return (part[1] - part[0]) * size, view

    calls, sizes = [], {}
    for call, read, rows in zip(chain.calls, strip.read, chain.rows, strict=True):
        inputs = []
        for buffer, part, access in zip(call.inputs, read, rows, strict=True):
            assert part is not None
            row_bytes, view = columns(buffer, part)
            inputs.append(StreamInput(own(buffer), chain.heights[buffer], row_bytes, access, columns=view))
        row_bytes, view = columns(call.output, strip.computed[call.output])
        calls.append(StreamCall(tuple(inputs), own(call.output), chain.heights[call.output], row_bytes, False, view))
        sizes[own(call.output)] = (chain.heights[call.output], calls[-1].output_pitch)
    sizes[SOURCE] = (chain.heights[SOURCE], chain.widths[SOURCE] * chain.column_bytes[SOURCE])
    step = Step(tuple(calls), sizes)
    return step, replay(step.calls)


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(chains(), st.integers(2, 4))
def test_strips_read_no_foreign_byte_at_the_computed_gap_and_one_byte_closer_they_do(chain: Chain, parts: int) -> None:
    strips = most_strips(chain, parts)
    pairs = [strip_step(chain, strip, number) for number, strip in enumerate(strips)]
    trace = joined(pair[1] for pair in pairs)
    slots = {buffer: count for _, one in pairs for buffer, count in one.slots.items()}
    step = Step(pairs[-1][0].calls, {buffer: size for one, _ in pairs for buffer, size in one.sizes.items()})
    assume(step.sources == [SOURCE])
    written = [event for event in trace.events if event.output == step.result]
    places = [position for event in written for position in range(event.write_first, event.write_end)]
    assert sorted(places) == list(range(step.bytes_of(step.result)))
    gap, start = safe_gap(trace, SOURCE, step.result), 500_000
    base = {**far_offsets(step), SOURCE: start}
    if gap == UNCONSTRAINED:
        distances: Iterable[int] = range(-step.bytes_of(SOURCE), step.bytes_of(step.result) + 1)
    else:
        distances = (gap, gap + 1, gap + 3)
        assert simulate(step, trace, {**base, step.result: start - gap + 1}, slots) is not None
    for distance in distances:
        assert simulate(step, trace, {**base, step.result: start - distance}, slots) is None


def ways(seed: int, begin: int, end: int) -> Iterator[InStrips]:
    generator = random.Random(f"{seed} {begin} {end}")
    for parts in (2, 3, 4):
        yield InStrips(parts, generator.randint(0, 200), generator.randint(1, 50))


@pytest.mark.parametrize("seed", range(60))
def test_the_chosen_peak_and_cost_are_the_least_of_all_divisions_into_streams_and_strips(seed: int) -> None:
    calls, buffers = random_chain(random.Random(seed))

    def strips(begin: int, end: int, slots: Mapping[int, int]) -> Iterator[InStrips]:
        return ways(seed, begin, end)

    def alternatives(begin: int, end: int) -> list[Segment]:
        whole = segment(calls, buffers, begin, end)
        if whole is None:
            return []
        divided = segments_in_strips(calls, buffers, whole, strips) if end > begin + 1 else ()
        return [whole, *divided]

    divisions = [possible for cuts in segmentations(len(calls)) if all(possible := [alternatives(begin, end) for begin, end in cuts])]
    least = min(max(min(entry.peak_bytes for entry in entries) for entries in division) for division in divisions)
    fitting = [[[entry.cost for entry in entries if entry.peak_bytes <= least] for entries in division] for division in divisions]
    costs = [[min(entries) for entries in division] for division in fitting if all(division)]
    cheapest = min((sum(again for again, _ in division), sum(price for _, price in division)) for division in costs)
    chosen = choose_segments(calls, buffers, LONGEST, 0, strips)
    assert max(part.peak_bytes for part in chosen) == least
    assert (sum(part.again for part in chosen), sum(part.price for part in chosen)) == cheapest


def test_strips_are_chosen_only_above_the_budget() -> None:
    divided = 0
    for seed in range(60):
        calls, buffers = random_chain(random.Random(seed))
        whole = choose_segments(calls, buffers, LONGEST)
        peak = max(part.peak_bytes for part in whole)

        def strips(begin: int, end: int, slots: Mapping[int, int], seed: int = seed) -> Iterator[InStrips]:
            return ways(seed, begin, end)

        found = choose_segments(calls, buffers, LONGEST, 0, strips)
        divided += any(part.parts > 1 for part in found)
        assert all(part.parts == 1 for part in choose_segments(calls, buffers, LONGEST, peak, strips))
    assert divided > 10


def test_a_stream_that_is_fed_by_the_caller_or_reduces_rows_has_no_strips() -> None:
    calls, buffers = random_chain(random.Random(3))
    whole = Segment(0, 2, 1 << 20, 0)
    reducing = [replace(calls[0], streamable=True), replace(calls[1], streamable=True, call=replace(calls[1].call, reduces=True))]
    assert not list(segments_in_strips(reducing, buffers, whole, lambda *_: ways(0, 0, 2)))
