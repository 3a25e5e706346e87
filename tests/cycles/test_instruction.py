"""What an instruction reads and writes, from objdump's text."""

from __future__ import annotations

import pytest

from support.assembly import assemble
from tinyc.cycles.instruction import Kind


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


@pytest.mark.parametrize(
    ("text", "kind", "reads", "writes"),
    [
        ("add.w r1, r4, r5", Kind.ALU, "r4 r5", "r1"),
        ("adds r3, #8", Kind.ALU, "r3", "r3 flags"),
        ("mov r5, sl", Kind.ALU, "r10", "r5"),
        ("cmp r2, r6", Kind.ALU, "r2 r6", "flags"),
        ("movt r0, #17", Kind.ALU, "r0", "r0"),
        ("sbc.w r0, r1, r2", Kind.ALU, "r1 r2 flags", "r0"),
        ("smlad r4, lr, r7, r9", Kind.MAC, "lr r7", "r4"),
        ("smmla r4, r4, r6, r7", Kind.MAC, "r4 r6", "r4"),
        ("muls r0, r1, r0", Kind.MAC, "r0 r1", "r0 flags"),
        ("smull r0, r1, r2, r3", Kind.MAC, "r2 r3", "r0 r1"),
        ("sxtb16 r4, r4, ror #8", Kind.SIMD, "r4", "r4"),
        ("uadd8 r1, r2, r3", Kind.SIMD, "r2 r3", "r1 flags"),
        ("sel r1, r2, r3", Kind.SIMD, "r2 r3 flags", "r1"),
        ("sdiv r0, r1, r2", Kind.DIVIDE, "r1 r2", "r0"),
        ("vmul.f32 s0, s1, s2", Kind.FLOAT, "s1 s2", "s0"),
        ("vmov s14, r3", Kind.FLOAT_MOVE, "r3", "s14"),
        ("vmov r0, r1, d7", Kind.FLOAT_MOVE, "s14 s15", "r0 r1"),
        ("vmrs APSR_nzcv, fpscr", Kind.FLOAT_MOVE, "fpscr", "flags"),
        ("cbz r3, 1f0e", Kind.BRANCH, "r3", ""),
        ("bl 1f0e", Kind.CALL, "", "lr"),
    ],
)
def test_registers_that_are_read_and_written(text: str, kind: Kind, reads: str, writes: str) -> None:
    (found,) = assemble(text)
    assert (found.kind, found.reads, found.writes) == (kind, names(reads), names(writes))


def test_operands_of_the_shifter_are_told_from_plain_ones() -> None:
    add, saturate, pack = assemble("add.w r1, r4, r5, lsl #6\nssat r3, #8, r2, asr #5\npkhbt r4, lr, r2, lsl #16")
    assert (add.kind, add.reads, add.shifted_reads) == (Kind.SHIFT, names("r4"), names("r5"))
    assert (saturate.kind, saturate.reads, saturate.shifted_reads) == (Kind.SIMD, frozenset(), names("r2"))
    assert (pack.reads, pack.shifted_reads) == (names("lr"), names("r2"))


def test_what_is_added_to_is_told_from_what_is_multiplied() -> None:
    single, long, float_ = assemble("smlad r4, lr, r7, r9\nsmlal r0, r1, r2, r3\nvfma.f32 s0, s1, s2")
    assert single.accumulator_reads == names("r9")
    assert long.accumulator_reads == names("r0 r1")
    assert (float_.kind, float_.accumulator_reads, float_.reads) == (Kind.FLOAT_MAC, names("s0"), names("s1 s2"))


def test_accesses_say_what_forms_the_address_and_what_is_transferred() -> None:
    pair, indexed, update, store, pop, push = assemble(
        "ldrd r7, r6, [r1, #8]\nldr.w r2, [r0, r3, lsl #2]\nldr.w r2, [r0], #4\nstrb.w r4, [r2, #48]!\npop {r4-r6, pc}\nvpush {d8-d9}"
    )
    assert (pair.kind, pair.words, pair.writes, pair.address_reads) == (Kind.LOAD_MULTIPLE, 2, names("r6 r7"), names("r1"))
    assert (indexed.kind, indexed.address_reads, indexed.bank) == (Kind.LOAD, names("r0 r3"), None)
    assert (update.writes, update.base_writes, update.bank) == (names("r2"), names("r0"), None)
    assert (store.kind, store.data_reads, store.address_reads, store.base_writes) == (Kind.STORE, names("r4"), names("r2"), names("r2"))
    assert (pop.words, pop.returns, pop.writes) == (4, True, names("r4 r5 r6 pc"))
    assert (push.kind, push.data_reads) == (Kind.STORE_MULTIPLE, names("s16 s17 s18 s19"))


def test_the_bank_of_a_load_is_bit_two_of_its_offset() -> None:
    banks = [entry.bank for entry in assemble("ldr r0, [r1]\nldr r0, [r1, #4]\nldr r0, [r1, #8]\nldr r0, [pc, #4]")]
    assert banks == [("r1", 0), ("r1", 1), ("r1", 0), None]


def test_instructions_of_an_it_block_need_the_flags_and_those_after_it_do_not() -> None:
    _, first, second, after = assemble("ite ne\nmovne r1, r2\nmoveq r1, r3\nmov r4, r5")
    assert (first.reads, first.conditional) == (names("r2 flags"), True)
    assert (second.reads, second.conditional) == (names("r3 flags"), True)
    assert (after.reads, after.conditional) == (names("r5"), False)


def test_jumps_know_their_target_or_that_it_is_in_a_register() -> None:
    loop, leave, table = assemble("bne.n 1298 <body+0x8>\nbx lr\ntbb [pc, r3]")
    assert (loop.target, loop.conditional, loop.returns) == (0x1298, True, False)
    assert (leave.target, leave.returns) == (None, True)
    assert (table.kind, table.is_jump) == (Kind.TABLE_BRANCH, True)
