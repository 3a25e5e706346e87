"""PRELU of an int8 tensor with an int8 slope for the negative side. Both profiles scale in fixed point; XNNPACK does not take the op.

docs/numerics.md has the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyc.numerics.activation import INT8_MAXIMUM, INT8_MINIMUM
from tinyc.numerics.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from tinyc.numerics.profile import Profile


@dataclass(frozen=True)
class PReluPlan:
    """Two fixed-point factors (reference/prelu.h): one for inputs at or above the zero point, one for products with the slope below it."""

    zero_point: int
    slope_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int
    slope_multiplier: int
    slope_shift: int

    def apply(self, values: npt.NDArray[Any], slopes: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        """int8 outputs for int8 values and slopes, with numpy broadcasting."""
        differences = values.astype(np.int64) - self.zero_point
        products = differences * (slopes.astype(np.int64) - self.slope_zero_point)
        above = multiply_by_quantized_multiplier(differences, self.multiplier, self.shift)
        below = multiply_by_quantized_multiplier(products, self.slope_multiplier, self.slope_shift)
        outputs = np.where(differences >= 0, above, below) + self.output_zero_point
        return np.asarray(np.clip(outputs, INT8_MINIMUM, INT8_MAXIMUM), dtype=np.int8)


def prelu_plan(
    profile: Profile,
    input_scale: float,
    zero_point: int,
    slope_scale: float,
    slope_zero_point: int,
    output_scale: float,
    output_zero_point: int,
) -> PReluPlan:
    """Constants of one PRELU; scales are float32 values. LiteRT forms the factors in float32, TFLM in double."""
    number = np.float32 if profile is Profile.LITERT else np.float64
    source, slope, output = (number(np.float32(scale)) for scale in (input_scale, slope_scale, output_scale))
    return PReluPlan(
        zero_point,
        slope_zero_point,
        output_zero_point,
        *quantize_multiplier(float(source / output)),
        *quantize_multiplier(float(source * slope / output)),
    )
