"""Which neighbouring calls run as one stream: a bottleneck path over cut points.

Nodes are the gaps between calls, an edge (i, j) is the step that runs calls i to j-1 row by row, its weight the peak memory of that
step. The least peak is the bottleneck of the best path from 0 to n; among the paths that reach it, the one that streams least wins,
because streaming has a price in instructions (cf. msf-CNN, NeurIPS 2025, for the same problem with recomputation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from tinyc.memory.stream import MOST_ROWS, StreamCall, Trace, extent, may_coincide, mirrored, replay, rows_of, safe_gap


@dataclass(frozen=True)
class SegmentCall:
    """A call, the memory that it needs besides its tensors, and whether it can work row by row."""

    call: StreamCall
    scratch_bytes: int
    accumulator_bytes: int
    streamable: bool
    supplied: bool = False
    """Whether this is no call but the rows of the network's input as the caller supplies them: it costs nothing and is no step alone."""


@dataclass(frozen=True)
class SegmentBuffer:
    """A tensor: size, first and last call that touch it (-1 for an input of the network, n for an output), and whether views read it."""

    size: int
    first: int
    last: int
    viewed: bool


@dataclass(frozen=True)
class Segment:
    """Calls [begin, end) as one step."""

    begin: int
    end: int
    peak_bytes: int
    price: int
    forwards_bytes: int = -1
    """The peak where rows are computed from the first to the last; more than `peak_bytes` where the other direction is better."""
    parts: int = 1
    """Vertical strips in which the calls run, one after the other."""
    again: int = 0
    """Multiply-adds that are executed once more for that."""

    @property
    def cost(self) -> tuple[int, int]:
        """What counts among segments that need little enough memory: what is computed twice, then what is streamed."""
        return self.again, self.price

    @property
    def backwards(self) -> bool:
        """Whether the step, of one call, must compute its last row first to keep to its peak."""
        return self.forwards_bytes > self.peak_bytes


@dataclass(frozen=True)
class InStrips:
    """A step in `parts` vertical strips: bytes of rings and scratch in the widest of them, and the multiply-adds that are done again."""

    parts: int
    own_bytes: int
    again: int


Strips = Callable[[int, int, Mapping[int, int]], Iterable[InStrips]]
"""Ways to run calls [begin, end), whose rings have so many rows (by buffer), in strips."""


def segment(calls: Sequence[SegmentCall], buffers: Sequence[SegmentBuffer], begin: int, end: int) -> Segment | None:
    """The step that runs calls [begin, end), or None where they cannot form one."""
    part = calls[begin:end]
    inner = {entry.call.output for entry in part[:-1]}
    if len(part) > 1:
        if not all(entry.streamable for entry in part):
            return None
        if any(buffers[buffer].last >= end or buffers[buffer].viewed for buffer in inner):
            return None
        # Every call must feed a later one of the segment, or the last call would not pull it.
        read = {source.buffer for entry in part for source in entry.call.inputs}
        if not inner <= read:
            return None
    trace = replay([entry.call for entry in part])
    own = _ring_bytes(part, trace) + max(entry.scratch_bytes for entry in part) + sum(entry.accumulator_bytes for entry in part)
    result = part[-1].call.output
    inputs = {source.buffer for entry in part for source in entry.call.inputs} - inner
    dying = [buffer for buffer in inputs if buffers[buffer].last < end and buffer != result]
    staying = sum(buffer.size for index, buffer in enumerate(buffers) if buffer.first < begin and buffer.last >= end and index != result)
    total = sum(buffers[buffer].size for buffer in dying)
    size = buffers[result].size if result not in inputs else 0
    sizes = {buffer: buffers[buffer].size for buffer in (*inputs, result)}
    if buffers[result].first < begin:
        # Strips of an earlier step are part of the result already.
        dying = []
    both_ways = []
    for events in filter(None, (trace, _backwards(part, sizes))):
        least = total + size
        for buffer in dying if size else ():
            gap = 0 if may_coincide(events, buffer, result) else safe_gap(events, buffer, result)
            least = min(least, total - sizes[buffer] + extent(sizes[buffer], size, gap))
        both_ways.append(staying + least + own)
    rows = [entry.call for entry in part if not entry.supplied]
    price = sum(call.output_rows * call.output_row_bytes for call in rows) if len(part) > 1 else 0
    return Segment(begin, end, min(both_ways), price, both_ways[0])


def segments_in_strips(calls: Sequence[SegmentCall], buffers: Sequence[SegmentBuffer], whole: Segment, strips: Strips) -> Iterator[Segment]:
    """`whole`, a step of several calls, in vertical strips, where that could need less. The result then overlaps nothing that is read."""
    part = calls[whole.begin : whole.end]
    inner = {entry.call.output for entry in part[:-1]}
    live = (index for index, buffer in enumerate(buffers) if buffer.first < whole.end and buffer.last >= whole.begin)
    kept = sum(buffers[index].size for index in live if index not in inner)
    if kept >= whole.peak_bytes or any(entry.supplied or not entry.streamable or entry.call.reduces for entry in part):
        return
    slots = replay([entry.call for entry in part]).slots
    for found in strips(whole.begin, whole.end, slots):
        peak = kept + found.own_bytes
        if peak < whole.peak_bytes:
            yield replace(whole, peak_bytes=peak, forwards_bytes=peak, parts=found.parts, again=found.again)


def _backwards(part: Sequence[SegmentCall], sizes: Mapping[int, int]) -> Trace | None:
    """What a call alone does when it begins with its last row, upside down; None where it cannot."""
    entry = part[0]
    if len(part) > 1 or not entry.streamable or entry.supplied or entry.call.reduces:
        return None
    return mirrored(replay([entry.call], backwards=True), sizes)


def _ring_bytes(part: Sequence[SegmentCall], trace: Trace) -> int:
    sizes = {entry.call.output: entry.call.output_row_bytes for entry in part}
    return sum(slots * sizes[buffer] for buffer, slots in trace.slots.items())


MOST_STREAMED_ROWS = 300_000
"""Rows of candidate streams that are replayed, some seconds; mcunetv2_large has 36,000 in all."""


@lru_cache(maxsize=16)
def _possible_segments(calls: tuple[SegmentCall, ...], buffers: tuple[SegmentBuffer, ...], longest: int) -> tuple[Segment, ...]:
    """All steps that neighbouring calls can form, by their first call: the same for every budget that a network is compiled with."""
    found = []
    rows_left = MOST_STREAMED_ROWS
    for begin in range(len(calls)):
        supplied = calls[begin].supplied
        for end in range(begin + 1 + supplied, min(len(calls), begin + longest + supplied) + 1):
            if end > begin + 1 and not (calls[end - 1].streamable and calls[begin].streamable):
                break
            rows = sum(rows_of(entry.call) for entry in calls[begin:end]) if end > begin + 1 else 0
            if rows > min(rows_left, MOST_ROWS):
                break
            rows_left -= rows
            possible = segment(calls, buffers, begin, end)
            if possible is not None:
                found.append(possible)
    return tuple(found)


def choose_segments(
    calls: Sequence[SegmentCall], buffers: Sequence[SegmentBuffer], longest: int, budget: int = 0, strips: Strips | None = None
) -> list[Segment]:
    """The segmentation with the least cost among those whose peak is at most `budget` bytes, or the least there is if that is more.

    `longest` bounds the calls of one stream, MOST_ROWS its rows and MOST_STREAMED_ROWS the time: what comes after is not streamed. The
    supply of an input, which can only be the first of `calls`, does not count as a call. Raises ValueError where the calls that read a
    supplied input cannot run as one stream; without one there is always an answer.
    """
    count = len(calls)
    edges: list[list[Segment]] = [[] for _ in range(count + 1)]
    for found in _possible_segments(tuple(calls), tuple(buffers), longest):
        edges[found.end].append(found)
        if found.end > found.begin + 1 and strips is not None:
            edges[found.end] += segments_in_strips(calls, buffers, found, strips)
    bottleneck: list[int | None] = [0] + [None] * count
    for end in range(1, count + 1):
        known = [(before, edge.peak_bytes) for edge in edges[end] if (before := bottleneck[edge.begin]) is not None]
        bottleneck[end] = min((max(peaks) for peaks in known), default=None)
    least = bottleneck[count]
    if least is None:
        raise ValueError("the calls that read the supplied input cannot run as one stream")
    limit = max(least, budget)
    cost: list[tuple[int, int] | None] = [(0, 0)] + [None] * count
    via: list[Segment | None] = [None] * (count + 1)
    for end in range(1, count + 1):
        for edge in edges[end]:
            so_far = cost[edge.begin]
            if edge.peak_bytes > limit or so_far is None:
                continue
            total, cheapest = (so_far[0] + edge.cost[0], so_far[1] + edge.cost[1]), cost[end]
            if cheapest is None or total <= cheapest:
                cost[end], via[end] = total, edge
    path = []
    position = count
    while position:
        edge_in = via[position]
        assert edge_in is not None
        # Backwards only where the peak demands it: forwards is the order in which everybody reads the C.
        path.append(replace(edge_in, peak_bytes=edge_in.forwards_bytes) if edge_in.forwards_bytes <= limit else edge_in)
        position = edge_in.begin
    return path[::-1]
