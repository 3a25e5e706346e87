"""MEAN, and global average pooling: int32 sums of int8 values, then one rescaling an output.

Three forms: over the rows of an image as they arrive (`MeanRowsSpec`), over the columns of one row (`MeanColumnsSpec`), and over any axes
of a whole tensor (`MeanTensorSpec`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, c_number, render
from tinyc.backends.cortexm.kernels.tensor_reduction import TensorReductionSpec
from tinyc.numerics.mean import FloatMean, MeanPlan
from tinyc.numerics.onnxruntime import ScaledMean
from tinyc.numerics.pooling import GlobalAverage

FinishPlan = MeanPlan | GlobalAverage


def finish_kind(plan: FinishPlan) -> str:
    """Which rescaling the template writes: `float`, `scaled`, `average` or `fixed`."""
    if isinstance(plan, ScaledMean):
        return "scaled"
    if isinstance(plan, FloatMean):
        return "float"
    return "average" if isinstance(plan, GlobalAverage) else "fixed"


@dataclass(frozen=True)
class MeanRowsSpec(KernelSpec):
    """Mean over all rows, and over the columns too unless `keep_width`. `plan` is made for the count of all elements of one mean."""

    width: int
    channels: int
    keep_width: bool
    plan: FinishPlan

    form: ClassVar[Form] = Form.REDUCTION
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    @property
    def family(self) -> str:
        return "average_rows" if isinstance(self.plan, GlobalAverage) else "mean_rows"

    @property
    def outputs(self) -> int:
        """Number of means."""
        return self.channels * (self.width if self.keep_width else 1)

    @property
    def accumulator_bytes(self) -> int:
        return 4 * self.outputs

    @property
    def words(self) -> int:
        """Whole words of four channels that a row sums up in int16 pairs."""
        return 0 if self.keep_width or self.width < 2 else self.channels // 4

    @property
    def scanned(self) -> tuple[int, int]:
        """(width, channels) of a row as the body walks it: a row whose columns are kept is one wide pixel."""
        return (1, self.outputs) if self.keep_width else (self.width, self.channels)

    def source(self, symbol: str) -> str:
        return render("mean_rows.c.j2", symbol=symbol, spec=self, plan=self.plan, kind=finish_kind(self.plan), number=c_number)


@dataclass(frozen=True)
class MeanColumnsSpec(KernelSpec):
    """Mean over the columns of one row: input width times channels, output channels."""

    width: int
    channels: int
    plan: FinishPlan

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    @property
    def family(self) -> str:
        return "mean_columns"

    @property
    def words(self) -> int:
        """Whole words of four channels that a row sums up in int16 pairs."""
        return self.channels // 4

    def source(self, symbol: str) -> str:
        return render("mean_columns.c.j2", symbol=symbol, spec=self, plan=self.plan, kind=finish_kind(self.plan), number=c_number)


@dataclass(frozen=True)
class MeanTensorSpec(TensorReductionSpec):
    """Mean over any `axes` (ascending) of a tensor of any rank."""

    plan: FinishPlan

    @property
    def family(self) -> str:
        return "mean_tensor"

    def source(self, symbol: str) -> str:
        return render("mean_tensor.c.j2", symbol=symbol, spec=self, plan=self.plan, kind=finish_kind(self.plan), number=c_number)
