"""Cycles of a whole program: each block is priced behind each block that execution came from, as often as it came from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tinyc.cycles.flow import Block, Counts, split_blocks
from tinyc.cycles.instruction import Instruction, Kind


class CoreModel(Protocol):
    """What a core's model answers."""

    @property
    def name(self) -> str:
        """The core's."""
        ...

    def straight_cycles(self, instructions: Sequence[Instruction]) -> int:
        """Cycles of straight code that starts with everything ready."""
        ...

    def following_cycles(self, before: Sequence[Instruction], instructions: Sequence[Instruction], jumped: bool) -> int:
        """Cycles that `instructions` add behind `before`, to which execution `jumped` or fell through."""
        ...

    def jump_cycles(self, jump: Instruction, taken: int, not_taken: int) -> int:
        """Cycles that a jump adds, for that many executions that jump and that do not."""
        ...


@dataclass(frozen=True)
class Executed:
    """Instructions in the order of their addresses, and for each owner how often each was executed and jumped: (owners, instructions)."""

    instructions: tuple[Instruction, ...]
    counts: Counts
    jumps: Counts


@dataclass(frozen=True)
class BlockCost:
    """What one block takes: (owners,) cycles inside blocks and cycles of the jump at its end."""

    block: Block
    cycles: npt.NDArray[np.int64]
    jump_cycles: npt.NDArray[np.int64]


def block_costs(executed: Executed, model: CoreModel) -> list[BlockCost]:
    """All blocks that were executed, with their cycles for each owner."""
    instructions = executed.instructions
    blocks = split_blocks(instructions, executed.counts, executed.jumps)
    arrivals = _arrivals(executed, blocks)
    costs = []
    for block in blocks:
        own = instructions[block.begin : block.end]
        counts = executed.counts[:, block.begin].astype(np.int64)
        cycles = np.zeros_like(counts)
        left = counts.copy()
        for before, jumped, often in arrivals.get(block.begin, ()):
            known = np.minimum(often, left)
            if known.any():
                cycles += known * model.following_cycles(instructions[before.begin : before.end], own, jumped)
                left -= known
        if left.any():
            cycles += left * model.straight_cycles(own)
        costs.append(BlockCost(block, cycles, _jump_cycles(executed, block, model)))
    return costs


def _arrivals(executed: Executed, blocks: Sequence[Block]) -> dict[int, list[tuple[Block, bool, npt.NDArray[np.int64]]]]:
    """By first instruction of a block: the blocks that lead there, whether by a jump, and how often for each owner.

    Calls, returns and jumps through tables lead to places that the code does not name: those arrivals are left out.
    """
    instructions = executed.instructions
    starts = {instructions[block.begin].address: block.begin for block in blocks}
    found: dict[int, list[tuple[Block, bool, npt.NDArray[np.int64]]]] = {}
    for block in blocks:
        last = instructions[block.end - 1]
        count = executed.counts[:, block.end - 1].astype(np.int64)
        taken = executed.jumps[:, block.end - 1].astype(np.int64) if last.is_jump else np.zeros_like(count)
        behind = starts.get(last.address + last.bytes)
        if behind is not None and last.kind is not Kind.CALL:
            found.setdefault(behind, []).append((block, False, count - taken))
        if last.kind is Kind.BRANCH and last.target in starts:
            found.setdefault(starts[last.target], []).append((block, True, taken))
    for arrivals in found.values():
        arrivals.sort(key=lambda entry: -int(entry[2].sum()))
    return found


def _jump_cycles(executed: Executed, block: Block, model: CoreModel) -> npt.NDArray[np.int64]:
    last = executed.instructions[block.end - 1]
    cycles = np.zeros(len(executed.counts), dtype=np.int64)
    if not last.is_jump:
        return cycles
    for owner in np.flatnonzero(executed.counts[:, block.end - 1]):
        taken = int(executed.jumps[owner, block.end - 1])
        not_taken = int(executed.counts[owner, block.end - 1]) - taken
        cycles[owner] = model.jump_cycles(last, taken, not_taken)
    return cycles
