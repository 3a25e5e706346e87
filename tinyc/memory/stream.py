"""What happens, row by row, when a step runs: which rows each call reads and writes, and what that means for memory.

A step is a list of calls in topological order. The last call pulls: before it computes a row, the calls that feed it compute the rows that
it needs, and so on upwards. Everything here follows from replaying that order, which is also the order of the generated C. A call
alone may also go backwards, from its last row to its first; its mirror image then goes forwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from tinyc.memory.row_access import RowAccess


@dataclass(frozen=True)
class Columns:
    """A part of each row of a buffer: it begins at byte `first` of the row, and rows begin `pitch` bytes apart."""

    first: int
    pitch: int


@dataclass(frozen=True)
class StreamInput:
    """A buffer as one call reads it: `rows` rows of `row_bytes`. `access` is None where the call needs all of it at once."""

    buffer: int
    rows: int
    row_bytes: int
    access: RowAccess | None
    in_place: bool = False
    """Whether the result may be written over exactly the bytes that the same call reads."""
    exactly: bool = False
    """Whether it may be written over no others of the same row, as its elements are not computed from left to right."""
    columns: Columns | None = None
    """Where its rows are a part of those of the buffer."""

    def reads(self, first: int, end: int) -> tuple[Read, ...]:
        """What reading rows [first, end) means: neighbouring rows at once, parts of rows one by one."""
        if self.columns is None:
            return (Read(self.buffer, first * self.row_bytes, end * self.row_bytes, self.in_place, self.exactly),) if first < end else ()
        starts = [row * self.columns.pitch + self.columns.first for row in range(first, end)]
        return tuple(Read(self.buffer, start, start + self.row_bytes, self.in_place, self.exactly) for start in starts)


@dataclass(frozen=True)
class StreamCall:
    """One kernel over all rows of its output buffer. A reduction takes the rows of its only input one by one and then writes everything."""

    inputs: tuple[StreamInput, ...]
    output: int
    output_rows: int
    output_row_bytes: int
    reduces: bool = False
    columns: Columns | None = None
    """Where its rows are a part of those of the output buffer."""

    @property
    def output_pitch(self) -> int:
        """Bytes between the starts of two rows of the output."""
        return self.output_row_bytes if self.columns is None else self.columns.pitch

    def place(self, row: int) -> tuple[int, int]:
        """First byte of output row `row` in its buffer, and one past the last."""
        first = row * self.output_pitch + (0 if self.columns is None else self.columns.first)
        return first, first + self.output_row_bytes


@dataclass(frozen=True)
class Read:
    """Bytes [first, end) of a buffer, read in one event."""

    buffer: int
    first: int
    end: int
    in_place: bool
    exactly: bool = False


@dataclass(frozen=True)
class Event:
    """One execution of a kernel: `reads`, then bytes [write_first, write_end) of `output`; nothing is written where the two are equal."""

    call: int
    reads: tuple[Read, ...]
    output: int
    write_first: int
    write_end: int


@dataclass(frozen=True)
class Trace:
    """All events of a step in order, and how many rows of each inner buffer (by id) must be kept at once."""

    events: tuple[Event, ...]
    slots: Mapping[int, int]


UNCONSTRAINED = -(1 << 62)
"""Gap of a result that is written only after the last read of a source: any overlap is safe."""


class _Replay:
    def __init__(self, calls: Sequence[StreamCall]) -> None:
        self.calls = calls
        self.producer = {call.output: index for index, call in enumerate(calls[:-1])}
        self.consumers: dict[int, list[tuple[int, StreamInput]]] = {}
        for index, call in enumerate(calls):
            for source in call.inputs:
                if source.buffer in self.producer:
                    self.consumers.setdefault(source.buffer, []).append((index, source))
        self.done = [0] * len(calls)
        self.consumed = [0] * len(calls)
        self.events: list[Event] = []
        self.slots = {buffer: 1 for buffer in self.producer}

    def pull(self, index: int, need: int) -> None:
        """Computes output rows of call `index` until `need` of them exist."""
        call = self.calls[index]
        while self.done[index] < need:
            if call.reduces:
                self._reduce(index, call)
            else:
                self._compute_row(index, call, self.done[index])

    def _compute_row(self, index: int, call: StreamCall, row: int) -> None:
        reads: list[Read] = []
        for source in call.inputs:
            access = source.access
            first, end = (0, source.rows) if access is None else (max(0, access.first(row)), min(source.rows, access.end(row)))
            if source.buffer in self.producer:
                self.pull(self.producer[source.buffer], end)
            reads += source.reads(first, end)
        self.events.append(Event(index, tuple(reads), call.output, *call.place(row)))
        self._finish_row(index, call)

    def _reduce(self, index: int, call: StreamCall) -> None:
        source = call.inputs[0]
        for row in range(source.rows):
            if source.buffer in self.producer:
                self.pull(self.producer[source.buffer], row + 1)
            read = Read(source.buffer, row * source.row_bytes, (row + 1) * source.row_bytes, False)
            self.events.append(Event(index, (read,), call.output, 0, 0))
            self.consumed[index] = row + 1
        self.events.append(Event(index, (), call.output, 0, call.output_rows * call.output_row_bytes))
        for _ in range(call.output_rows):
            self._finish_row(index, call)

    def _finish_row(self, index: int, call: StreamCall) -> None:
        self.done[index] += 1
        if call.output in self.slots:
            produced = self.done[index]
            oldest = min(self._oldest_needed(consumer, source) for consumer, source in self.consumers[call.output])
            self.slots[call.output] = max(self.slots[call.output], produced - min(oldest, produced - 1))

    def _oldest_needed(self, consumer: int, source: StreamInput) -> int:
        call = self.calls[consumer]
        if call.reduces:
            return self.consumed[consumer]
        if source.access is None:
            return 0
        row = self.done[consumer]
        while row < call.output_rows and source.access.end(row) <= 0:
            row += 1  # reads padding only
        return max(0, source.access.first(row)) if row < call.output_rows else source.rows


MOST_ROWS = 1 << 16
"""Rows that one call is followed through; a taller one counts as a single event, which only forbids overlaps that would be safe."""


def rows_of(call: StreamCall) -> int:
    """How many rows a replay of `call` visits."""
    return max(call.output_rows, *(source.rows for source in call.inputs)) if call.reduces else call.output_rows


def replay(calls: Sequence[StreamCall], backwards: bool = False) -> Trace:
    """The events of a step of `calls`, driven by its last call. Inner buffers are the outputs of all calls but the last.

    With `backwards` the only call, which must not be a reduction, computes its last row first.
    """
    kept = _replay_short if sum(map(rows_of, calls)) <= _SHORT_ROWS else _replay_long
    return kept(tuple(calls), backwards)


_SHORT_ROWS = 128
"""Many traces of so few rows may be kept without taking much memory."""


@lru_cache(maxsize=1024)
def _replay_short(calls: tuple[StreamCall, ...], backwards: bool) -> Trace:
    return _replay(calls, backwards)


@lru_cache(maxsize=32)
def _replay_long(calls: tuple[StreamCall, ...], backwards: bool) -> Trace:
    return _replay(calls, backwards)


def _replay(calls: tuple[StreamCall, ...], backwards: bool) -> Trace:
    if len(calls) == 1 and rows_of(calls[0]) > MOST_ROWS:
        return _at_once(calls[0])
    if backwards:
        return _backwards(*calls)
    state = _Replay(calls)
    state.pull(len(calls) - 1, calls[-1].output_rows)
    return Trace(tuple(state.events), state.slots)


def _backwards(call: StreamCall) -> Trace:
    # What is read in place counts as read before and after writing: the elements of a row are still visited from left to right.
    inputs = tuple(replace(source, in_place=False, exactly=False) for source in call.inputs)
    return Trace(replay([replace(call, inputs=inputs)]).events[::-1], {})


def joined(traces: Iterable[Trace]) -> Trace:
    """One step after the other, as far as their events go."""
    return Trace(tuple(event for trace in traces for event in trace.events), {})


def mirrored(trace: Trace, sizes: Mapping[int, int]) -> Trace:
    """What `trace` does in memory that is upside down: byte 0 of a buffer becomes its last one, `sizes` are those of the buffers.

    A step that runs backwards runs forwards there.
    """

    def turned(event: Event) -> Event:
        reads = tuple(replace(read, first=sizes[read.buffer] - read.end, end=sizes[read.buffer] - read.first) for read in event.reads)
        size = sizes[event.output]
        return replace(event, reads=reads, write_first=size - event.write_end, write_end=size - event.write_first)

    return Trace(tuple(map(turned, trace.events)), trace.slots)


def _at_once(call: StreamCall) -> Trace:
    reads = tuple(Read(source.buffer, 0, source.rows * source.row_bytes, source.in_place, source.exactly) for source in call.inputs)
    written = call.output_rows * call.output_row_bytes
    if call.reduces:
        return Trace((Event(0, reads, call.output, 0, 0), Event(0, (), call.output, 0, written)), {})
    return Trace((Event(0, reads, call.output, 0, written),), {})


def may_coincide(trace: Trace, source: int, result: int) -> bool:
    """Whether `result` may start where `source` does although `safe_gap` asks for more: all that is in between is read in place exactly."""
    return safe_gap(trace, source, result) > 0 >= safe_gap(trace, source, result, coinciding=True)


def safe_gap(trace: Trace, source: int, result: int, coinciding: bool = False) -> int:
    """How many bytes before `source` the buffer `result` must start, at least, so that no byte is overwritten before its last read.

    Negative where the result may even start behind the source's start, UNCONSTRAINED where all reads come before all writes. Within one
    event a kernel may write before it has read all, unless the read is in place: then element i is read before element i is written, and
    before element i + 1 unless it is in place `exactly`, which counts only where the two are known to be `coinciding`.
    """
    gap: int | None = None
    needed: int | None = None
    for event in reversed(trace.events):
        own: int | None = None
        for read in event.reads:
            if read.buffer != source:
                continue
            if read.in_place and (coinciding or not read.exactly):
                own = event.write_first - read.first if own is None else max(own, event.write_first - read.first)
            else:
                needed = read.first if needed is None else min(needed, read.first)
        if event.output == result and event.write_end > event.write_first:
            limits = [event.write_end - needed] if needed is not None else []
            limits += [own] if own is not None else []
            for limit in limits:
                gap = limit if gap is None else max(gap, limit)
        for read in event.reads:
            if read.buffer == source and read.in_place and (coinciding or not read.exactly):
                needed = read.first if needed is None else min(needed, read.first)
    return UNCONSTRAINED if gap is None else gap


def extent(source: int, result: int, gap: int) -> int:
    """Bytes that a source and a result need together when the result starts `gap` bytes before the source, or later where it may."""
    distance = max(gap, 0)
    return min(source + result, max(source + distance, result))


def worst_moment(trace: Trace, dying: Collection[int], result: int) -> Mapping[int, int]:
    """Bytes of each buffer of `dying` and of `result` (by id) that hold needed data at the moment of the step that needs the most.

    Needed are the bytes of the inputs that are still to be read and the written bytes of the result. Bytes that no call reads, such as
    rows that a stride leaves out, do not count. Of several moments it is the last one.
    """
    unread: dict[int, list[tuple[int, int]]] = {buffer: [] for buffer in dying}
    most, worst = -1, dict.fromkeys((*dying, result), 0)
    left = sum(event.write_end - event.write_first for event in trace.events if event.output == result)
    for event in reversed(trace.events):
        for read in event.reads:
            if read.buffer in unread and not read.in_place:
                unread[read.buffer] = _with_range(unread[read.buffer], read.first, read.end)
        written = left if event.output == result else 0
        if event.output == result or event.reads:
            needed = {buffer: sum(end - first for first, end in ranges) for buffer, ranges in unread.items()}
            total = written + sum(needed.values())
            if total > most:
                most, worst = total, {**needed, result: written}
        left -= event.write_end - event.write_first if event.output == result else 0
        for read in event.reads:
            if read.buffer in unread and read.in_place:
                unread[read.buffer] = _with_range(unread[read.buffer], read.first, read.end)
    return worst


def live_bound(trace: Trace, dying: Collection[int], result: int) -> int:
    """Most bytes of the buffers `dying` (by id) and of `result` that hold needed data at one moment of the step.

    A lower bound for every placement with this order of execution.
    """
    return sum(worst_moment(trace, dying, result).values())


def _with_range(ranges: list[tuple[int, int]], first: int, end: int) -> list[tuple[int, int]]:
    """Disjoint `ranges` and [first, end), merged where they touch."""
    touching = [(low, high) for low, high in ranges if low <= end and first <= high]
    apart = [(low, high) for low, high in ranges if not (low <= end and first <= high)]
    return [*apart, (min([first, *(low for low, _ in touching)]), max([end, *(high for _, high in touching)]))]
