"""Which buffer lies in which bank of RAM: a knapsack with lifetimes. The first bank is the fastest: what is accessed most belongs there.

A bank is full only while its buffers live. Buffers are offered to it one after the other, the most accesses a byte first, and taken as
long as the sizes of those that live at a time leave room; a placement (memory.placement) then says whether they really fit, and gaps
that it leaves are offered to the rest. Other orders, and orders in which a single buffer comes first, are tried as well. Two
buffers share bytes only within one bank: where the gain in speed is worth it, a result lies apart from the input that it could be
written over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tinyc.memory.placement import Buffer, Forbidden, Overlap, align_up, first_fit_offset, forbidden_differences, place

_ALIGNMENT = 4
"""Arenas are multiples of so many bytes."""
_TRIAL_ATTEMPTS, _FINAL_ATTEMPTS, _SINGLE_ATTEMPTS = 10, 300, 3000
"""Changed orders in which buffers are placed: to answer a question, for the answer itself, and where a single bank must hold everything."""
_MOST_FAVOURITES, _FAVOURITE_BUFFERS = 48, 4000
"""Buffers that are tried as the first of all, and how many buffers may be looked at for all of them."""


@dataclass(frozen=True)
class BankPlacement:
    """Per buffer its bank (a number, 0 is the fastest) and its offset there; per bank the bytes that its buffers need.

    Where not all buffers fit, some bank needs more than it has.
    """

    banks: tuple[int, ...]
    offsets: tuple[int, ...]
    arena_bytes: tuple[int, ...]


Cost = tuple[int, ...]
Key = Callable[[int], tuple[float, ...]]


def place_in_banks(
    buffers: Sequence[Buffer], overlaps: Sequence[Overlap], accesses: Sequence[int], capacities: Sequence[int]
) -> BankPlacement:
    """Banks and offsets for `buffers`: within the `capacities` (bytes, fastest bank first) wherever a way is found.

    `accesses` says how often each buffer is loaded from or stored to. The most accesses go to the first bank, then to the second, and
    so on. Deterministic.
    """
    search = _Search(buffers, overlaps, accesses, capacities)
    best = min((search.filled(key) for key in search.keys[:2]), key=search.cost)
    if search.cost(best)[0]:
        best = min((best, *(search.filled(key) for key in search.keys[2:])), key=search.cost)
    best = search.polished(search.improved(best))
    if search.cost(best)[0]:
        # What fits into one bank is never refused for having been spread over several.
        best = min((best, search.crowded()), key=search.cost)
    return best


@dataclass(frozen=True)
class _Search:
    buffers: Sequence[Buffer]
    overlaps: Sequence[Overlap]
    accesses: Sequence[int]
    capacities: Sequence[int]

    @cached_property
    def forbidden(self) -> Sequence[Forbidden]:
        return forbidden_differences(self.buffers, self.overlaps)

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """Orders: the densest accesses first, the most, the largest, the most bytes times steps."""
        return (
            lambda index: (-self.accesses[index] / self.buffers[index].size, index),
            lambda index: (-self.accesses[index], index),
            lambda index: (-self.buffers[index].size, index),
            lambda index: (-self.buffers[index].size * (self.buffers[index].last - self.buffers[index].first + 1), index),
        )

    def cost(self, found: BankPlacement) -> Cost:
        """Bytes too many, then accesses outside the first bank, outside the first two, and so on."""
        over = sum(max(0, size - capacity) for size, capacity in zip(found.arena_bytes, self.capacities, strict=True))
        pairs = list(zip(self.accesses, found.banks, strict=True))
        return (over, *(sum(count for count, chosen in pairs if chosen > bank) for bank in range(len(self.capacities) - 1)))

    def filled(self, key: Key) -> BankPlacement:
        """The banks filled one after the other with what comes first by `key`; what fits nowhere is put into the largest bank."""
        banks, offsets, sizes = [-1] * len(self.buffers), [0] * len(self.buffers), [0] * len(self.capacities)
        rest = sorted(range(len(self.buffers)), key=key)
        for bank, capacity in enumerate(self.capacities):
            taken = self.taken(rest, capacity)
            for index, offset in taken.items():
                banks[index], offsets[index] = bank, offset
            sizes[bank] = self.end(taken)
            rest = [index for index in rest if index not in taken]
        if rest:
            largest = max(range(len(self.capacities)), key=lambda bank: self.capacities[bank])
            crowd = self.placed([*(index for index, bank in enumerate(banks) if bank == largest), *rest], 0, _TRIAL_ATTEMPTS)
            for index, offset in crowd.items():
                banks[index], offsets[index] = largest, offset
            sizes[largest] = self.end(crowd)
        return BankPlacement(tuple(banks), tuple(offsets), tuple(sizes))

    def taken(self, candidates: Sequence[int], capacity: int) -> dict[int, int]:
        """Offsets of those of `candidates`, in their order, for which `capacity` bytes are found."""
        everything = self.placed(candidates, capacity, _TRIAL_ATTEMPTS)
        if self.end(everything) <= capacity:
            return everything
        live = [0] * (2 + max(buffer.last for buffer in self.buffers))
        chosen = []
        for index in candidates:
            buffer = self.buffers[index]
            # Step -1, in which inputs live already, is the first entry.
            steps = range(buffer.first + 1, buffer.last + 2)
            if max(live[step] for step in steps) + buffer.size <= capacity:
                for step in steps:
                    live[step] += buffer.size
                chosen.append(index)
        while True:
            offsets = self.placed(chosen, capacity, _TRIAL_ATTEMPTS)
            outside = [index for index in chosen if offsets[index] + self.buffers[index].size > capacity]
            if not outside:
                break
            # `chosen` is in the order of the candidates, so this is the least important one that does not fit.
            chosen.remove(outside[-1])
        for index in candidates:
            if index not in offsets:
                offset = first_fit_offset(self.buffers[index], self.forbidden[index], offsets)
                if offset + self.buffers[index].size <= capacity:
                    offsets[index] = offset
        return offsets

    def placed(self, members: Sequence[int], enough: int, attempts: int) -> dict[int, int]:
        """Offsets of `members`, all in one bank; a placement of `enough` bytes is not improved."""
        if not members:
            return {}
        # The placement's own order of equal buffers must not depend on the order in which they were chosen.
        members = sorted(members)
        numbers = {index: number for number, index in enumerate(members)}
        pairs = [
            replace(overlap, result=numbers[overlap.result], source=numbers[overlap.source])
            for overlap in self.overlaps
            if overlap.result in numbers and overlap.source in numbers
        ]
        found = place([self.buffers[index] for index in members], pairs, enough, attempts)
        return dict(zip(members, found.offsets, strict=True))

    def end(self, offsets: dict[int, int]) -> int:
        """Bytes up to the end of the last buffer."""
        return align_up(max((offset + self.buffers[index].size for index, offset in offsets.items()), default=0), _ALIGNMENT)

    def improved(self, found: BankPlacement) -> BankPlacement:
        """`found`, or what comes out if one of the buffers that are accessed most outside the first bank is the first to choose."""
        outside = [index for index, bank in enumerate(found.banks) if bank > 0]
        favourites = sorted(outside, key=self.keys[1])[: min(_MOST_FAVOURITES, _FAVOURITE_BUFFERS // len(self.buffers))]
        densest = self.keys[0]
        tried = [self.filled(lambda index, first=first: (index != first, *densest(index))) for first in favourites]  # type: ignore[misc]
        return min((found, *tried), key=self.cost)

    def polished(self, found: BankPlacement) -> BankPlacement:
        """`found` with each bank placed again, more thoroughly, where that makes its arena smaller."""
        offsets, sizes = list(found.offsets), list(found.arena_bytes)
        for bank, size in enumerate(sizes):
            members = [index for index, chosen in enumerate(found.banks) if chosen == bank]
            again = self.placed(members, self.bound(members), _FINAL_ATTEMPTS)
            if self.end(again) < size:
                sizes[bank] = self.end(again)
                for index, offset in again.items():
                    offsets[index] = offset
        return BankPlacement(found.banks, tuple(offsets), tuple(sizes))

    def crowded(self) -> BankPlacement:
        """All buffers in the largest bank, placed as thoroughly as in a single arena."""
        largest = max(range(len(self.capacities)), key=lambda bank: self.capacities[bank])
        everything = list(range(len(self.buffers)))
        offsets = self.placed(everything, self.capacities[largest], _SINGLE_ATTEMPTS)
        sizes = [self.end(offsets) if bank == largest else 0 for bank in range(len(self.capacities))]
        return BankPlacement((largest,) * len(everything), tuple(offsets[index] for index in everything), tuple(sizes))

    def bound(self, members: Sequence[int]) -> int:
        """A number of bytes below which `members` cannot be placed: their sum in the worst step, without what pairs could share at most."""
        together = set(members)
        shared: dict[int, int] = {}
        for overlap in self.overlaps:
            if {overlap.result, overlap.source} <= together:
                result, source = self.buffers[overlap.result], self.buffers[overlap.source]
                most = max(0, min(result.size - (0 if overlap.coinciding else max(overlap.gap, 0)), source.size))
                for step in range(max(result.first, source.first), min(result.last, source.last) + 1):
                    shared[step] = shared.get(step, 0) + most
        steps = range(-1, 1 + max((self.buffers[index].last for index in members), default=-1))
        sums = (sum(self.buffers[i].size for i in members if self.buffers[i].first <= step <= self.buffers[i].last) for step in steps)
        return max((total - shared.get(step, 0) for step, total in zip(steps, sums, strict=True)), default=0)
