"""MUL, element by element."""

from __future__ import annotations

from dataclasses import dataclass

from tinyc.backends.cortexm.kernels.base import c_number, render
from tinyc.backends.cortexm.kernels.elementwise import BinarySpec
from tinyc.numerics.multiplication import FloatMultiplication, MultiplicationPlan
from tinyc.numerics.onnxruntime import FloatSumMultiplication


@dataclass(frozen=True)
class MulSpec(BinarySpec):
    """A row of products."""

    plan: MultiplicationPlan

    @property
    def family(self) -> str:
        return "mul"

    @property
    def floating(self) -> bool:
        """Whether the product is scaled in float32."""
        return isinstance(self.plan, FloatMultiplication | FloatSumMultiplication)

    @property
    def sums_in_float(self) -> bool:
        """Whether the zero point is added before rounding."""
        return isinstance(self.plan, FloatSumMultiplication)

    def source(self, symbol: str) -> str:
        return render("mul.c.j2", symbol=symbol, spec=self, plan=self.plan, number=c_number)
