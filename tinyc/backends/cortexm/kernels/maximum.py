"""REDUCE_MAX and ARG_MAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, render
from tinyc.backends.cortexm.kernels.tensor_reduction import TensorReductionSpec


@dataclass(frozen=True)
class MaximumRowsSpec(KernelSpec):
    """Maximum over all rows, and over the columns too unless `keep_width`."""

    width: int
    channels: int
    keep_width: bool

    form: ClassVar[Form] = Form.REDUCTION
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if min(self.width, self.channels) < 1:
            raise ValueError(f"sizes must be positive: {self}")

    @property
    def family(self) -> str:
        return "maximum_rows"

    @property
    def outputs(self) -> int:
        """Number of maxima."""
        return self.channels * (self.width if self.keep_width else 1)

    @property
    def accumulator_bytes(self) -> int:
        return 4 * self.outputs

    @property
    def columns(self) -> int:
        """How often a row goes over the maxima."""
        return 1 if self.keep_width else self.width

    def source(self, symbol: str) -> str:
        return render("maximum_rows.c.j2", symbol=symbol, spec=self)


@dataclass(frozen=True)
class MaximumTensorSpec(TensorReductionSpec):
    """Maximum over any `axes` (ascending) of a tensor of any rank."""

    @property
    def family(self) -> str:
        return "maximum_tensor"

    def source(self, symbol: str) -> str:
        return render("maximum_tensor.c.j2", symbol=symbol, spec=self)


@dataclass(frozen=True)
class ArgMaxSpec(KernelSpec):
    """Position of the first maximum of `size` values that lie `inner` apart, for each of `inner` neighbours and `outer` groups of them."""

    outer: int
    size: int
    inner: int
    result_type: str = "int32_t"

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if min(self.outer, self.size, self.inner) < 1 or self.result_type not in ("int32_t", "int64_t"):
            raise ValueError(f"sizes must be positive and the result an integer of 32 or 64 bits: {self}")

    @property
    def family(self) -> str:
        return "arg_max"

    @property
    def output_type(self) -> str:
        return self.result_type

    def source(self, symbol: str) -> str:
        return render("arg_max.c.j2", symbol=symbol, spec=self)
