"""Cortex-M4: expectations written by hand from Arm's table of cycles."""

from __future__ import annotations

import pytest

from support.assembly import assemble
from tinyc.cycles import CortexM4

MODEL = CortexM4()


@pytest.mark.parametrize(
    ("text", "cycles"),
    [
        ("add r0, r1, r2\nsmlad r3, r4, r5, r3\nsxtb16 r6, r7", 3),
        ("ldr r0, [r1]", 2),
        ("ldr r0, [r1]\nldr r2, [r1, #4]\nldr r3, [r1, #8]", 4),
        ("ldr r0, [r1]\nldr r2, [r0]", 4),
        ("ldr r0, [r1]\nstr r0, [r2]", 3),
        ("str r0, [r1]\nldr r2, [r1, #4]", 3),
        ("str r0, [r1, r2]", 2),
        ("add r1, r1, #4\nldr r0, [r1]", 4),
        ("ldr r0, [r1], #4\nldr r2, [r1]", 4),
        ("ldrd r0, r1, [r2]", 3),
        ("ldmia.w r0!, {r1, r2, r3, r4}", 5),
        ("stmdb sp!, {r4, r5, lr}", 4),
        ("smull r0, r1, r2, r3", 1),
        ("vmul.f32 s0, s1, s2\nvadd.f32 s3, s4, s5", 2),
        ("vmul.f32 s0, s1, s2\nvadd.f32 s3, s0, s5", 3),
        ("vmla.f32 s0, s1, s2", 3),
        ("vdiv.f32 s0, s1, s2", 14),
        ("vmov r0, r1, d7", 2),
    ],
)
def test_straight_code(text: str, cycles: int) -> None:
    assert MODEL.straight_cycles(assemble(text)) == cycles


def test_a_jump_costs_a_refill_and_a_branch_that_falls_through_none() -> None:
    loop, table = assemble("bne.n 0\ntbb [pc, r3]")
    assert MODEL.jump_cycles(loop, taken=9, not_taken=1) == 9 * MODEL.refill_cycles
    assert MODEL.jump_cycles(table, taken=2, not_taken=0) == 2 * (MODEL.refill_cycles + 1)


def test_loads_are_pipelined_across_a_block_that_falls_through_and_not_across_a_jump() -> None:
    before, after = assemble("ldr r0, [r1]"), assemble("ldr r2, [r1, #4]")
    assert MODEL.following_cycles(before, after, jumped=False) == 1
    assert MODEL.following_cycles(before, after, jumped=True) == 2
