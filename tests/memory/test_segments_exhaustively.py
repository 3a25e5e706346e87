"""The chosen segmentation against all segmentations of small chains with skip connections."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tinyc.memory.row_access import EACH_ROW, RowAccess
from tinyc.memory.segments import Segment, SegmentBuffer, SegmentCall, choose_segments, segment
from tinyc.memory.stream import StreamCall, StreamInput

LONGEST = 4
ACCESSES = [EACH_ROW, RowAccess(3, 1, 1, 1), RowAccess(5, 1, 1, 2), RowAccess(4, 1, 1, 3)]


def random_chain(generator: random.Random) -> tuple[list[SegmentCall], list[SegmentBuffer]]:
    """Calls that each read the one before; some add an earlier tensor of the same size; some cannot be streamed."""
    count = generator.randint(1, 7)
    sizes = [(8, generator.randint(1, 12))]
    last = [0] * (count + 1)
    calls = []
    for index in range(count):
        rows, row_bytes = 8, generator.randint(1, 40)
        inputs = [StreamInput(index, *sizes[index], generator.choice(ACCESSES))]
        equal = [earlier for earlier in range(index) if generator.random() < 0.3]
        inputs += [StreamInput(earlier, *sizes[earlier], EACH_ROW) for earlier in equal[:1]]
        for entry in inputs:
            last[entry.buffer] = index
        sizes.append((rows, row_bytes))
        streamable = generator.random() < 0.85
        call = StreamCall(tuple(inputs), index + 1, rows, row_bytes)
        calls.append(SegmentCall(call, generator.choice([0, 0, 8, 16]), 0, streamable))
    last[count] = count
    buffers = [
        SegmentBuffer(rows * row_bytes, index - 1, last[index], 0 < index < count and generator.random() < 0.1)
        for index, (rows, row_bytes) in enumerate(sizes)
    ]
    return calls, buffers


def segmentations(count: int) -> Iterator[list[tuple[int, int]]]:
    """All ways to cut `count` calls into neighbouring parts."""
    if count == 0:
        yield []
    for size in range(1, min(count, LONGEST) + 1):
        for rest in segmentations(count - size):
            yield [*rest, (count - size, count)]


@pytest.mark.parametrize("seed", range(60))
def test_the_chosen_peak_and_price_are_the_least_of_all_segmentations(seed: int) -> None:
    calls, buffers = random_chain(random.Random(seed))
    candidates: list[list[Segment]] = []
    for cuts in segmentations(len(calls)):
        parts = [segment(calls, buffers, begin, end) for begin, end in cuts]
        if all(part is not None for part in parts):
            candidates.append([part for part in parts if part is not None])
    least = min(max(part.peak_bytes for part in parts) for parts in candidates)
    cheapest = min(sum(part.price for part in parts) for parts in candidates if max(part.peak_bytes for part in parts) == least)
    chosen = choose_segments(calls, buffers, LONGEST)
    assert [part.begin for part in chosen] == [0, *[part.end for part in chosen[:-1]]]
    assert chosen[-1].end == len(calls)
    assert all(part.end - part.begin <= LONGEST for part in chosen)
    assert max(part.peak_bytes for part in chosen) == least
    assert sum(part.price for part in chosen) == cheapest


def test_streaming_is_chosen_somewhere_and_only_where_it_helps() -> None:
    streamed = 0
    for seed in range(60):
        calls, buffers = random_chain(random.Random(seed))
        chosen = choose_segments(calls, buffers, LONGEST)
        whole = choose_segments(calls, buffers, 1)
        assert max(part.peak_bytes for part in chosen) <= max(part.peak_bytes for part in whole)
        if len(chosen) < len(whole):
            streamed += 1
            assert max(part.peak_bytes for part in chosen) < max(part.peak_bytes for part in whole)
    assert streamed > 10


def chain(*row_bytes: int, streamable: bool = True) -> tuple[list[SegmentCall], list[SegmentBuffer]]:
    count = len(row_bytes) - 1
    calls = [
        SegmentCall(StreamCall((StreamInput(index, 8, row_bytes[index], EACH_ROW),), index + 1, 8, row_bytes[index + 1]), 0, 0, streamable)
        for index in range(count)
    ]
    buffers = [SegmentBuffer(8 * size, index - 1, index, False) for index, size in enumerate(row_bytes)]
    return calls, buffers


def test_a_wide_tensor_in_the_middle_is_streamed_away() -> None:
    calls, buffers = chain(4, 40, 4)
    (only,) = choose_segments(calls, buffers, 12)
    # The input, whose rows the result overwrites once they have been read, and one row of the wide tensor.
    assert only.peak_bytes == 8 * 4 + 40


def test_a_layer_runs_backwards_only_where_the_peak_demands_it() -> None:
    causal = StreamInput(0, 8, 10, RowAccess(5, 1, 1, 4))
    calls = [SegmentCall(StreamCall((causal,), 1, 8, 10), 0, 0, True)]
    buffers = [SegmentBuffer(80, -1, 0, False), SegmentBuffer(80, 0, 1, False)]
    (only,) = choose_segments(calls, buffers, 12)
    assert (only.backwards, only.peak_bytes) == (True, 90)
    (only,) = choose_segments(calls, buffers, 12, budget=130)
    assert (only.backwards, only.peak_bytes) == (False, 130)
    symmetric = [SegmentCall(StreamCall((StreamInput(0, 8, 10, RowAccess(5, 1, 1, 2)),), 1, 8, 10), 0, 0, True)]
    (only,) = choose_segments(symmetric, buffers, 12)
    assert not only.backwards
    (only,) = choose_segments([SegmentCall(calls[0].call, 0, 0, False)], buffers, 12)
    assert (only.backwards, only.peak_bytes) == (False, 130)


def test_what_cannot_be_streamed_or_is_viewed_or_needed_later_stays_whole() -> None:
    calls, buffers = chain(4, 40, 4, streamable=False)
    assert len(choose_segments(calls, buffers, 12)) == 2
    calls, buffers = chain(4, 40, 4)
    viewed = [buffers[0], SegmentBuffer(320, 0, 1, True), buffers[2]]
    assert len(choose_segments(calls, viewed, 12)) == 2
    needed = [buffers[0], SegmentBuffer(320, 0, 2, False), buffers[2]]
    assert len(choose_segments(calls, needed, 12)) == 2


def supplied_chain(generator: random.Random) -> tuple[list[SegmentCall], list[SegmentBuffer]]:
    """A random chain whose input is supplied row by row: the supply is the first of the calls."""
    calls, buffers = random_chain(generator)
    rows, row_bytes = calls[0].call.inputs[0].rows, calls[0].call.inputs[0].row_bytes
    supply = SegmentCall(StreamCall((), 0, rows, row_bytes), 0, 0, True, supplied=True)
    shifted = [SegmentBuffer(buffer.size, buffer.first + 1, buffer.last + 1, buffer.viewed) for buffer in buffers]
    return [supply, *calls], shifted


def test_with_a_supplied_input_the_choice_is_the_best_of_all_segmentations_that_do_not_hold_the_input() -> None:
    impossible = 0
    for seed in range(80):
        calls, buffers = supplied_chain(random.Random(seed))
        candidates = []
        for cuts in segmentations(len(calls) - 1):
            # The supply belongs to the first stream and does not count against its length.
            bounds = [(0 if begin == 0 else begin + 1, end + 1) for begin, end in cuts]
            parts = [segment(calls, buffers, begin, end) for begin, end in bounds]
            if all(part is not None for part in parts):
                candidates.append([part for part in parts if part is not None])
        if not candidates:
            impossible += 1
            with pytest.raises(ValueError, match="cannot run as one stream"):
                choose_segments(calls, buffers, LONGEST)
            continue
        least = min(max(part.peak_bytes for part in parts) for parts in candidates)
        cheapest = min(sum(part.price for part in parts) for parts in candidates if max(part.peak_bytes for part in parts) == least)
        chosen = choose_segments(calls, buffers, LONGEST)
        assert (chosen[0].begin, chosen[-1].end) == (0, len(calls))
        assert chosen[0].end >= 2
        assert max(part.peak_bytes for part in chosen) == least
        assert sum(part.price for part in chosen) == cheapest
    assert 5 < impossible < 60


def test_a_large_input_that_is_supplied_leaves_the_peak_to_what_follows() -> None:
    calls, buffers = chain(100, 4, 4)
    supply = SegmentCall(StreamCall((), 0, 8, 100), 0, 0, True, supplied=True)
    shifted = [SegmentBuffer(buffer.size, buffer.first + 1, buffer.last + 1, False) for buffer in buffers]
    assert max(part.peak_bytes for part in choose_segments(calls, buffers, 12)) >= 8 * 100
    assert max(part.peak_bytes for part in choose_segments([supply, *calls], shifted, 12)) == 100 + 8 * 4
