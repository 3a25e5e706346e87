"""Copy of a row, for reshapes and concatenations whose result lies elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, render


@dataclass(frozen=True)
class CopySpec(KernelSpec):
    """`elements` neighbouring values of C type `element_type`; input and output may overlap."""

    elements: int
    element_type: str = "int8_t"

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    @property
    def family(self) -> str:
        return "copy"

    @property
    def input_types(self) -> tuple[str, ...]:
        return (self.element_type,)

    @property
    def output_type(self) -> str:
        return self.element_type

    def source(self, symbol: str) -> str:
        return render("copy.c.j2", symbol=symbol, spec=self)
