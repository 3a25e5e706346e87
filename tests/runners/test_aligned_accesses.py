"""Instructions that need alignment are found by their encodings, which an assembler made, in every position and none other is."""

from __future__ import annotations

import pytest

from tinyc.runners.aligned_accesses import Instruction, instructions

# Bytes as they lie in memory, what an assembler read, and the base register that must be aligned.
ENCODINGS = [
    ("06cb", "ldmia r3!, {r1, r2}", 3),
    ("03c5", "stmia r5!, {r0, r1}", 5),
    ("01b5", "push {r0, lr}", None),
    ("01bd", "pop {r0, pc}", None),
    ("9ae80602", "ldmia.w sl, {r1, r2, r9}", 10),
    ("34e90202", "ldmdb r4!, {r1, r9}", 4),
    ("86e80202", "stmia.w r6, {r1, r9}", 6),
    ("27e90202", "stmdb r7!, {r1, r9}", 7),
    ("2de9f00f", "stmdb sp!, {r4, r5, r6, r7, r8, r9, sl, fp}", None),
    ("d2e90201", "ldrd r0, r1, [r2, #8]", 2),
    ("7ce80201", "ldrd r0, r1, [ip], #-8", 12),
    ("7ee90401", "ldrd r0, r1, [lr, #-16]!", 14),
    ("c8e90001", "strd r0, r1, [r8]", 8),
    ("cde90201", "strd r0, r1, [sp, #8]", None),
    ("dfe90201", "ldrd r0, r1, [pc, #8]", None),
    ("51e8010f", "ldrex r0, [r1, #4]", 1),
    ("42e80010", "strex r0, r1, [r2]", 2),
    ("d1e84f0f", "ldrexb r0, [r1]", None),
    ("d1e85f0f", "ldrexh r0, [r1]", None),
    ("d0e801f0", "tbb [r0, r1]", None),
    ("d0e811f0", "tbh [r0, r1, lsl #1]", None),
    ("93ed010a", "vldr s0, [r3, #4]", 3),
    ("94ed000b", "vldr d0, [r4]", 4),
    ("dfed020a", "vldr s1, [pc, #8]", None),
    ("09ed020b", "vstr d0, [r9, #-8]", 9),
    ("b5ec040a", "vldmia r5!, {s0-s3}", 5),
    ("26ed040b", "vstmdb r6!, {d0-d1}", 6),
    ("2ded028b", "vpush {d8}", None),
    ("43ec102a", "vmov s0, s1, r2, r3", None),
    ("53ec102b", "vmov r2, r3, d0", None),
    ("00ee102a", "vmov s0, r2", None),
    ("30ee810a", "vadd.f32 s0, s1, s2", None),
    ("d1f80300", "ldr.w r0, [r1, #3]", None),
    ("b1f80100", "ldrh.w r0, [r1, #1]", None),
    ("41f80200", "str.w r0, [r1, r2]", None),
    ("21fb0230", "smlad r0, r1, r2, r3", None),
    ("fff7baff", "bl 0 <f>", None),
    ("abbe", "bkpt 0x00ab", None),
    ("01be", "bkpt 0x0001", None),
]


@pytest.mark.parametrize(("code", "text", "base"), ENCODINGS, ids=[text for _, text, _ in ENCODINGS])
def test_the_base_register_is_found_where_alignment_is_needed(code: str, text: str, base: int | None) -> None:
    assert [found.base for found in instructions(bytes.fromhex(code))] == [base]


def test_instructions_of_both_lengths_are_kept_apart() -> None:
    whole = bytes.fromhex("".join(code for code, _, _ in ENCODINGS))
    found = list(instructions(whole))
    assert [instruction.base for instruction in found] == [base for _, _, base in ENCODINGS]
    assert found[-1].offset + 2 == len(whole)


def test_only_the_breakpoint_of_semihosting_is_one() -> None:
    assert [found.semihosting for found in instructions(bytes.fromhex("abbe01be00bf"))] == [True, False, False]


def test_instructions_behind_an_it_are_counted_with_it_and_no_further() -> None:
    # ite eq; addeq; ldrdne r0, r1, [r2]; nop; itttt ge; four movge; it ne; bxne lr; nop
    found = list(instructions(bytes.fromhex("0cbf0130d2e9000100bfa1bf084608460846084618bf704700bf")))
    assert [instruction.guarded for instruction in found] == [2, 0, 0, 0, 4, 0, 0, 0, 0, 1, 0, 0]
    assert [instruction.conditional for instruction in found] == [False, True, True, False, False, *[True] * 4, False, True, False]
    assert found[2] == Instruction(4, 2, 0, True, False)


def test_code_that_ends_inside_an_instruction_ends_before_it() -> None:
    assert [found.offset for found in instructions(bytes.fromhex("00bfd2e9"))] == [0]
