"""SOFTMAX over the channels of each column; the table of exponentials carries the scale, so that bodies are shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table, render
from tinyc.numerics.softmax import LookupSoftmax, SoftmaxPlan


@dataclass(frozen=True)
class SoftmaxSpec(KernelSpec):
    """`repeats` independent softmaxes over `depth` neighbouring values each. The output may be the memory of the input."""

    repeats: int
    depth: int
    floating: bool
    """Exponentials and sum in float32 (LookupSoftmax) or in fixed point (FixedPointSoftmax)."""

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        # The fixed-point sum has 12 integer bits; TFLite's own kernel is limited in the same way.
        if self.repeats < 1 or not 1 <= self.depth < 4096:
            raise ValueError(f"softmax needs at least one row and a depth of 1 to 4095: {self}")

    @property
    def family(self) -> str:
        return "softmax"

    def source(self, symbol: str) -> str:
        return render("softmax.c.j2", symbol=symbol, spec=self)


def softmax_spec(repeats: int, depth: int, plan: SoftmaxPlan) -> SoftmaxSpec:
    """Spec of the body that computes `plan`."""
    return SoftmaxSpec(repeats, depth, isinstance(plan, LookupSoftmax))


def pack(plan: SoftmaxPlan) -> tuple[Table, ...]:
    """Table `exponentials`: 256 values by difference to the row's maximum, float32 or Q0.31."""
    if isinstance(plan, LookupSoftmax):
        return (Table("exponentials", "float", np.asarray(plan.table, dtype=np.float32)),)
    return (Table("exponentials", "int32_t", plan.exponentials().astype(np.int32)),)
