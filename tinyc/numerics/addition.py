"""ADD and SUB of two int8 tensors: three ways to compute them, and the proof that one can stand in for another.

`litert`: XNNPACK's rule (a rounding shift of an exact integer combination) where XNNPACK takes the op, that is where both
input-to-output scale ratios lie in [2**-10, 2**8); TFLite's left-shift-20 fixed-point rule elsewhere. `tflm`: always the latter.
docs/numerics.md has the evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyc.numerics.fixed_point import INT32_MAXIMUM, INT32_MINIMUM, multiply_by_quantized_multiplier, quantize_multiplier
from tinyc.numerics.onnxruntime import DequantizedAddition, FloatAddition, SwappedFloatAddition, float_addition
from tinyc.numerics.profile import Profile

Int8Array = npt.NDArray[np.int8]

_LEFT_SHIFT = 20
_MINIMUM_RATIO = 2.0**-10
_LIMIT_RATIO = 2.0**8
_TRIED_SHIFTS = 3
_STRETCHES = range(65)


@dataclass(frozen=True)
class ShiftedAddition:
    """clamp(((a * first_multiplier + b * second_multiplier + bias) >> shift) + zero_point, minimum, maximum), arithmetic shift."""

    first_multiplier: int
    second_multiplier: int
    bias: int
    shift: int
    zero_point: int
    minimum: int
    maximum: int

    def apply(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Int8Array:
        """int8 sums of two int8 arrays, with numpy broadcasting."""
        total = a.astype(np.int64) * self.first_multiplier + b.astype(np.int64) * self.second_multiplier + self.bias
        return np.asarray(np.clip((total >> self.shift) + self.zero_point, self.minimum, self.maximum), dtype=np.int8)

    @property
    def fits_int32(self) -> bool:
        """Whether no int8 operands make the 32-bit accumulator overflow, in whatever order it is summed."""
        extreme = 128 * (abs(self.first_multiplier) + abs(self.second_multiplier)) + abs(self.bias)
        return extreme <= INT32_MAXIMUM


@dataclass(frozen=True)
class FixedPointAddition:
    """TFLite's rule: both inputs are shifted left by 20, scaled to a common scale, added and scaled to the output (reference/add.h).

    A sign of -1 subtracts an operand.
    """

    first_zero_point: int
    second_zero_point: int
    first_multiplier: int
    first_shift: int
    second_multiplier: int
    second_shift: int
    output_multiplier: int
    output_shift: int
    zero_point: int
    minimum: int
    maximum: int
    first_sign: int = 1
    second_sign: int = 1

    def apply(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Int8Array:
        """int8 sums of two int8 arrays, with numpy broadcasting."""
        first = (a.astype(np.int64) - self.first_zero_point) << _LEFT_SHIFT
        second = (b.astype(np.int64) - self.second_zero_point) << _LEFT_SHIFT
        total = self.first_sign * multiply_by_quantized_multiplier(first, self.first_multiplier, self.first_shift)
        total = total + self.second_sign * multiply_by_quantized_multiplier(second, self.second_multiplier, self.second_shift)
        output = multiply_by_quantized_multiplier(total, self.output_multiplier, self.output_shift) + self.zero_point
        return np.asarray(np.clip(output, self.minimum, self.maximum), dtype=np.int8)


AdditionPlan = ShiftedAddition | FixedPointAddition | FloatAddition | SwappedFloatAddition | DequantizedAddition


def addition_plan(
    profile: Profile,
    input_scales: tuple[float, float],
    input_zero_points: tuple[int, int],
    output_scale: float,
    output_zero_point: int,
    minimum: int,
    maximum: int,
    signs: tuple[int, int] = (1, 1),
    *,
    unsigned: bool = False,
    swapped: bool = False,
    dequantized: bool = False,
) -> AdditionPlan:
    """The rule of `profile` for one ADD; `minimum` and `maximum` are the clamp bounds (see activation_bounds).

    `signs` (1 or -1 for each operand) makes it a SUB, (1, -1), or one with its operands swapped. What follows matters to `onnxruntime`
    only: whether the file's tensors are uint8, whether the operands come in the opposite of the order in which it takes them, and whether
    it computes with dequantised operands.
    """
    if profile is Profile.ONNXRUNTIME and dequantized:
        scales = [sign * scale for sign, scale in zip(signs, input_scales, strict=True)]
        return DequantizedAddition(scales[0], scales[1], *input_zero_points, output_scale, output_zero_point, minimum, maximum)
    if profile is Profile.ONNXRUNTIME:
        return float_addition(input_scales, input_zero_points, output_scale, output_zero_point, minimum, maximum, signs, unsigned, swapped)
    first_ratio = np.float32(input_scales[0]) / np.float32(output_scale)
    second_ratio = np.float32(input_scales[1]) / np.float32(output_scale)
    delegated = all(_MINIMUM_RATIO <= ratio < _LIMIT_RATIO for ratio in (first_ratio, second_ratio))
    if profile is Profile.TFLM or not delegated:
        return _fixed_point(input_scales, input_zero_points, output_scale, output_zero_point, minimum, maximum, signs)
    # The larger multiplier gets 21 bits: 2**20 <= multiplier < 2**21 before rounding.
    exponent = math.frexp(float(max(first_ratio, second_ratio)))[1] - 1
    shift = 20 - exponent
    first = signs[0] * int(np.rint(math.ldexp(float(first_ratio), shift)))
    second = signs[1] * int(np.rint(math.ldexp(float(second_ratio), shift)))
    bias = (1 << (shift - 1)) - first * input_zero_points[0] - second * input_zero_points[1]
    return ShiftedAddition(first, second, bias, shift, output_zero_point, minimum, maximum)


def _fixed_point(
    input_scales: tuple[float, float],
    input_zero_points: tuple[int, int],
    output_scale: float,
    output_zero_point: int,
    minimum: int,
    maximum: int,
    signs: tuple[int, int],
) -> FixedPointAddition:
    first_scale, second_scale, result_scale = (float(np.float32(scale)) for scale in (*input_scales, output_scale))
    common_scale = 2 * max(first_scale, second_scale)
    first_multiplier, first_shift = quantize_multiplier(first_scale / common_scale)
    second_multiplier, second_shift = quantize_multiplier(second_scale / common_scale)
    output_multiplier, output_shift = quantize_multiplier(common_scale / ((1 << _LEFT_SHIFT) * result_scale))
    return FixedPointAddition(
        first_zero_point=input_zero_points[0],
        second_zero_point=input_zero_points[1],
        first_multiplier=first_multiplier,
        first_shift=first_shift,
        second_multiplier=second_multiplier,
        second_shift=second_shift,
        output_multiplier=output_multiplier,
        output_shift=output_shift,
        zero_point=output_zero_point,
        minimum=minimum,
        maximum=maximum,
        first_sign=signs[0],
        second_sign=signs[1],
    )


def equivalent_shifted_addition(plan: AdditionPlan, preferred_shift: int | None = None) -> ShiftedAddition | None:
    """A ShiftedAddition with zero_point 0 (folded into the bias) that fits int32 and equals `plan` on all 65,536 pairs, or None.

    For given multipliers and shift every pair bounds the bias from below, above or both; a bias exists where the bounds leave room. The
    proof is the exhaustion of the pairs. Where round scale ratios (such as 31/60) give exact ties, TFLite rounds them away from zero:
    multipliers that are both too great by the same small factor do the same. `preferred_shift` is tried before the greatest ones, which
    have the best chances.
    """
    values = np.arange(-128, 128, dtype=np.int64)
    a, b = values[:, None], values[None, :]
    outputs = plan.apply(a, b).astype(np.int64)
    first_ratio, second_ratio = _ratios(plan)
    largest = max(abs(first_ratio), abs(second_ratio))
    shifts = [shift for shift in range(23, 7, -1) if 256 * math.ldexp(largest, shift) < INT32_MAXIMUM // 2]
    preferred = [shift for shift in shifts if shift == preferred_shift]
    for shift in (*preferred, *(shift for shift in shifts[:_TRIED_SHIFTS] if shift != preferred_shift)):
        for stretch in _STRETCHES:
            factor = (1 << shift) + stretch
            first, second = round(first_ratio * factor), round(second_ratio * factor)
            bias = _feasible_bias(a * first + b * second, outputs, shift, plan.minimum, plan.maximum)
            if bias is None:
                continue
            candidate = ShiftedAddition(first, second, bias, shift, 0, plan.minimum, plan.maximum)
            if candidate.fits_int32 and np.array_equal(candidate.apply(a, b), outputs):
                return candidate
    return None


def _ratios(plan: AdditionPlan) -> tuple[float, float]:
    """Input-to-output scale ratios, as close as the plan's integers tell."""
    if isinstance(plan, ShiftedAddition):
        return math.ldexp(plan.first_multiplier, -plan.shift), math.ldexp(plan.second_multiplier, -plan.shift)
    if isinstance(plan, FloatAddition):
        return plan.first_ratio, plan.second_ratio
    if isinstance(plan, SwappedFloatAddition):
        return plan.plan.second_ratio, plan.plan.first_ratio
    if isinstance(plan, DequantizedAddition):
        return plan.first_scale / plan.output_scale, plan.second_scale / plan.output_scale
    output = math.ldexp(plan.output_multiplier, plan.output_shift - 31 + _LEFT_SHIFT)
    return (
        plan.first_sign * math.ldexp(plan.first_multiplier, plan.first_shift - 31) * output,
        plan.second_sign * math.ldexp(plan.second_multiplier, plan.second_shift - 31) * output,
    )


def _feasible_bias(products: npt.NDArray[np.int64], outputs: npt.NDArray[np.int64], shift: int, minimum: int, maximum: int) -> int | None:
    """A bias with clamp((products + bias) >> shift) == outputs everywhere, nearest to the middle of the allowed interval; None if empty."""
    lowest, highest = (outputs << shift) - products, ((outputs + 1) << shift) - 1 - products
    # Below the minimum and above the maximum the clamp helps, so those sides do not bind.
    lower = int(np.where(outputs > minimum, lowest, INT32_MINIMUM * 4).max())
    upper = int(np.where(outputs < maximum, highest, INT32_MAXIMUM * 4).min())
    return (lower + upper) // 2 if lower <= upper else None
