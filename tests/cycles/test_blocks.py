"""From counts to cycles: where blocks end, and what each costs behind the block before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from support.assembly import assemble
from tinyc.cycles import CortexM4, CortexM7, Executed, block_costs, split_blocks

LOOP = """
mov r0, r1
ldr r2, [r3], #4
smlad r0, r2, r4, r0
subs r5, #1
bne.n 4
bx lr
"""
COUNTS = [1, 10, 10, 10, 10, 1]
JUMPS = [0, 0, 0, 0, 9, 1]


def executed(text: str, counts: Sequence[Sequence[int]], jumps: Sequence[Sequence[int]]) -> Executed:
    return Executed(tuple(assemble(text)), np.array(counts, dtype=np.uint64), np.array(jumps, dtype=np.uint64))


def bounds(work: Executed) -> list[tuple[int, int]]:
    return [(block.begin, block.end) for block in split_blocks(work.instructions, work.counts, work.jumps)]


def test_blocks_end_at_jumps_and_at_their_targets() -> None:
    assert bounds(executed(LOOP, [COUNTS], [JUMPS])) == [(0, 1), (1, 5), (5, 6)]


def test_blocks_end_where_a_jump_that_the_code_does_not_name_arrives() -> None:
    text = "add r0, r0, r1\nadd r0, r0, r2\nadd r0, r0, r3"
    assert bounds(executed(text, [[2, 2, 5]], [[0, 0, 0]])) == [(0, 2), (2, 3)]


def test_what_never_ran_is_no_block() -> None:
    assert bounds(executed("b.n 8\nadd r0, r0, r1\nadd r2, r2, r3", [[1, 0, 1]], [[1, 0, 0]])) == [(0, 1), (2, 3)]


def test_a_loop_costs_its_steady_state() -> None:
    costs = block_costs(executed(LOOP, [COUNTS], [JUMPS]), CortexM7())
    # ldr | (wait) | smlad + subs | bne; the first round's load goes beside the mov before it, later ones behind a jump, which ends a pair.
    body = CortexM7().following_cycles(assemble(LOOP)[1:5], assemble(LOOP)[1:5], jumped=True)
    first = CortexM7().following_cycles(assemble(LOOP)[:1], assemble(LOOP)[1:5], jumped=False)
    assert (body, first) == (4, 3)
    assert [int(cost.cycles[0]) for cost in costs] == [1, 9 * body + first, 1]
    assert [int(cost.jump_cycles[0]) for cost in costs] == [0, CortexM7().mispredict_cycles, CortexM7().return_cycles]


def test_cycles_of_cortex_m4_follow_its_table() -> None:
    costs = block_costs(executed(LOOP, [COUNTS], [JUMPS]), CortexM4())
    assert sum(int(cost.cycles[0]) for cost in costs) == 1 + 10 * (2 + 1 + 1 + 1) + 1
    assert sum(int(cost.jump_cycles[0]) for cost in costs) == 10 * CortexM4().refill_cycles


def test_each_owner_pays_for_its_own_executions() -> None:
    work = executed(LOOP, [COUNTS, [0] * 6, [2 * count for count in COUNTS]], [JUMPS, [0] * 6, [2 * jumps for jumps in JUMPS]])
    cycles = sum(cost.cycles + cost.jump_cycles for cost in block_costs(work, CortexM7()))
    assert cycles[1] == 0
    assert cycles[2] == 2 * cycles[0] > 0
