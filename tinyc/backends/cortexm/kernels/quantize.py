"""QUANTIZE: float32 to int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, c_number, render
from tinyc.numerics.quantization import EvenDivisionQuantization, QuantizationPlan, ReciprocalQuantization


@dataclass(frozen=True)
class QuantizeSpec(KernelSpec):
    """`elements` neighbouring values."""

    elements: int
    plan: QuantizationPlan

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    @property
    def family(self) -> str:
        return "quantize"

    @property
    def input_types(self) -> tuple[str, ...]:
        return ("float",)

    def source(self, symbol: str) -> str:
        reciprocal = isinstance(self.plan, ReciprocalQuantization)
        rounding = "tinyc_round" if isinstance(self.plan, EvenDivisionQuantization) else "tinyc_round_half_away"
        return render("quantize.c.j2", symbol=symbol, spec=self, plan=self.plan, reciprocal=reciprocal, rounding=rounding, number=c_number)
