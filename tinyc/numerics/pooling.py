"""MAX_POOL_2D and AVERAGE_POOL_2D of int8 tensors; input and output share scale and zero point, and both profiles share the rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyc.numerics.fixed_point import Integers
from tinyc.numerics.onnxruntime import FloatAverage


@dataclass(frozen=True)
class PoolingPlan:
    """Geometry and clamp bounds of one pooling; `padding` is (top, bottom, left, right). Padding never enters a maximum or an average."""

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    minimum: int
    maximum: int
    unsigned: bool = False
    """Whether an average is that of the uint8 values 128 above, whose halves round away from 0 and so up."""
    rescaling: FloatAverage | None = None
    """How averages are formed where they are rescaled in float32."""

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the output for an input of `height` by `width`."""
        top, bottom, left, right = self.padding
        rows = (height + top + bottom - self.window[0]) // self.strides[0] + 1
        columns = (width + left + right - self.window[1]) // self.strides[1] + 1
        return rows, columns


@dataclass(frozen=True)
class GlobalAverage:
    """The average of `count` elements with clamp bounds: AVERAGE_POOL_2D whose window is the whole image."""

    count: int
    minimum: int
    maximum: int
    unsigned: bool = False

    def apply_to_sum(self, total: Integers) -> npt.NDArray[np.int8]:
        """int8 averages from plain sums of int8 values."""
        return np.asarray(np.clip(average_of(total, self.count, self.unsigned), self.minimum, self.maximum), dtype=np.int8)


def divide_rounding_half_away(total: Integers, count: Integers | int) -> Integers:
    """total / count, rounded to nearest with halves away from zero, as TFLite's average pooling divides."""
    magnitude = (np.abs(total) + np.asarray(count) // 2) // count
    return np.asarray(np.sign(total) * magnitude, dtype=np.int64)


def average_of(total: Integers, count: int, unsigned: bool) -> Integers:
    """The average of `count` int8 values whose sum is `total`; of the uint8 values 128 above, less 128, where `unsigned` is set."""
    if unsigned:
        return divide_rounding_half_away(total + 128 * count, count) - 128
    return divide_rounding_half_away(total, count)


def _windows(plan: PoolingPlan, values: npt.NDArray[np.int8]) -> Iterator[tuple[int, int, npt.NDArray[np.int64]]]:
    """(output row, output column, the input elements in the window as (batch, height, width, channels)) of every window."""
    _, height, width, _ = values.shape
    output_height, output_width = plan.output_size(height, width)
    for row in range(output_height):
        top = row * plan.strides[0] - plan.padding[0]
        for column in range(output_width):
            left = column * plan.strides[1] - plan.padding[2]
            rows = slice(max(top, 0), min(top + plan.window[0], height))
            columns = slice(max(left, 0), min(left + plan.window[1], width))
            yield row, column, values[:, rows, columns, :].astype(np.int64)


def _pool(plan: PoolingPlan, values: npt.NDArray[np.int8], average: bool) -> npt.NDArray[np.int8]:
    batch, height, width, channels = values.shape
    output = np.empty((batch, *plan.output_size(height, width), channels), dtype=np.int64)
    for row, column, window in _windows(plan, values):
        if average and plan.rescaling is not None:
            output[:, row, column] = plan.rescaling.apply(window)
        elif average:
            output[:, row, column] = average_of(window.sum(axis=(1, 2)), window.shape[1] * window.shape[2], plan.unsigned)
        else:
            output[:, row, column] = window.max(axis=(1, 2))
    return np.asarray(np.clip(output, plan.minimum, plan.maximum), dtype=np.int8)


def max_pool(plan: PoolingPlan, values: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """MAX_POOL_2D of an int8 NHWC array."""
    return _pool(plan, values, average=False)


def average_pool(plan: PoolingPlan, values: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """AVERAGE_POOL_2D of an int8 NHWC array: the divisor counts only elements inside the input; halves round away from zero."""
    return _pool(plan, values, average=True)
