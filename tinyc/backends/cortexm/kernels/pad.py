"""PAD and PADV2 with a constant, which is the zero point unless the model says otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, render
from tinyc.memory.row_access import RowAccess
from tinyc.memory.strips import Across, Range


@dataclass(frozen=True)
class PadSpec(KernelSpec):
    """One output row from one input row, or from NULL where the whole row is padding.

    The output has `left + width + right` columns of `before + channels + after` channels.
    """

    width: int
    channels: int
    left: int
    right: int
    before: int
    after: int
    value: int

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if min(self.width, self.channels) < 1 or min(self.left, self.right, self.before, self.after) < 0:
            raise ValueError(f"sizes must be positive and padding not negative: {self}")
        if not -128 <= self.value <= 127:
            raise ValueError(f"the padding value must be an int8, but is {self.value}")

    @property
    def family(self) -> str:
        return "pad"

    @property
    def windows(self) -> tuple[int, ...]:
        return (1,)

    def across(self, width: int) -> Across | None:
        whole = self.left + self.width + self.right == width
        return Across(width, ((self.width, RowAccess(pad=self.left)),)) if whole else None

    def narrowed(self, columns: Range, inputs: tuple[Range | None, ...], width: int) -> KernelSpec:
        (source,) = inputs
        assert source is not None
        left = source[0] + self.left - columns[0]
        kept = source[1] - source[0]
        return replace(self, width=kept, left=left, right=columns[1] - columns[0] - left - kept)

    @property
    def output_channels(self) -> int:
        """Channels of an output pixel."""
        return self.before + self.channels + self.after

    @property
    def output_elements(self) -> int:
        """Bytes of an output row."""
        return (self.left + self.width + self.right) * self.output_channels

    def source(self, symbol: str) -> str:
        return render("pad.c.j2", symbol=symbol, spec=self)


@dataclass(frozen=True)
class PadTensorSpec(KernelSpec):
    """A whole tensor of any rank, with `before` and `after` elements of padding along each axis."""

    shape: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: int

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if not len(self.shape) == len(self.before) == len(self.after) or not -128 <= self.value <= 127:
            raise ValueError(f"padding does not fit the shape, or the value is no int8: {self}")

    @property
    def family(self) -> str:
        return "pad_tensor"

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return tuple(size + a + b for size, a, b in zip(self.shape, self.before, self.after, strict=True))

    @property
    def output_elements(self) -> int:
        """Bytes of the output."""
        return math.prod(self.output_shape)

    def _stride(self, axis: int) -> int:
        return math.prod(self.output_shape[axis + 1 :])

    @property
    def padded_axes(self) -> int:
        """Axes up to the last one that is padded; what lies behind them is copied in one piece."""
        padded = [axis for axis in range(len(self.shape)) if self.before[axis] or self.after[axis]]
        return max(padded, default=-1) + 1

    @property
    def loops(self) -> list[tuple[int, int]]:
        """(size, stride in the output) of the axes around a run."""
        return [(self.shape[axis], self._stride(axis)) for axis in range(max(self.padded_axes - 1, 0))]

    @property
    def run(self) -> int:
        """Neighbouring bytes that stay neighbours."""
        return math.prod(self.shape[max(self.padded_axes - 1, 0) :])

    @property
    def offset(self) -> int:
        """Where the input begins in the output."""
        return sum(count * self._stride(axis) for axis, count in enumerate(self.before))

    def source(self, symbol: str) -> str:
        return render("pad_tensor.c.j2", symbol=symbol, spec=self)
