"""MEAN of an int8 tensor over any axes: an exact int32 sum, then one rescaling. docs/numerics.md has the evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyc.numerics.activation import INT8_MAXIMUM, INT8_MINIMUM
from tinyc.numerics.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from tinyc.numerics.onnxruntime import ScaledMean, scaled_mean
from tinyc.numerics.profile import Profile


@dataclass(frozen=True)
class FloatMean:
    """clamp(rint(float32(float32(sum) * scale) + bias)), XNNPACK's rule; the product is rounded to float32 before the addition."""

    scale: float
    bias: float

    def apply_to_sum(self, total: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        """int8 means from plain sums of int8 values (zero point not subtracted)."""
        real = total.astype(np.float32) * np.float32(self.scale) + np.float32(self.bias)
        return np.asarray(np.clip(np.rint(real), INT8_MINIMUM, INT8_MAXIMUM), dtype=np.int8)


@dataclass(frozen=True)
class FixedPointMean:
    """clamp(MultiplyByQuantizedMultiplier(sum + offset, multiplier, shift) + zero_point): TFLite's QuantizedMeanOrSum."""

    offset: int
    multiplier: int
    shift: int
    zero_point: int

    def apply_to_sum(self, total: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        """int8 means from plain sums of int8 values (zero point not subtracted)."""
        output = multiply_by_quantized_multiplier(total + self.offset, self.multiplier, self.shift) + self.zero_point
        return np.asarray(np.clip(output, INT8_MINIMUM, INT8_MAXIMUM), dtype=np.int8)


MeanPlan = FloatMean | FixedPointMean | ScaledMean


def mean_plan(
    profile: Profile, count: int, input_scale: float, input_zero_point: int, output_scale: float, output_zero_point: int
) -> MeanPlan:
    """The rule of `profile` for a mean of `count` elements."""
    if profile is Profile.ONNXRUNTIME:
        return scaled_mean(count, input_scale, input_zero_point, output_scale, output_zero_point)
    if profile is Profile.LITERT:
        ratio = np.float32(input_scale) / np.float32(output_scale)
        scale = np.float32(ratio * np.float32(np.float32(1) / np.float32(count)))
        bias = np.float32(output_zero_point) - np.float32(np.float32(input_zero_point * count) * scale)
        return FloatMean(float(scale), float(np.float32(bias)))
    multiplier, shift = quantize_multiplier(float(np.float32(input_scale)) / float(np.float32(output_scale)))
    # The division by the count is merged into the multiplier, which keeps as many bits as the shift has room for.
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    return FixedPointMean(-input_zero_point * count, (multiplier << extra) // count, shift - extra, output_zero_point)


def apply_mean(plan: MeanPlan, values: npt.NDArray[np.int8], axes: tuple[int, ...], keep_dimensions: bool) -> npt.NDArray[np.int8]:
    """Means of `values` over `axes`; reduced axes are kept with size 1 if `keep_dimensions`."""
    return plan.apply_to_sum(np.asarray(values.astype(np.int64).sum(axis=axes, keepdims=keep_dimensions)))
