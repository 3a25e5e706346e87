"""Cortex-M4: one instruction after the other, by Arm's table of cycles.

Arm Cortex-M4 Processor Technical Reference Manual (Arm 100166), 3.3.1 table of instructions, 3.3.2 load and store timings, and 7.2.3
cycles of the floating-point unit; memory without wait states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinyc.cycles.instruction import Instruction, Kind


@dataclass(frozen=True)
class CortexM4:
    """The table.

    `refill_cycles` is what a jump costs besides its own cycle: the manual gives 1 to 3, by the alignment of the target. `divide_cycles` of
    an integer division: 2 to 12, by the operands.
    """

    refill_cycles: int = 2
    divide_cycles: int = 7
    name: str = "Cortex-M4"

    def straight_cycles(self, instructions: Sequence[Instruction]) -> int:
        """Cycles of `instructions` one after the other, where nothing jumps."""
        total = 0
        before: Instruction | None = None
        for instruction in instructions:
            total += self.own_cycles(instruction) + self._delay(before, instruction)
            before = instruction
        return total

    def following_cycles(self, before: Sequence[Instruction], instructions: Sequence[Instruction], jumped: bool) -> int:
        """Cycles of `instructions` right behind `before`; nothing of a jump is pipelined with what follows."""
        if jumped or not before:
            return self.straight_cycles(instructions)
        return self.straight_cycles([*before[-1:], *instructions]) - self.straight_cycles(before[-1:])

    def jump_cycles(self, jump: Instruction, taken: int, not_taken: int) -> int:
        """Cycles that executing `jump` adds to its own one, for that many executions."""
        if jump.kind is Kind.TABLE_BRANCH:
            return taken * (self.refill_cycles + 1)
        return taken * self.refill_cycles

    def own_cycles(self, instruction: Instruction) -> int:
        """Cycles of one instruction that waits for nothing."""
        kind = instruction.kind
        if kind in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE):
            return 1 + instruction.words
        if kind in (Kind.LOAD, Kind.TABLE_BRANCH):
            return 2
        if kind is Kind.STORE:
            # A store with an offset in a register, and one of a floating-point register, takes both phases.
            is_float = any(name.startswith("s") and name != "sp" for name in instruction.data_reads)
            return 2 if len(instruction.address_reads) > 1 or is_float else 1
        if kind is Kind.DIVIDE:
            return self.divide_cycles
        if kind is Kind.FLOAT_MAC:
            return 3
        if kind is Kind.FLOAT_DIVIDE:
            return 14
        if kind is Kind.FLOAT_MOVE:
            return max(instruction.words, 1)
        return 1

    def _delay(self, before: Instruction | None, instruction: Instruction) -> int:
        """Cycles that an instruction gains (negative) or waits because of the one before it."""
        if before is None:
            return 0
        made = before.writes | before.base_writes
        if before.kind in _FLOAT and before.writes & instruction.all_reads:
            return 1
        if before.kind is Kind.LOAD and instruction.kind in (Kind.LOAD, Kind.STORE) and not made & instruction.address_reads:
            # Its address phase runs beside the data phase of the load before.
            return -1 if self.own_cycles(instruction) == 2 else 0
        if before.kind in _COMPUTES and made & instruction.address_reads:
            return 1
        return 0


_FLOAT = (Kind.FLOAT, Kind.FLOAT_MAC, Kind.FLOAT_DIVIDE)
_COMPUTES = (Kind.ALU, Kind.SHIFT, Kind.SIMD, Kind.MAC, Kind.DIVIDE)
