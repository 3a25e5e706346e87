"""SOFTMAX over the channels of each column; the table of exponentials carries the scale, so that bodies are shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table, c_number, render
from tinyc.numerics.softmax import LookupSoftmax, ScaledSoftmax, SoftmaxPlan


@dataclass(frozen=True)
class SoftmaxSpec(KernelSpec):
    """`repeats` independent softmaxes over `depth` neighbouring values each. The output may be the memory of the input."""

    repeats: int
    depth: int
    floating: bool
    """Exponentials and sum in float32 (LookupSoftmax, ScaledSoftmax) or in fixed point (FixedPointSoftmax)."""
    factor: float = 0.0
    """What ScaledSoftmax multiplies by before it divides by the sum; 0 for the other plans."""
    zero_point: int = -128
    """The result for a probability of 0."""

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
        return render("softmax.c.j2", symbol=symbol, spec=self, number=c_number)


def softmax_spec(repeats: int, depth: int, plan: SoftmaxPlan) -> SoftmaxSpec:
    """Spec of the body that computes `plan`."""
    if isinstance(plan, ScaledSoftmax):
        return SoftmaxSpec(repeats, depth, True, plan.factor, plan.zero_point)
    return SoftmaxSpec(repeats, depth, isinstance(plan, LookupSoftmax))


def pack(plan: SoftmaxPlan) -> tuple[Table, ...]:
    """Table `exponentials`: 256 values by difference to the row's maximum, float32 or Q0.31."""
    if isinstance(plan, LookupSoftmax | ScaledSoftmax):
        return (Table("exponentials", "float", np.asarray(plan.table, dtype=np.float32)),)
    return (Table("exponentials", "int32_t", plan.exponentials().astype(np.int32)),)
