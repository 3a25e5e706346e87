"""Cortex-M7: two instructions a cycle, in order, where their units and operands allow it.

Arm publishes no table for this core. The rules are from LLVM's scheduling model of it (ARMScheduleM7.td, written by Arm and checked on
silicon), with what measurements say that the model leaves out; docs/profile.md lists them one by one.

A result is "ready" so many cycles after its instruction was issued, counted at the stage in which plain ALU operations compute. Operands
that are needed one stage earlier (addresses, shifted ones) wait one cycle longer, those needed later (accumulators, stored data) one less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tinyc.cycles.instruction import Instruction, Kind


@dataclass(frozen=True)
class Rule:
    """Cycles from issue to result, the units that only one instruction a cycle may use, and which slots an instruction may have.

    `alone`: never issued with another one; `first_only`: only as the older one of a pair. `busy` cycles must pass until the next issue.
    """

    latency: int
    units: frozenset[str] = frozenset()
    alone: bool = False
    first_only: bool = False
    busy: int = 1


def _rule(latency: int, *units: str, alone: bool = False, first_only: bool = False, busy: int = 1) -> Rule:
    return Rule(latency, frozenset(units), alone, first_only, busy)


_RULES: Final = {
    Kind.ALU: _rule(1),
    Kind.SHIFT: _rule(1, "shifter"),
    Kind.SIMD: _rule(1, "simd", first_only=True),
    Kind.MAC: _rule(2, "mac"),
    Kind.DIVIDE: _rule(1, alone=True, busy=7),
    Kind.LOAD: _rule(1, "load"),
    Kind.STORE: _rule(1, "store"),
    Kind.BRANCH: _rule(1, "branch"),
    Kind.CALL: _rule(1, "branch"),
    Kind.TABLE_BRANCH: _rule(1, "branch", alone=True, busy=2),
    Kind.FLOAT: _rule(3, "float"),
    Kind.FLOAT_MAC: _rule(6, "float"),
    Kind.FLOAT_DIVIDE: _rule(16, "float", busy=14),
    Kind.FLOAT_MOVE: _rule(3, "float move"),
    Kind.CONDITION: _rule(1),
    Kind.NOTHING: _rule(0),
    Kind.SYSTEM: _rule(3, alone=True),
}
_SATURATING: Final = frozenset(["ssat", "usat", "ssat16", "usat16", "qadd", "qsub", "qdadd", "qdsub", "usad8", "usada8"])
_SLOW_LOADS: Final = ("ldrb", "ldrh", "ldrsb", "ldrsh")
_EARLY, _LATE = 1, -1


@dataclass
class Pipeline:
    """The state between instructions: cycle of the last issue, what was issued in it, and when registers are ready."""

    cycle: int = -1
    free: int = 0
    group: list[Instruction] = field(default_factory=list)
    ready: dict[str, int] = field(default_factory=dict)
    loaded: set[str] = field(default_factory=set)

    @property
    def cycles(self) -> int:
        """Cycles so far: the number of the first one that is left for others."""
        return max(self.cycle + 1, self.free)


@dataclass(frozen=True)
class CortexM7:
    """The model. Cycles that branches cost are assumptions; docs/profile.md says why these.

    `mispredict_cycles`: a branch that goes the way that it goes less often; `return_cycles`: a jump to an address from a register or
    from memory; `taken_cycles`: any other jump, which the branch target cache foresees. `load_to_mac_cycles` is how much later a
    loaded word reaches the multiplier than an ALU, `store_beside_mac` whether the two can be issued together: LLVM's model has 0 and true.
    """

    mispredict_cycles: int = 6
    return_cycles: int = 3
    taken_cycles: int = 0
    load_to_mac_cycles: int = 1
    store_beside_mac: bool = False
    name: str = "Cortex-M7"

    def straight_cycles(self, instructions: Sequence[Instruction]) -> int:
        """Cycles from the first issue to the one behind the last, starting with all operands ready, where nothing jumps."""
        pipeline = Pipeline()
        for instruction in instructions:
            self.issue(pipeline, instruction)
        return pipeline.cycles

    def following_cycles(self, before: Sequence[Instruction], instructions: Sequence[Instruction], jumped: bool) -> int:
        """Cycles that `instructions` add behind `before`; after a jump the first one begins a new pair."""
        pipeline = Pipeline()
        for instruction in before:
            self.issue(pipeline, instruction)
        start = pipeline.cycles
        if jumped:
            pipeline.group = []
            pipeline.free = start
        for instruction in instructions:
            self.issue(pipeline, instruction)
        return pipeline.cycles - start

    def jump_cycles(self, jump: Instruction, taken: int, not_taken: int) -> int:
        """Cycles that executing `jump` adds, for that many executions: the predictor is right about the more frequent direction."""
        if jump.returns:
            return taken * self.return_cycles
        return taken * self.taken_cycles + min(taken, not_taken) * self.mispredict_cycles

    def issue_cycles(self, instructions: Sequence[Instruction]) -> list[int]:
        """In which cycle each instruction is issued, for straight code."""
        pipeline = Pipeline()
        return [self.issue(pipeline, instruction) for instruction in instructions]

    def next_cycle(self, pipeline: Pipeline, instruction: Instruction) -> int:
        """In which cycle `instruction` would be issued, were it the next one."""
        earliest = max(pipeline.free, self._operands_ready(pipeline, instruction))
        if earliest <= pipeline.cycle and self._pairs(pipeline.group, instruction, _rule_of(instruction)):
            return pipeline.cycle
        return max(earliest, pipeline.cycle + 1)

    def issue(self, pipeline: Pipeline, instruction: Instruction) -> int:
        """Issues the next instruction; returns the cycle."""
        rule = _rule_of(instruction)
        cycle = self.next_cycle(pipeline, instruction)
        if cycle > pipeline.cycle:
            pipeline.group = []
        pipeline.group.append(instruction)
        pipeline.cycle = cycle
        if rule.busy > 1:
            pipeline.free = cycle + rule.busy
        pipeline.loaded -= instruction.writes | instruction.base_writes
        for register in instruction.writes:
            pipeline.ready[register] = cycle + rule.latency
        for register in instruction.base_writes:
            pipeline.ready[register] = cycle
        if instruction.kind in (Kind.LOAD, Kind.LOAD_MULTIPLE):
            pipeline.loaded |= instruction.writes
        return cycle

    def result_latency(self, maker: Instruction, user: Instruction) -> int:
        """Cycles from the issue of `maker` to that of `user`, which reads a register that it writes, where nothing else delays them."""
        pipeline = Pipeline()
        self.issue(pipeline, maker)
        return max(0, self._operands_ready(pipeline, user))

    def _operands_ready(self, pipeline: Pipeline, instruction: Instruction) -> int:
        """The first cycle in which all operands are ready; what nothing before has made is ready at once."""
        late = 3 * _LATE if instruction.kind is Kind.FLOAT_MAC else _LATE
        needs = [(instruction.reads, 0), (instruction.address_reads | instruction.shifted_reads, _EARLY)]
        needs.append((instruction.accumulator_reads | instruction.data_reads, late))
        loaded = instruction.reads & pipeline.loaded
        if instruction.kind is Kind.MAC:
            needs.append((loaded, self.load_to_mac_cycles))
        elif instruction.shifted_reads:
            needs.append((loaded, _EARLY))  # the bypass from memory does not reach the adder beside the shifter
        ready = pipeline.ready
        return max((ready[register] + earlier for registers, earlier in needs for register in registers if register in ready), default=0)

    def _pairs(self, group: Sequence[Instruction], instruction: Instruction, rule: Rule) -> bool:
        """Whether `instruction` can be issued in the cycle of the one instruction before it."""
        if len(group) != 1:
            return False
        (older,) = group
        other = _rule_of(older)
        if rule.alone or other.alone or rule.first_only or other.units & rule.units - {"load"}:
            return False
        if (older.kind is Kind.BRANCH and not older.conditional) or older.kind is Kind.CALL:
            return False
        if older.kind is Kind.LOAD and instruction.kind is Kind.LOAD and not _different_banks(older, instruction):
            return False
        if {older.kind, instruction.kind} == {Kind.MAC, Kind.STORE} and not self.store_beside_mac:
            return False
        return not (older.base_writes & instruction.all_reads or older.writes & instruction.writes)


def _rule_of(instruction: Instruction) -> Rule:
    if instruction.kind in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE):
        cycles = max(1, (instruction.words + 1) // 2)
        return _rule(cycles, alone=True, busy=cycles)
    rule = _RULES[instruction.kind]
    if instruction.kind is Kind.SIMD:
        saturates = instruction.mnemonic.split(".")[0] in _SATURATING
        return _SIMD_RULES[saturates, bool(instruction.shifted_reads)]
    if instruction.kind is Kind.LOAD and instruction.mnemonic.startswith(_SLOW_LOADS):
        return _SLOW_LOAD
    if instruction.kind is Kind.FLOAT_MOVE and instruction.words > 1:
        return _PAIR_MOVE
    return rule


_SIMD_RULES: Final = {
    (saturates, shifts): _rule(2 if saturates else 1, "simd", *(["shifter"] if shifts else []), first_only=True)
    for saturates in (False, True)
    for shifts in (False, True)
}
"""By whether the operation saturates, and whether an operand passes the shifter."""
_SLOW_LOAD: Final = _rule(2, "load")
_PAIR_MOVE: Final = _rule(3, "float move", alone=True)


def _different_banks(older: Instruction, younger: Instruction) -> bool:
    """Whether two loads are known to go to different halves of the memory port: same base, offsets that differ in bit 2."""
    return older.bank is not None and younger.bank is not None and older.bank[0] == younger.bank[0] and older.bank[1] != younger.bank[1]
