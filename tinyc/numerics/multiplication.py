"""MUL of two int8 tensors.

`litert`: XNNPACK multiplies exactly, then scales in float32, where the product scale over the output scale lies in [2**-16, 2**8); TFLite's
fixed-point rule elsewhere. `tflm`: always the latter. docs/numerics.md has the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyc.numerics.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from tinyc.numerics.onnxruntime import FloatSumMultiplication
from tinyc.numerics.profile import Profile

_MINIMUM_SCALE = 2.0**-16
_LIMIT_SCALE = 2.0**8


@dataclass(frozen=True)
class FloatMultiplication:
    """clamp(rint(float32((a - za) * (b - zb)) * scale) + zero_point); `scale` is a float32 value."""

    first_zero_point: int
    second_zero_point: int
    scale: float
    zero_point: int
    minimum: int
    maximum: int

    def apply(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        """int8 products of two int8 arrays, with numpy broadcasting."""
        product = (a.astype(np.int64) - self.first_zero_point) * (b.astype(np.int64) - self.second_zero_point)
        scaled = product.astype(np.float32) * np.float32(self.scale)
        return np.asarray(np.clip(np.rint(scaled).astype(np.int64) + self.zero_point, self.minimum, self.maximum), dtype=np.int8)


@dataclass(frozen=True)
class FixedPointMultiplication:
    """clamp(MultiplyByQuantizedMultiplier((a - za) * (b - zb), multiplier, shift) + zero_point): TFLite's reference/integer_ops/mul.h."""

    first_zero_point: int
    second_zero_point: int
    multiplier: int
    shift: int
    zero_point: int
    minimum: int
    maximum: int

    def apply(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        """int8 products of two int8 arrays, with numpy broadcasting."""
        product = (a.astype(np.int64) - self.first_zero_point) * (b.astype(np.int64) - self.second_zero_point)
        output = multiply_by_quantized_multiplier(product, self.multiplier, self.shift) + self.zero_point
        return np.asarray(np.clip(output, self.minimum, self.maximum), dtype=np.int8)


MultiplicationPlan = FloatMultiplication | FixedPointMultiplication | FloatSumMultiplication


def multiplication_plan(
    profile: Profile,
    input_scales: tuple[float, float],
    input_zero_points: tuple[int, int],
    output_scale: float,
    output_zero_point: int,
    minimum: int,
    maximum: int,
    *,
    unsigned: bool = False,
) -> MultiplicationPlan:
    """The rule of `profile` for one MUL; `minimum` and `maximum` are the clamp bounds (see activation_bounds).

    `unsigned`, whether the file's tensors are uint8, matters to `onnxruntime` only.
    """
    first, second, result = (np.float32(scale) for scale in (*input_scales, output_scale))
    scale = np.float32(first * second) / result
    if profile is Profile.ONNXRUNTIME:
        return FloatSumMultiplication(*input_zero_points, float(scale), output_zero_point, 128 if unsigned else 0, minimum, maximum)
    if profile is Profile.LITERT and _MINIMUM_SCALE <= scale < _LIMIT_SCALE:
        return FloatMultiplication(*input_zero_points, float(scale), output_zero_point, minimum, maximum)
    # LiteRT's own kernel forms the factor in float32, TFLM's in double; the difference shows only where outputs are nearly ties.
    factor = float(scale) if profile is Profile.LITERT else float(first) * float(second) / float(result)
    multiplier, shift = quantize_multiplier(factor)
    return FixedPointMultiplication(*input_zero_points, multiplier, shift, output_zero_point, minimum, maximum)
