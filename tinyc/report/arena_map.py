"""The map of the arena over time as data: one band a step, one mark a buffer, and where two buffers share bytes. Text and HTML draw it."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from tinyc.report.memory import BufferReport, MemoryReport

FREE, SHARED, SCRATCH, ACCUMULATOR = ".", "#", ":", "+"


@dataclass(frozen=True)
class SharedBytes:
    """Bytes [first, end) of the map that the buffers `one` and `other` (numbers) both have in `step`."""

    step: int
    one: int
    other: int
    first: int
    end: int


def marks(buffers: Sequence[BufferReport]) -> tuple[str, ...]:
    """A character for each buffer: capitals for tensors, small letters for rings, in the order of their first step, over and over.

    Buffers that are live together have different letters, as long as there are no more than 26 of them.
    """
    found = [""] * len(buffers)
    for letters, kinds in ((string.ascii_uppercase, ("input", "output", "tensor")), (string.ascii_lowercase, ("ring", "input_ring"))):
        numbers = sorted(
            (number for number, buffer in enumerate(buffers) if buffer.kind in kinds), key=lambda n: (buffers[n].first_step, n)
        )
        position = 0
        for number in numbers:
            near = {found[other] for other in numbers if found[other] and buffers[other].last_step >= buffers[number].first_step}
            while letters[position % 26] in near and len(near) < 26:
                position += 1
            found[number] = letters[position % 26]
            position += 1
    private = {"scratch": SCRATCH, "accumulator": ACCUMULATOR, "counters": ACCUMULATOR, "state": ACCUMULATOR}
    return tuple(mark or private.get(buffer.kind, "?") for mark, buffer in zip(found, buffers, strict=True))


def span(report: MemoryReport, buffer: BufferReport) -> range:
    """The bytes of `buffer` on the map, on which the arenas of several banks lie side by side."""
    first = report.position(buffer)
    return range(first, first + buffer.bytes)


def place_text(buffer: BufferReport) -> str:
    """First and last-but-one byte of a buffer in its arena, behind the name of the bank where there are several."""
    return f"{buffer.bank + ' ' if buffer.bank else ''}{buffer.offset:,} to {buffer.end:,}"


def shared_bytes(report: MemoryReport, step: int) -> list[SharedBytes]:
    """Ranges that two buffers both have in `step`."""
    spans = [span(report, buffer) for buffer in report.buffers]
    live = [number for number, buffer in enumerate(report.buffers) if buffer.live_in(step)]
    ranges = []
    for position, one in enumerate(live):
        for other in live[:position]:
            first = max(spans[one].start, spans[other].start)
            end = min(spans[one].stop, spans[other].stop)
            if first < end:
                ranges.append(SharedBytes(step, one, other, first, end))
    return ranges


def map_row(report: MemoryReport, step: int, columns: int, letters: Sequence[str]) -> str:
    """The arena in `step` as `columns` characters, offset 0 on the left."""
    arena = max(report.ram.arena_bytes, 1)
    row = [FREE] * columns
    for number, buffer in enumerate(report.buffers):
        if buffer.live_in(step):
            place = span(report, buffer)
            for column in _columns(place.start, place.stop, arena, columns):
                row[column] = letters[number] if row[column] == FREE else row[column]
    for shared in shared_bytes(report, step):
        for column in _columns(shared.first, shared.end, arena, columns):
            row[column] = SHARED
    return "".join(row)


def _columns(first: int, end: int, arena: int, columns: int) -> range:
    begin = first * columns // arena
    return range(begin, min(max(-(-end * columns // arena), begin + 1), columns))
