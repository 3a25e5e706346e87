"""PRELU, element by element in fixed point."""

from __future__ import annotations

from dataclasses import dataclass

from tinyc.backends.cortexm.kernels.base import c_number, render
from tinyc.backends.cortexm.kernels.elementwise import BinarySpec
from tinyc.numerics.prelu import PReluPlan


@dataclass(frozen=True)
class PReluSpec(BinarySpec):
    """A row of values; the second operand is the slope."""

    plan: PReluPlan

    @property
    def family(self) -> str:
        return "prelu"

    def source(self, symbol: str) -> str:
        return render("prelu.c.j2", symbol=symbol, spec=self, plan=self.plan, number=c_number)
