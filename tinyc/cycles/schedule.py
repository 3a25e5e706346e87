"""List scheduling: another order of straight code that does the same in fewer cycles of a core that issues in order.

The classical algorithm (Muchnick, Advanced Compiler Design and Implementation, 17.1): of the instructions that depend on nothing
unscheduled, the one that can be issued first goes next, and of several the one from which the longest chain of results leads to the end.
Registers keep their names, so an instruction that overwrites one waits for all that read its old value: no order needs more registers than
the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from tinyc.cycles.cortex_m7 import CortexM7, Pipeline
from tinyc.cycles.instruction import Instruction, Kind

_STORES = (Kind.STORE, Kind.STORE_MULTIPLE)
_ACCESSES = (Kind.LOAD, Kind.LOAD_MULTIPLE, *_STORES)
_BARRIERS = (Kind.SYSTEM, Kind.CONDITION)


def dependences(instructions: Sequence[Instruction]) -> list[frozenset[int]]:
    """For each of `instructions`, straight code, the earlier ones that it must stay behind (their numbers).

    Through registers: those that write what it reads or writes, and those that read what it writes. Through memory: stores keep their order
    among all accesses, loads only among stores. Raises ValueError for jumps and for what has effects beyond registers and memory.
    """
    found: list[frozenset[int]] = []
    writers: dict[str, int] = {}
    readers: dict[str, list[int]] = {}
    last_store: int | None = None
    loads: list[int] = []
    for number, instruction in enumerate(instructions):
        if instruction.is_jump or instruction.kind in _BARRIERS or instruction.conditional:
            raise ValueError(f"only straight code can be scheduled, not {instruction}")
        written = instruction.writes | instruction.base_writes
        before = {writers[register] for register in instruction.all_reads | written if register in writers}
        before.update(reader for register in written for reader in readers.get(register, ()))
        if instruction.kind in _ACCESSES and last_store is not None:
            before.add(last_store)
        if instruction.kind in _STORES:
            before.update(loads)
            last_store, loads = number, []
        elif instruction.kind in _ACCESSES:
            loads.append(number)
        for register in instruction.all_reads:
            readers.setdefault(register, []).append(number)
        for register in written:
            writers[register], readers[register] = number, []
        found.append(frozenset(before - {number}))
    return found


@lru_cache(maxsize=1024)
def schedule(instructions: tuple[Instruction, ...], model: CortexM7, repeats: bool = False) -> tuple[int, ...]:
    """The numbers of `instructions`, straight code, in an order that does the same and takes no more cycles.

    Cycles are those of one run that starts with everything ready; with `repeats`, of one run behind another, as in a loop. Raises
    ValueError for what `dependences` refuses.
    """
    before = dependences(instructions)
    reach = _distances_to_end(instructions, before, model)
    is_mac = [instruction.kind is Kind.MAC for instruction in instructions]
    ranks: list[Callable[[int], tuple[int, ...]]] = [
        # A multiplication last, where it makes no difference: whoever writes results in order (llvm-mca) likes slow ones younger.
        lambda number: (is_mac[number], -reach[number], number),
        lambda number: (-reach[number], number),
        lambda number: (number,),
    ]
    orders = [tuple(range(len(instructions))), *(_listed(instructions, before, rank, model) for rank in ranks)]

    def cycles(order: Sequence[int]) -> int:
        block = [instructions[number] for number in order]
        return model.following_cycles(block, block, jumped=True) if repeats else model.straight_cycles(block)

    return min(orders, key=cycles)


def _distances_to_end(instructions: Sequence[Instruction], before: Sequence[frozenset[int]], model: CortexM7) -> list[int]:
    """For each instruction the cycles of the longest chain of results that begins with it."""
    reach = [1] * len(instructions)
    for number in reversed(range(len(instructions))):
        for earlier in before[number]:
            maker = instructions[earlier]
            makes = (maker.writes | maker.base_writes) & instructions[number].all_reads
            latency = model.result_latency(maker, instructions[number]) if makes else 0
            reach[earlier] = max(reach[earlier], latency + reach[number])
    return reach


def _listed(
    instructions: Sequence[Instruction], before: Sequence[frozenset[int]], rank: Callable[[int], tuple[int, ...]], model: CortexM7
) -> tuple[int, ...]:
    """The order in which each next instruction is the one that can be issued first; of several, the one with the least `rank`."""
    waits = [len(earlier) for earlier in before]
    behind: list[list[int]] = [[] for _ in instructions]
    for number, earlier in enumerate(before):
        for one in earlier:
            behind[one].append(number)
    candidates = {number for number, count in enumerate(waits) if count == 0}
    pipeline = Pipeline()
    order: list[int] = []
    while candidates:
        chosen = min(candidates, key=lambda number: (model.next_cycle(pipeline, instructions[number]), rank(number)))
        model.issue(pipeline, instructions[chosen])
        candidates.remove(chosen)
        order.append(chosen)
        for number in behind[chosen]:
            waits[number] -= 1
            if waits[number] == 0:
                candidates.add(number)
    return tuple(order)
