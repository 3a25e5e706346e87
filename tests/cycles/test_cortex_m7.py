"""Cortex-M7: in which cycle each instruction of a straight block is issued, written by hand from the rules of docs/profile.md."""

from __future__ import annotations

import pytest

from support.assembly import assemble
from tinyc.cycles import CortexM7

MODEL = CortexM7()


@pytest.mark.parametrize(
    ("text", "issued"),
    [
        # Two plain operations a cycle, unless one needs the other.
        ("add r0, r1, r2\nadd r3, r4, r5\nadd r6, r7, r8", [0, 0, 1]),
        ("add r0, r1, r2\nadd r3, r0, r5", [0, 1]),
        # One of each unit.
        ("smlad r0, r1, r2, r0\nsmlad r3, r4, r5, r3", [0, 1]),
        ("add r0, r1, r2, lsl #1\nadd r3, r4, r5, lsl #1", [0, 1]),
        ("sxtb16 r0, r1\nsxtb16 r2, r3", [0, 1]),
        ("str r0, [r1]\nstr r2, [r1, #4]", [0, 1]),
        # DSP operations only as the older of a pair.
        ("sxtb16 r0, r1\nadd r2, r3, r4", [0, 0]),
        ("add r2, r3, r4\nsxtb16 r0, r1", [0, 1]),
        # Saturation and packing take the shifter too.
        ("ssat r0, #8, r1, asr #3\nadd r2, r3, r4", [0, 0]),
        ("ssat r0, #8, r1, asr #3\nadd r2, r3, r4, lsl #1", [0, 1]),
        ("pkhbt r0, r1, r2, lsl #16\nlsl r3, r4, #2", [0, 1]),
        ("sxtb16 r0, r1\nadd r2, r3, r4, lsl #1", [0, 0]),
        # A multiplication beside a load or an ALU operation, never beside a store.
        ("smlad r0, r1, r2, r0\nldr r3, [r4]", [0, 0]),
        ("smlad r0, r1, r2, r0\nadd r3, r4, r5", [0, 0]),
        ("smlad r0, r1, r2, r0\nstr r3, [r4]", [0, 1]),
        # Two loads only from banks that are known to differ.
        ("ldr r0, [r1]\nldr r2, [r1, #4]", [0, 0]),
        ("ldr r0, [r1]\nldr r2, [r1, #8]", [0, 1]),
        ("ldr r0, [r1]\nldr r2, [r3, #4]", [0, 1]),
        ("ldr r0, [r1], #4\nldr r2, [r3]", [0, 1]),
        # From a load: to an ALU the next cycle, to the multiplier, the shifter and an address one later; bytes are one slower.
        ("ldr r0, [r1]\nadd r2, r0, r3", [0, 1]),
        ("ldr r0, [r1]\nsmlad r2, r0, r3, r2", [0, 2]),
        ("ldr r0, [r1]\nadd r2, r3, r0, lsl #2", [0, 2]),
        ("ldr r0, [r1]\nldr r2, [r0]", [0, 2]),
        ("ldrb r0, [r1]\nadd r2, r0, r3", [0, 2]),
        # Addresses are needed a stage earlier than the ALU gives them; an updated base is there at once.
        ("add r0, r1, r2\nldr r3, [r0]", [0, 2]),
        ("ldr r3, [r0], #4\nldr r4, [r0]", [0, 1]),
        # Stored data are needed late: the store goes with the operation that makes them.
        ("add r0, r1, r2\nstr r0, [r3]", [0, 0]),
        # Results of a multiplication take two cycles; as an accumulator, one.
        ("smlad r0, r1, r2, r0\nadd r3, r0, r4", [0, 2]),
        ("smlad r0, r1, r2, r0\nsmlad r0, r3, r4, r0", [0, 1]),
        ("smlad r0, r1, r2, r0\nsmlad r3, r0, r4, r3", [0, 2]),
        # Saturation takes a shifted operand, early, and two cycles.
        ("smmla r0, r1, r2, r3\nssat r0, #8, r0, asr #3\nstrb r0, [r4]", [0, 3, 4]),
        # Multiple transfers go alone, two words a cycle.
        ("ldrd r0, r1, [r2]\nadd r3, r4, r5\nadd r6, r7, r8", [0, 1, 1]),
        ("ldmia.w r0!, {r1, r2, r3, r4, r5}\nadd r6, r7, r8", [0, 3]),
        ("add r6, r7, r8\nstrd r0, r1, [r2]", [0, 1]),
        # A branch is issued beside what it follows, also a comparison; nothing beside an unconditional one.
        ("cmp r0, r1\nbne.n 0", [0, 0]),
        # Division blocks the core.
        ("sdiv r0, r1, r2\nadd r3, r4, r5", [0, 7]),
        # Floating point: three cycles to a result.
        ("vmul.f32 s0, s1, s2\nvadd.f32 s3, s0, s4", [0, 3]),
        ("vmul.f32 s0, s1, s2\nadd r0, r1, r2", [0, 0]),
    ],
)
def test_straight_code(text: str, issued: list[int]) -> None:
    assert MODEL.issue_cycles(assemble(text)) == issued


def test_the_two_rules_that_llvm_does_not_have_can_be_switched_off() -> None:
    lenient = CortexM7(load_to_mac_cycles=0, store_beside_mac=True)
    assert lenient.issue_cycles(assemble("ldr r0, [r1]\nsmlad r2, r0, r3, r2\nstr r4, [r5]")) == [0, 1, 1]


def test_a_block_is_priced_behind_the_one_before_it() -> None:
    load, use = assemble("ldr r0, [r1]"), assemble("smlad r2, r0, r3, r2")
    assert MODEL.straight_cycles(use) == 1
    assert MODEL.following_cycles(load, use, jumped=False) == 2
    add, other = assemble("add r0, r1, r2"), assemble("add r3, r4, r5")
    assert MODEL.following_cycles(add, other, jumped=False) == 0
    assert MODEL.following_cycles(add, other, jumped=True) == 1


def test_the_predictor_is_wrong_about_the_rarer_direction() -> None:
    loop, leave = assemble("bne.n 0\nbx lr")
    assert MODEL.jump_cycles(loop, taken=9, not_taken=1) == MODEL.mispredict_cycles
    assert MODEL.jump_cycles(loop, taken=1, not_taken=9) == MODEL.mispredict_cycles
    assert MODEL.jump_cycles(leave, taken=4, not_taken=0) == 4 * MODEL.return_cycles
