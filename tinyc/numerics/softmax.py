"""SOFTMAX int8 -> int8 over the last axis (output scale 1/256, zero point -128). docs/numerics.md has the evidence.

`litert`: LiteRT's kernel, a float32 table of exponentials and a float32 sum in element order (XNNPACK does not take the op).
`tflm`: TFLite's reference kernel, all in gemmlowp fixed point, which CMSIS-NN reproduces bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyc.numerics.activation import INT8_MAXIMUM, INT8_MINIMUM
from tinyc.numerics.fixed_point import (
    Integers,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_power_of_two,
)
from tinyc.numerics.fixed_point import saturating_rounding_doubling_high_multiply as high_multiply
from tinyc.numerics.fixed_point_functions import exp_on_negative_values, one_over_one_plus
from tinyc.numerics.profile import Profile

OUTPUT_SCALE = 1.0 / 256.0
OUTPUT_ZERO_POINT = -128

_SCALED_DIFFERENCE_INTEGER_BITS = 5
_ACCUMULATION_INTEGER_BITS = 12


@dataclass(frozen=True)
class LookupSoftmax:
    """output = round(table[max - x] * (1 / (sum * 2**-8))) - 128, every step in float32, halves rounded up."""

    table: tuple[float, ...]
    """256 float32 values: the exponential of -beta * scale * difference, by difference."""

    def apply(self, values: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """Softmax over the last axis of an int8 array."""
        rows = values.astype(np.int64)
        exponentials = np.asarray(self.table, dtype=np.float32)[rows.max(axis=-1, keepdims=True) - rows]
        # cumsum adds strictly in order, as the kernel does; sum would add pairwise.
        total = np.cumsum(exponentials, axis=-1, dtype=np.float32)[..., -1:]
        inverse = np.float32(1) / (total * np.float32(OUTPUT_SCALE))
        # Halves go up. The sum is formed in float64, because float32 would round 0.49999997 + 0.5 to 1.
        outputs = np.floor((exponentials * inverse).astype(np.float64) + 0.5).astype(np.int64) + OUTPUT_ZERO_POINT
        return np.asarray(np.clip(outputs, INT8_MINIMUM, INT8_MAXIMUM), dtype=np.int8)


@dataclass(frozen=True)
class FixedPointSoftmax:
    """TFLite's reference/softmax.h; differences below `difference_minimum` count as exp = 0."""

    multiplier: int
    left_shift: int
    difference_minimum: int

    def apply(self, values: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """Softmax over the last axis of an int8 array."""
        rows = values.astype(np.int64)
        differences = rows - rows.max(axis=-1, keepdims=True)
        counted = differences >= self.difference_minimum
        exponentials = self.exponentials()[-differences]
        terms = rounding_divide_by_power_of_two(exponentials, _ACCUMULATION_INTEGER_BITS)
        total = np.where(counted, terms, 0).sum(axis=-1, keepdims=True)
        scale, bits_over_unit = _reciprocal(total)
        outputs = rounding_divide_by_power_of_two(high_multiply(scale, exponentials), bits_over_unit + 31 - 8) + OUTPUT_ZERO_POINT
        return np.asarray(np.where(counted, np.clip(outputs, INT8_MINIMUM, INT8_MAXIMUM), INT8_MINIMUM), dtype=np.int8)

    def exponentials(self) -> Integers:
        """(256,) exp(-beta * scale * difference) in Q0.31 by difference; entries below `difference_minimum` are 0."""
        differences = -np.arange(256, dtype=np.int64)
        counted = differences >= self.difference_minimum
        scaled = multiply_by_quantized_multiplier(np.where(counted, differences, 0), self.multiplier, self.left_shift)
        return np.where(counted, exp_on_negative_values(scaled, _SCALED_DIFFERENCE_INTEGER_BITS), 0)


@dataclass(frozen=True)
class ScaledSoftmax:
    """output = min(rint(table[max - x] * factor / sum) + zero_point, maximum), every step in float32: ONNX Runtime's QLinearSoftmax.

    `factor` is 1 / output scale, rounded down. The table is scaled up as far as float32 holds its sum.
    """

    table: tuple[float, ...]
    factor: float
    zero_point: int

    def apply(self, values: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """Softmax over the last axis of an int8 array."""
        rows = values.astype(np.int64)
        exponentials = np.asarray(self.table, dtype=np.float32)[rows.max(axis=-1, keepdims=True) - rows]
        total = np.cumsum(exponentials, axis=-1, dtype=np.float32)[..., -1:]
        # With a single value a row, or an output scale far below 1/256, the product overflows; ONNX Runtime's result is undefined there.
        with np.errstate(over="ignore"):
            scaled = np.clip(exponentials * np.float32(self.factor) / total, np.float32(0), np.float32(1 << 16))
        outputs = np.rint(scaled).astype(np.int64) + self.zero_point
        return np.asarray(np.clip(outputs, INT8_MINIMUM, INT8_MAXIMUM), dtype=np.int8)


SoftmaxPlan = LookupSoftmax | FixedPointSoftmax | ScaledSoftmax


def scaled_softmax(depth: int, input_scale: float, output_scale: float, output_zero_point: int) -> ScaledSoftmax:
    """Constants of QLinearSoftmax over rows of `depth` values."""
    single_scale = float(np.float32(input_scale))
    headroom = float(np.log(np.finfo(np.float32).max / np.float32(depth), dtype=np.float32))
    lift = max(0.0, headroom - 5.0) / single_scale
    arguments = (255.0 - np.arange(256, dtype=np.float64) - 255.0 + lift) * single_scale
    factor = np.floor(np.float32(1) / np.float32(output_scale))
    return ScaledSoftmax(tuple(float(value) for value in np.exp(arguments).astype(np.float32)), float(factor), output_zero_point)


def softmax_plan(
    profile: Profile,
    input_scale: float,
    beta: float = 1.0,
    *,
    depth: int | None = None,
    output_scale: float = OUTPUT_SCALE,
    output_zero_point: int = OUTPUT_ZERO_POINT,
) -> SoftmaxPlan:
    """The rule of `profile` for one SOFTMAX over rows of `depth` values, which only `onnxruntime` needs to know.

    Raises ValueError where `onnxruntime` is not told it, and where the other profiles find an output whose scale is not 1/256 or whose zero
    point is not -128.
    """
    if profile is Profile.ONNXRUNTIME:
        if depth is None:
            raise ValueError("the rule of onnxruntime depends on the depth of the rows")
        # ONNX has no beta; that of another format scales the input.
        scale = float(np.float32(input_scale) * np.float32(beta))
        return scaled_softmax(depth, scale, output_scale, output_zero_point)
    if (output_scale, output_zero_point) != (OUTPUT_SCALE, OUTPUT_ZERO_POINT):
        raise ValueError(f"profile {profile.value} has no softmax whose output scale is not 1/256 and zero point not -128")
    if profile is Profile.LITERT:
        step = np.float32(-np.float32(input_scale) * np.float32(beta))
        arguments = step * np.arange(256, dtype=np.float32)
        return LookupSoftmax(tuple(float(np.float32(math.exp(float(argument)))) for argument in arguments))
    fraction_bits = 31 - _SCALED_DIFFERENCE_INTEGER_BITS
    real = float(np.float32(beta)) * float(np.float32(input_scale)) * (1 << fraction_bits)
    multiplier, left_shift = quantize_multiplier(min(real, 2.0**31 - 1.0))
    radius = ((1 << _SCALED_DIFFERENCE_INTEGER_BITS) - 1) * (1 << fraction_bits) / math.ldexp(1.0, left_shift)
    return FixedPointSoftmax(multiplier, left_shift, -math.floor(radius))


def _reciprocal(total: Integers) -> tuple[Integers, Integers]:
    """1 / total for a Q12.19 total: (Q0.31 mantissa, bits by which the total exceeds 1); TFLite's GetReciprocal."""
    leading_zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
    bits_over_unit = _ACCUMULATION_INTEGER_BITS - leading_zeros
    fraction = (total << leading_zeros) - (1 << 31)
    return one_over_one_plus(fraction), bits_over_unit
