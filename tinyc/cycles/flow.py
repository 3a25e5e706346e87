"""Basic blocks of a program whose executions were counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyc.cycles.instruction import Instruction

Counts = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Block:
    """Instructions `begin` to `end` (not with it) of a list: execution enters at the first and leaves behind the last."""

    begin: int
    end: int


def split_blocks(instructions: Sequence[Instruction], counts: Counts, jumps: Counts) -> list[Block]:
    """The blocks of `instructions` (in the order of addresses), of which one was executed at least once.

    `counts` and `jumps` have the shape (owners, instructions). A block ends behind a jump, before the target of one, where addresses leave
    a gap, and where executions differ for any owner, as they do at targets of jumps that the code does not name.
    """
    targets = {instruction.target for instruction in instructions if instruction.target is not None}
    executed = np.any(counts, axis=0)
    same = np.ones(len(instructions), dtype=bool)
    same[1:] = np.all(counts[:, 1:] == counts[:, :-1], axis=0)
    blocks: list[Block] = []
    begin = 0
    for index in range(1, len(instructions) + 1):
        before = instructions[index - 1]
        ends = index == len(instructions)
        if not ends:
            here = instructions[index]
            ends = before.is_jump or here.address in targets or here.address != before.address + before.bytes or not same[index]
        if ends:
            if executed[begin]:
                blocks.append(Block(begin, index))
            begin = index
    return blocks
