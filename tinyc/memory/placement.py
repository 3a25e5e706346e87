"""Offsets for buffers in one arena: first fit under several orders, where some pairs may overlap by a proved distance."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations


@dataclass(frozen=True)
class Buffer:
    """`size` bytes, needed from step `first` to step `last` inclusive, at a multiple of `alignment`."""

    size: int
    first: int
    last: int
    alignment: int = 4


@dataclass(frozen=True)
class Overlap:
    """Although both are live in one step, `result` may start `gap` bytes or more before `source` (buffer indices) and run into it.

    With `backwards` it may end `gap` bytes or more after `source`. With `coinciding` it may also start exactly where `source` does.
    """

    result: int
    source: int
    gap: int
    backwards: bool = False
    coinciding: bool = False


@dataclass(frozen=True)
class Placement:
    """Offset of each buffer, and the bytes of arena that they need."""

    offsets: tuple[int, ...]
    arena_bytes: int


def lower_bound(buffers: Sequence[Buffer], step_bounds: Sequence[int] | None = None) -> int:
    """Most bytes live in one step: no placement needs fewer. `step_bounds`, where given, replaces a step's sum (overlapping buffers)."""
    steps = max((buffer.last for buffer in buffers), default=-1) + 1
    sums = [sum(buffer.size for buffer in buffers if buffer.first <= step <= buffer.last) for step in range(steps)]
    if step_bounds is not None:
        sums = [min(total, bound) for total, bound in zip(sums, step_bounds, strict=True)]
    return max(sums, default=0)


def align_up(value: int, alignment: int) -> int:
    """The least multiple of `alignment` not below `value`."""
    return -(-value // alignment) * alignment


_ORDERS: tuple[Callable[[int, Buffer], tuple[int, ...]], ...] = (
    lambda index, buffer: (-buffer.size, buffer.first),
    lambda index, buffer: (-buffer.size * (buffer.last - buffer.first + 1), index),
    lambda index, buffer: (-(buffer.last - buffer.first), -buffer.size),
    lambda index, buffer: (buffer.first, -buffer.size),
    lambda index, buffer: (-buffer.last, -buffer.size),
)


MOST_BUFFERS = 6
"""So many buffers are placed in every order."""


def place(buffers: Sequence[Buffer], overlaps: Sequence[Overlap], bound: int = 0, attempts: int = 3000) -> Placement:
    """The best placement of five greedy orders and, while it is above `bound`, of `attempts` perturbed ones (fixed seed), or of all orders
    where there are fewer.

    Each order is placed by first fit at the lowest allowed offset.
    """
    return _placed(tuple(buffers), tuple(overlaps), bound, attempts)


@lru_cache(maxsize=256)
def _placed(buffers: tuple[Buffer, ...], overlaps: tuple[Overlap, ...], bound: int, attempts: int) -> Placement:
    """`place`; schedules of one network that are tried one after the other often have the same buffers."""
    fitter = _FirstFit(buffers, forbidden_differences(buffers, overlaps))
    indices = range(len(buffers))
    best: Placement | None = None
    base: list[int] = []
    for key in _ORDERS:
        order = sorted(indices, key=lambda index, key=key: key(index, buffers[index]))  # type: ignore[misc]
        found = fitter.placement(order)
        assert found is not None
        if best is None or found.arena_bytes < best.arena_bytes:
            best, base = found, order
    assert best is not None
    if len(buffers) <= MOST_BUFFERS:
        for every in permutations(indices):
            if best.arena_bytes <= bound:
                break
            best = fitter.placement(every, best.arena_bytes - 1) or best
        return best
    generator = random.Random(0)
    tried: dict[tuple[int, ...], Placement | None] = {}
    for _ in range(attempts):
        if best.arena_bytes <= bound:
            break
        order = list(base)
        # Moving one buffer to another place in the order is the smallest change that alters what first fit sees.
        source = generator.randrange(len(order))
        moved = order.pop(source)
        destination = generator.randrange(len(order) + 1)
        order.insert(destination, moved)
        # What was too large before is so still: the best only becomes smaller.
        if (known := tuple(order)) not in tried:
            same = base[: min(source, destination)]
            tried[known] = fitter.placement(order, best.arena_bytes, {index: best.offsets[index] for index in same})
        again = tried[known]
        if again is not None and again.arena_bytes <= best.arena_bytes:
            best, base = again, order
    return best


Forbidden = list[tuple[int, int, int]]


def forbidden_differences(buffers: Sequence[Buffer], overlaps: Sequence[Overlap]) -> list[Forbidden]:
    """For each buffer i: other buffers j, each with an open interval of offset(i) - offset(j) that is not allowed, or with two."""
    allowed = {(overlap.result, overlap.source): overlap for overlap in overlaps}
    pairs: list[Forbidden] = [[] for _ in buffers]
    for i, first in enumerate(buffers):
        for j in range(i):
            second = buffers[j]
            if first.first > second.last or second.first > first.last:
                continue
            low, high = -first.size, second.size
            if (i, j) in allowed:
                low, high = _narrowed(low, high, allowed[i, j], first.size, second.size)
            if (j, i) in allowed:
                least, most = _narrowed(-high, -low, allowed[j, i], second.size, first.size)
                low, high = -most, -least
            coinciding = any(allowed[pair].coinciding for pair in ((i, j), (j, i)) if pair in allowed)
            for least, most in ((low, 0), (0, high)) if coinciding and low < 0 < high else ((low, high),):
                if least < most:
                    pairs[i].append((j, least, most))
                    pairs[j].append((i, -most, -least))
    return pairs


def _narrowed(low: int, high: int, overlap: Overlap, result: int, source: int) -> tuple[int, int]:
    """What `overlap` leaves forbidden of the differences between `low` and `high` of offset(result) - offset(source); sizes in bytes."""
    if overlap.backwards:
        # offset(result) + result >= offset(source) + source + gap is allowed.
        return low, min(high, source - result + overlap.gap)
    # offset(result) <= offset(source) - gap is allowed.
    return max(low, -overlap.gap), high


def first_fit_offset(buffer: Buffer, forbidden: Forbidden, offsets: Mapping[int, int]) -> int:
    """The lowest offset for `buffer` beside others that lie at `offsets`; `forbidden` is its entry of forbidden_differences."""
    blocked = sorted((offsets[other] + low, offsets[other] + high) for other, low, high in forbidden if other in offsets)
    offset = 0
    for low, high in blocked:
        if low < offset < high:
            offset = align_up(high, buffer.alignment)
    return offset


_NOTHING: Mapping[int, int] = {}


class _FirstFit:
    """Places buffers in a given order, each at the lowest offset that those before it leave."""

    def __init__(self, buffers: Sequence[Buffer], pairs: Sequence[Forbidden]) -> None:
        self._pairs = pairs
        self._sizes = [buffer.size for buffer in buffers]
        self._alignments = [buffer.alignment for buffer in buffers]

    def placement(self, order: Sequence[int], most: int | None = None, known: Mapping[int, int] = _NOTHING) -> Placement | None:
        """The placement in `order`; None as soon as it is seen to need more than `most` bytes. `known` are offsets of the first buffers."""
        offsets = [-1] * len(self._sizes)
        arena = 0
        for index, offset in known.items():
            offsets[index] = offset
            arena = max(arena, offset + self._sizes[index])
        for index in order[len(known) :]:
            offset, alignment = 0, self._alignments[index]
            blocked = []
            for other, low, high in self._pairs[index]:
                if (there := offsets[other]) >= 0:
                    blocked.append((there + low, there + high))
            blocked.sort()
            for low, high in blocked:
                if low >= offset:
                    break
                if offset < high:
                    offset = -(-high // alignment) * alignment
            offsets[index] = offset
            if offset + self._sizes[index] > arena:
                arena = offset + self._sizes[index]
                if most is not None and arena > most:
                    return None
        return Placement(tuple(offsets), arena)
