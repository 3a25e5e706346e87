"""What the pooling kernels share: a window slides over the columns of a few rows; padding never takes part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, narrowed_window
from tinyc.memory.row_access import EACH_ROW, RowAccess
from tinyc.memory.strips import Across, Range

_COUNTS_IN_INT16 = 255
"""Up to this many int8 add up in an int16 without overflow."""


@dataclass(frozen=True)
class PoolSpec(KernelSpec):
    """One output row. The rows passed in are those under the window, NULL where it leaves the input; at least one is not NULL."""

    input_width: int
    channels: int
    output_width: int
    window_height: int
    window_width: int
    stride_width: int
    pad_left: int
    minimum: int
    maximum: int

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        sizes = (self.input_width, self.channels, self.output_width, self.window_height, self.window_width, self.stride_width)
        if min(sizes) < 1 or self.pad_left < 0:
            raise ValueError(f"sizes and strides must be positive and padding not negative: {self}")
        last = (self.output_width - 1) * self.stride_width - self.pad_left
        if self.pad_left >= self.window_width or last >= self.input_width:
            raise ValueError(f"a window holds nothing but padding: {self}")

    @property
    def windows(self) -> tuple[int, ...]:
        return (self.window_height,)

    def across(self, width: int) -> Across | None:
        if self.output_width == width:
            return Across(width, ((self.input_width, RowAccess(self.window_width, self.stride_width, 1, self.pad_left)),))
        return Across(width, ((width, EACH_ROW),)) if self._by_element and self.output_width % width == 0 else None

    def narrowed(self, columns: Range, inputs: tuple[Range | None, ...], width: int) -> KernelSpec:
        if self.output_width == width:
            return narrowed_window(self, self.stride_width, columns, inputs)
        elements = self.output_width // width * (columns[1] - columns[0])
        return replace(self, input_width=elements, output_width=elements)

    @property
    def _by_element(self) -> bool:
        """Whether each window is one element, as in a clamp, which takes all channels for columns."""
        return self.window_width == self.stride_width == 1 and self.pad_left == 0 and self.input_width == self.output_width

    @property
    def clamps_low(self) -> bool:
        """Whether the lower bound can matter."""
        return self.minimum > -128

    @property
    def clamps_high(self) -> bool:
        """Whether the upper bound can matter."""
        return self.maximum < 127

    @property
    def padded(self) -> bool:
        """Whether some window leaves the row at the left or right."""
        last = (self.output_width - 1) * self.stride_width - self.pad_left + self.window_width
        return self.pad_left > 0 or last > self.input_width

    @property
    def words(self) -> int:
        """Whole words of four channels in a pixel."""
        return self.channels // 4

    @property
    def rest(self) -> int:
        """Channels after the last whole word."""
        return self.channels % 4

    @property
    def sums_in_pairs(self) -> bool:
        """Whether the sum of a window fits an int16."""
        return self.window_height * self.window_width <= _COUNTS_IN_INT16
