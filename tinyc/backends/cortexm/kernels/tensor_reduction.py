"""What reductions over arbitrary axes of a whole tensor share: which loops make the output and which run over one output's elements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec


@dataclass(frozen=True)
class TensorReductionSpec(KernelSpec):
    """A reduction over any `axes` (ascending) of a tensor of `shape`, of any rank."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    form: ClassVar[Form] = Form.TENSOR
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if not self.axes or list(self.axes) != sorted(set(self.axes)) or self.axes[0] < 0 or self.axes[-1] >= len(self.shape):
            raise ValueError(f"axes {self.axes} are not distinct ascending axes of a tensor of rank {len(self.shape)}")

    def _loops(self, reduced: bool) -> list[tuple[int, int]]:
        strides = [math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        return [(size, strides[axis]) for axis, size in enumerate(self.shape) if (axis in self.axes) == reduced and size > 1]

    @property
    def kept(self) -> list[tuple[int, int]]:
        """(size, stride in elements) of the axes of the output, outermost first; axes of size 1 left out."""
        return self._loops(False)

    @property
    def reduced(self) -> list[tuple[int, int]]:
        """(size, stride in elements) of the axes that are reduced."""
        return self._loops(True)
