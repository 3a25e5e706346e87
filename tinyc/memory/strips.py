"""A stream in vertical strips: which columns of every tensor each strip computes, and which it reads.

The columns of the stream's result are divided; the stream runs once for each part, with rings as narrow as that part and what the windows
of its calls see beside it. Columns near a border between two parts are computed for both (patches: MCUNetV2, Lin et al., NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinyc.memory.row_access import RowAccess

Range = tuple[int, int]
"""Columns [first, end)."""


@dataclass(frozen=True)
class Across:
    """How a call goes over columns: how many its output has, and per input how many there are and which of them an output column reads.

    An input of None is read whole for every column, such as factors of channels.
    """

    columns: int
    inputs: tuple[tuple[int, RowAccess] | None, ...]


@dataclass(frozen=True)
class StripCall:
    """A call of a stream by the numbers of the buffers that it reads and writes."""

    inputs: tuple[int, ...]
    output: int
    across: Across


@dataclass(frozen=True)
class Strip:
    """Columns that one strip computes, by buffer, and per call those that it reads of each input; None is all of it."""

    computed: Mapping[int, Range]
    read: tuple[tuple[Range | None, ...], ...]


def cut_strips(calls: Sequence[StripCall], parts: int) -> tuple[Strip, ...] | None:
    """The stream of `calls`, in topological order, in `parts` strips of its last call's columns; None where some strip would be empty.

    A strip computes of each inner tensor the columns between the first and the last that its readers want.
    """
    columns = calls[-1].across.columns
    if not 1 <= parts <= columns:
        return None
    strips = []
    for part in range(parts):
        strip = _strip(calls, (columns * part // parts, columns * (part + 1) // parts))
        if strip is None:
            return None
        strips.append(strip)
    return tuple(strips)


def _strip(calls: Sequence[StripCall], last: Range) -> Strip | None:
    inner = {call.output for call in calls}
    computed = {calls[-1].output: last}
    read: list[tuple[Range | None, ...]] = []
    for call in reversed(calls):
        wanted = computed[call.output]
        ranges = tuple(None if entry is None else _read(*entry, wanted) for entry in call.across.inputs)
        for buffer, columns in zip(call.inputs, ranges, strict=True):
            if columns is None:
                if buffer in inner:
                    return None
                continue
            if columns[0] >= columns[1]:
                return None
            known = computed.get(buffer, columns)
            computed[buffer] = min(known[0], columns[0]), max(known[1], columns[1])
        read.append(ranges)
    return Strip({buffer: columns for buffer, columns in computed.items() if buffer in inner}, tuple(reversed(read)))


def _read(columns: int, access: RowAccess, wanted: Range) -> Range:
    return max(0, access.first(wanted[0])), min(columns, access.end(wanted[1] - 1))


def computed_again(strips: Sequence[Strip], buffer: int) -> tuple[int, ...]:
    """Per strip, how many of its columns of `buffer` an earlier strip has computed."""
    again, end = [], 0
    for strip in strips:
        first, own_end = strip.computed[buffer]
        again.append(max(0, min(end, own_end) - first) if end else 0)
        end = max(end, own_end)
    return tuple(again)
