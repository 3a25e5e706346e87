"""Rings, gaps and bounds of streamed steps against a byte-by-byte simulation: enough, and not a byte more than enough."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from step_simulator import FIRST_OUTPUT, Step, far_offsets, replayed, simulate, steps

from tinyc.memory.row_access import EACH_ROW, RowAccess
from tinyc.memory.stream import UNCONSTRAINED, StreamCall, StreamInput, live_bound, may_coincide, mirrored, replay, safe_gap

EXAMPLES = 150


@settings(max_examples=EXAMPLES, deadline=None)
@given(steps())
def test_every_row_of_the_result_is_computed_once_and_in_order(step: Step) -> None:
    trace = replayed(step)
    writes = [
        (event.write_first, event.write_end)
        for event in trace.events
        if event.output == step.result and event.write_end > event.write_first
    ]
    assert [first for first, _ in writes] == [0, *[end for _, end in writes[:-1]]]
    assert writes[-1][1] == step.bytes_of(step.result)


@settings(max_examples=EXAMPLES, deadline=None)
@given(steps())
def test_rings_of_the_computed_slots_are_large_enough(step: Step) -> None:
    trace = replayed(step)
    assert all(1 <= slots <= step.sizes[buffer][0] for buffer, slots in trace.slots.items())
    assert simulate(step, trace, far_offsets(step), trace.slots) is None


@settings(max_examples=EXAMPLES, deadline=None)
@given(steps(dilations=False))
def test_a_ring_with_one_slot_less_loses_a_row(step: Step) -> None:
    trace = replayed(step)
    written = {event.output: event.write_end for event in trace.events}
    # Rows that nobody pulls are still counted as readers of the rows before them; slots may then be one too many.
    assume(all(written.get(call.output) == step.bytes_of(call.output) for call in step.calls))
    for buffer, slots in trace.slots.items():
        if slots > 1:
            assert simulate(step, trace, far_offsets(step), {**trace.slots, buffer: slots - 1}) is not None


def with_supplied_input(step: Step) -> Step:
    """`step` with the rows of its first input coming one by one."""
    return Step((StreamCall((), 0, *step.sizes[0]), *step.calls), step.sizes)


@settings(max_examples=EXAMPLES, deadline=None)
@given(steps())
def test_an_input_that_comes_row_by_row_needs_a_ring_of_the_computed_slots(step: Step) -> None:
    assume(0 in step.sources)
    step = with_supplied_input(step)
    trace = replayed(step)
    assert 1 <= trace.slots[0] <= step.sizes[0][0]
    assert simulate(step, trace, far_offsets(step), trace.slots) is None


@settings(max_examples=EXAMPLES, deadline=None)
@given(steps(dilations=False))
def test_a_ring_of_the_input_with_one_slot_less_loses_a_row(step: Step) -> None:
    assume(0 in step.sources)
    step = with_supplied_input(step)
    trace = replayed(step)
    written = {event.output: event.write_end for event in trace.events}
    assume(all(written.get(call.output) == step.bytes_of(call.output) for call in step.calls))
    assume(trace.slots[0] > 1)
    assert simulate(step, trace, far_offsets(step), {**trace.slots, 0: trace.slots[0] - 1}) is not None


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(steps())
def test_at_the_computed_gap_no_read_sees_a_foreign_byte_and_one_byte_closer_some_read_does(step: Step) -> None:
    trace = replayed(step)
    for source in step.sources:
        gap = safe_gap(trace, source, step.result)
        start = 5_000_000
        base = {**far_offsets(step), source: start}
        if gap == UNCONSTRAINED:
            for distance in range(-step.bytes_of(source), step.bytes_of(step.result) + 1):
                assert simulate(step, trace, {**base, step.result: start - distance}, trace.slots) is None
            continue
        for distance in (gap, gap + 1, gap + 3):
            assert simulate(step, trace, {**base, step.result: start - distance}, trace.slots) is None
        single_bytes = any(read.in_place and read.end - read.first == 1 for event in trace.events for read in event.reads)
        if not single_bytes:
            # A row of one byte that is read in place may always be written one byte further on.
            assert simulate(step, trace, {**base, step.result: start - gap + 1}, trace.slots) is not None


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(steps(most_calls=1))
def test_backwards_no_read_sees_a_foreign_byte_at_the_computed_gap_and_one_byte_closer_some_read_does(step: Step) -> None:
    assume(not step.calls[0].reduces)
    trace = replay(step.calls, backwards=True)
    rows = [event.write_first for event in trace.events]
    assert rows == sorted(rows, reverse=True)
    sizes = {buffer: step.bytes_of(buffer) for buffer in (*step.sources, step.result)}
    for source in step.sources:
        gap = safe_gap(mirrored(trace, sizes), source, step.result)
        start = 5_000_000
        base = {**far_offsets(step), source: start}
        closest = start + sizes[source] - sizes[step.result] + gap
        if gap == UNCONSTRAINED:
            closest = start - sizes[step.result]
        for further in (0, 1, 3):
            assert simulate(step, trace, {**base, step.result: closest + further}, {}) is None
        if gap != UNCONSTRAINED:
            assert simulate(step, trace, {**base, step.result: closest - 1}, {}) is not None


@settings(max_examples=EXAMPLES, deadline=None)
@given(steps())
def test_the_live_bound_is_never_above_what_any_safe_place_of_the_result_needs(step: Step) -> None:
    assume(len(step.sources) == 1)
    (source,) = step.sources
    trace = replayed(step)
    size, result_size, start = step.bytes_of(source), step.bytes_of(step.result), 5_000_000
    bound = live_bound(trace, {source: size}, step.result)
    for distance in range(-size, result_size + 1):
        extent = max(size, result_size - distance) - min(0, -distance)
        if extent < bound:
            assert simulate(step, trace, {source: start, step.result: start - distance}, trace.slots) is not None


def call(*inputs: StreamInput, rows: int, row_bytes: int, output: int = FIRST_OUTPUT, reduces: bool = False) -> StreamCall:
    return StreamCall(inputs, output, rows, row_bytes, reduces)


@pytest.mark.parametrize(
    ("access", "rows", "row_bytes", "gap"),
    [
        # 3x3, stride 1, pad 1, equal rows: a row above the window, and the row that is written.
        (RowAccess(3, 1, 1, 1), 8, 4, 8),
        # 1x1: the row that is written lies just before the one that is read.
        (EACH_ROW, 8, 4, 4),
        # 2x2, stride 2, half the bytes: the first row alone decides.
        (RowAccess(2, 2), 4, 2, 2),
        # Twice as many bytes a row: the distance grows to the end.
        (EACH_ROW, 8, 8, 8 * 8 - 7 * 4),
    ],
)
def test_gaps_of_single_layers(access: RowAccess, rows: int, row_bytes: int, gap: int) -> None:
    trace = replay([call(StreamInput(0, 8, 4, access), rows=rows, row_bytes=row_bytes)])
    assert safe_gap(trace, 0, FIRST_OUTPUT) == gap


def test_a_layer_that_looks_back_only_overwrites_its_input_from_the_end() -> None:
    trace = replay([call(StreamInput(0, 8, 4, RowAccess(5, 1, 1, 4)), rows=8, row_bytes=4)])
    assert safe_gap(trace, 0, FIRST_OUTPUT) == 5 * 4
    trace = replay([call(StreamInput(0, 8, 4, RowAccess(5, 1, 1, 4)), rows=8, row_bytes=4)], backwards=True)
    assert safe_gap(mirrored(trace, {0: 32, FIRST_OUTPUT: 32}), 0, FIRST_OUTPUT) == 4


def test_an_elementwise_result_may_lie_exactly_on_its_input() -> None:
    trace = replay([call(StreamInput(0, 8, 4, EACH_ROW, in_place=True), rows=8, row_bytes=4)])
    assert safe_gap(trace, 0, FIRST_OUTPUT) == 0
    assert live_bound(trace, {0: 32}, FIRST_OUTPUT) == 32


def test_a_reduction_may_write_anywhere_over_what_it_has_read() -> None:
    trace = replay([call(StreamInput(0, 8, 4, None), rows=1, row_bytes=16, reduces=True)])
    assert safe_gap(trace, 0, FIRST_OUTPUT) == UNCONSTRAINED


def test_an_inverted_bottleneck_keeps_as_many_expanded_rows_as_its_kernel_has() -> None:
    expand = call(StreamInput(0, 20, 16, EACH_ROW), rows=20, row_bytes=96, output=10)
    depthwise = call(StreamInput(10, 20, 96, RowAccess(5, 1, 1, 2)), rows=20, row_bytes=96, output=11)
    project = call(StreamInput(11, 20, 96, EACH_ROW), rows=20, row_bytes=16, output=12)
    add = call(StreamInput(12, 20, 16, EACH_ROW, True), StreamInput(0, 20, 16, EACH_ROW, True), rows=20, row_bytes=16, output=13)
    trace = replay([expand, depthwise, project, add])
    assert trace.slots == {10: 5, 11: 1, 12: 1}
    # The input's row is read by the sum two rows after it was expanded.
    assert safe_gap(trace, 0, 13) == 0


def added(rows_ahead: int, exactly: bool = True) -> list[StreamCall]:
    """A call that reads a row of buffer 0 in place, and `rows_ahead` rows further down one that it does not."""
    ahead = StreamInput(0, 6, 10, RowAccess(1, 1, 1, -rows_ahead)) if rows_ahead else StreamInput(1, 6, 10, EACH_ROW)
    return [StreamCall((ahead, StreamInput(0, 6, 10, EACH_ROW, True, exactly)), 2, 6, 10)]


def test_a_result_in_no_order_may_lie_on_the_operand_itself_or_a_whole_row_before_it() -> None:
    trace = replay(added(0))
    assert may_coincide(trace, 0, 2)
    assert safe_gap(trace, 0, 2) == 10
    assert safe_gap(replay(added(0, exactly=False)), 0, 2) == 0
    assert not may_coincide(replay(added(0, exactly=False)), 0, 2)


def test_what_is_also_read_in_another_place_decides_whether_they_may_coincide() -> None:
    # A row that is read ahead of the sum is dead when the sum is written over it, but for the row itself.
    assert may_coincide(replay(added(2)), 0, 2)
    both = [StreamCall((StreamInput(0, 6, 10, EACH_ROW), StreamInput(0, 6, 10, EACH_ROW, True, True)), 2, 6, 10)]
    assert not may_coincide(replay(both), 0, 2)
