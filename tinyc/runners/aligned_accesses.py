"""Which Thumb instructions fault on addresses that are not multiples of 4, whatever the part is configured to allow.

Arm v7-M Architecture Reference Manual: A3.2.1 names them (LDM, STM, LDRD, STRD, LDREX, STREX, LDC, STC, VLDR, VSTR, VLDM, VSTM, PUSH, POP),
A5.2 and A5.3 have their encodings. All their offsets are multiples of 4, so that the base register alone decides; SP and PC as bases are
always aligned.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SP: Final = 13
PC: Final = 15
BREAKPOINT_SEMIHOSTING: Final = 0xBEAB


@dataclass(frozen=True)
class Instruction:
    """One instruction of a stretch, at `offset`.

    `base` is the register that must be a multiple of 4, None where nothing must be; `guarded` is the number of instructions that it makes
    conditional, 0 where it is no IT; `conditional`: it is one of these; `semihosting`: it is the breakpoint of semihosting.
    """

    offset: int
    base: int | None
    guarded: int
    conditional: bool
    semihosting: bool


def instructions(code: bytes) -> Iterator[Instruction]:
    """The instructions of `code`, which holds nothing else, in order."""
    halfwords = struct.unpack(f"<{len(code) // 2}H", code[: len(code) // 2 * 2])
    position = conditional = 0
    while position < len(halfwords):
        first = halfwords[position]
        wide = first >> 11 in (0b11101, 0b11110, 0b11111)
        if wide and position + 1 == len(halfwords):
            return
        base = wide_base(first, halfwords[position + 1]) if wide else narrow_base(first)
        guarded = guarded_by(first)
        yield Instruction(2 * position, None if base in (SP, PC) else base, guarded, conditional > 0, first == BREAKPOINT_SEMIHOSTING)
        conditional = guarded or max(0, conditional - 1)
        position += 2 if wide else 1


def guarded_by(halfword: int) -> int:
    """How many instructions after it an IT makes conditional: its mask ends with a one bit, the earlier the more follow."""
    mask = halfword & 15
    return 4 - ((mask & -mask).bit_length() - 1) if halfword >> 8 == 0xBF and mask else 0


def narrow_base(halfword: int) -> int | None:
    """Base register of a 16-bit LDM or STM."""
    return halfword >> 8 & 7 if halfword >> 12 == 0b1100 else None


def wide_base(first: int, second: int) -> int | None:
    """Base register of a 32-bit instruction that needs alignment."""
    base = first & 15
    if first & 0xFE40 == 0xE800:  # load and store multiple; modes 00 and 11 are no such thing on v7-M
        return base if first >> 7 & 3 in (1, 2) else None
    if first & 0xFE40 == 0xE840:  # load and store double or exclusive, table branch
        if first & 0x0120:
            return base
        return base if not first & 0x0080 else None  # LDREX, STREX; the others work on bytes and halfwords or are table branches
    if (
        first & 0xEE00 == 0xEC00 and first & 0x01A0
    ):  # coprocessor load and store; without any of these bits it is a transfer of two registers
        return base
    return None
