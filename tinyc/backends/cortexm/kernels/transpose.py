"""TRANSPOSE of a whole tensor up to rank 6."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, render

MAXIMUM_RANK = 6


@dataclass(frozen=True)
class TransposeSpec(KernelSpec):
    """Output axis i is input axis `permutation[i]` of a tensor of `shape`."""

    shape: tuple[int, ...]
    permutation: tuple[int, ...]
    element_type: str = "int8_t"

    form: ClassVar[Form] = Form.TENSOR
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if sorted(self.permutation) != list(range(len(self.shape))) or len(self.shape) > MAXIMUM_RANK:
            raise ValueError(f"{self.permutation} is not a permutation of the axes of {self.shape}, or the rank is above {MAXIMUM_RANK}")

    @property
    def family(self) -> str:
        return "transpose"

    @property
    def input_types(self) -> tuple[str, ...]:
        return (self.element_type,)

    @property
    def output_type(self) -> str:
        return self.element_type

    @property
    def loops(self) -> list[tuple[int, int]]:
        """(size, stride in input elements) of the output's axes, outermost first; axes that stay neighbours are one loop."""
        strides = [math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        merged: list[tuple[int, int]] = []
        for axis in self.permutation:
            size, stride = self.shape[axis], strides[axis]
            if size == 1:
                continue
            if merged and merged[-1][1] == size * stride:
                merged[-1] = (merged[-1][0] * size, stride)
            else:
                merged.append((size, stride))
        return merged

    def source(self, symbol: str) -> str:
        return render("transpose.c.j2", symbol=symbol, spec=self)
