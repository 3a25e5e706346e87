"""DEQUANTIZE: int8 to float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, c_number, render
from tinyc.numerics.quantization import DequantizationPlan


@dataclass(frozen=True)
class DequantizeSpec(KernelSpec):
    """`elements` neighbouring values."""

    elements: int
    plan: DequantizationPlan

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    @property
    def family(self) -> str:
        return "dequantize"

    @property
    def output_type(self) -> str:
        return "float"

    def source(self, symbol: str) -> str:
        return render("dequantize.c.j2", symbol=symbol, spec=self, plan=self.plan, number=c_number)
