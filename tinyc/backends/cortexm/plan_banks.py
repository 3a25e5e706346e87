"""plan-banks: gives every buffer a RAM bank and its offset there. Takes the place of plan-memory where a network may use several banks."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.accesses import counted_accesses
from tinyc.errors import PassError, UsageError
from tinyc.ir.arenas import Arena, record_arenas
from tinyc.ir.mcu import number
from tinyc.ir.schedule import build_schedule
from tinyc.memory.banks import place_in_banks
from tinyc.memory.placement import lower_bound


@dataclass(frozen=True)
class PlanBanks(ModulePass):
    """Place buffers in the `banks`, fastest first, of `sizes` bytes; what is accessed most goes to the fastest.

    A bank without buffers is left out. Where one is left, the C has a single arena and takes a single pointer, as without banks.
    """

    name = "plan-banks"
    banks: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.banks or len(self.banks) != len(self.sizes) or min(self.sizes) < 1:
            raise UsageError('plan-banks: needs names and sizes of as many banks, such as banks="dtcm","axi" sizes=65536,262144')

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        schedule = build_schedule(op)
        if not schedule.steps:
            raise PassError("plan-banks finds no steps to plan for; run select-kernels first")
        accesses = counted_accesses(op)
        counts = [accesses[buffer] for buffer in schedule.buffers]
        placement = place_in_banks(schedule.lives, schedule.overlaps, counts, self.sizes)
        used = sorted(set(placement.banks))
        for buffer, bank, offset in zip(schedule.buffers, placement.banks, placement.offsets, strict=True):
            buffer.properties["offset"] = number(offset)
            buffer.properties.pop("bank", None)
            if len(used) > 1:
                buffer.properties["bank"] = StringAttr(self.banks[bank])
        record_arenas(op, [Arena(self.banks[bank], placement.arena_bytes[bank], self.sizes[bank]) for bank in used])
        op.attributes["lower_bound_bytes"] = number(lower_bound(schedule.lives, schedule.step_bounds))
