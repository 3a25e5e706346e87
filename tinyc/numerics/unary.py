"""int8 functions of one int8 value: 256 inputs, so that every rule, whatever it computes, is a table. docs/numerics.md has the evidence.

`litert`: XNNPACK tabulates LOGISTIC, TANH and ELU in float32 and requantises (QUANTIZE, LEAKY_RELU) with 8 fraction bits; LiteRT's own
kernels, the same as TFLM's, compute the rest. `tflm`: fixed point throughout, but for ELU, which is a float32 table there too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyc.numerics.activation import INT8_MAXIMUM, INT8_MINIMUM, activation_bounds
from tinyc.numerics.fixed_point import (
    Integers,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_power_of_two,
)
from tinyc.numerics.fixed_point import saturating_rounding_doubling_high_multiply as high_multiply
from tinyc.numerics.fixed_point_functions import logistic, tanh
from tinyc.numerics.profile import Profile

Float32 = np.float32

VALUES = np.arange(INT8_MINIMUM, INT8_MAXIMUM + 1, dtype=np.int64)
"""The inputs of a table, in its order."""

_FIXED_POINT_INTEGER_BITS = 4


@dataclass(frozen=True)
class UnaryQuantization:
    """Scale and zero point of input and output; scales are float32 values."""

    input_scale: float
    input_zero_point: int
    output_scale: float
    output_zero_point: int

    @property
    def differences(self) -> Integers:
        """(256,) input minus zero point."""
        return VALUES - self.input_zero_point

    @property
    def ratio(self) -> np.float32:
        """Input scale over output scale in float32."""
        return Float32(self.input_scale) / Float32(self.output_scale)


def unary_table(
    function: str,
    profile: Profile,
    quantization: UnaryQuantization,
    alpha: float | None = None,
    beta: float | None = None,
    *,
    own_kernel: bool = False,
) -> npt.NDArray[np.int8]:
    """(256,) outputs for the inputs -128 to 127.

    `alpha` is the slope of leaky_relu below 0, the factor of elu below 0 (1 by default), or the slope of hard_sigmoid, `beta` the value of
    that at 0. `own_kernel` says that LiteRT computes requantize with its own kernel although the scales
    would suit XNNPACK: where one side of the op is uint8 in the model file. Raises ValueError for an unknown function, a missing alpha, and
    scales that the references do not take.
    """
    if function == "leaky_relu" and alpha is None:
        raise ValueError("leaky_relu needs the slope alpha")
    if profile is Profile.ONNXRUNTIME and function in REAL_FUNCTIONS:
        return _by_division(quantization, REAL_FUNCTIONS[function], 1.0 if alpha is None else alpha, 0.0 if beta is None else beta)
    if function == "hard_sigmoid" or (function == "elu" and alpha not in (None, 1.0)):
        raise ValueError(f"{function}{' with another alpha than 1' if function == 'elu' else ''} is defined in profile onnxruntime only")
    if function == "leaky_relu":
        assert alpha is not None
        return _leaky_relu(profile, quantization, alpha)
    if function == "requantize" and own_kernel and profile is Profile.LITERT:
        return _requantize_by_halves_up(quantization)
    rule = RULES.get(function)
    if rule is None:
        raise ValueError(f"unknown function {function!r}; known: {', '.join(FUNCTIONS)}")
    return rule(profile, quantization)


def _saturated(values: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    return np.asarray(np.clip(values, INT8_MINIMUM, INT8_MAXIMUM), dtype=np.int8)


def _tabulated(
    profile: Profile, quantization: UnaryQuantization, function: Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]
) -> npt.NDArray[np.int8]:
    """float32 from end to end but for `function`, whose result is rounded to float32: XNNPACK rounds halves to even after the zero point
    was added, TFLite away from zero before."""
    real = quantization.differences.astype(Float32) * Float32(quantization.input_scale)
    scaled = function(real).astype(Float32) * (Float32(1) / Float32(quantization.output_scale))
    if profile is Profile.LITERT:
        return _saturated(np.rint(scaled + Float32(quantization.output_zero_point)))
    exact = scaled.astype(np.float64)
    return _saturated(np.sign(exact) * np.floor(np.abs(exact) + 0.5) + quantization.output_zero_point)


def _elu(profile: Profile, quantization: UnaryQuantization) -> npt.NDArray[np.int8]:
    def function(real: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        wide = np.minimum(real.astype(np.float64), 0.0)
        # TFLM subtracts 1 from a float32 exponential.
        below = np.expm1(wide) if profile is Profile.LITERT else np.exp(wide).astype(Float32) - Float32(1)
        return np.where(real < 0, below, real)

    return _tabulated(profile, quantization, function)


def _logistic(profile: Profile, quantization: UnaryQuantization) -> npt.NDArray[np.int8]:
    if profile is Profile.LITERT:
        return _tabulated(profile, quantization, lambda real: 1 / (1 + np.exp(-real.astype(np.float64))))
    return _fixed_point_sigmoid(quantization, lambda argument: rounding_divide_by_power_of_two(logistic(argument, 4), 23) - 128)


def _tanh(profile: Profile, quantization: UnaryQuantization) -> npt.NDArray[np.int8]:
    if profile is Profile.LITERT:
        return _tabulated(profile, quantization, lambda real: np.tanh(real.astype(np.float64)))
    return _fixed_point_sigmoid(quantization, lambda argument: rounding_divide_by_power_of_two(tanh(argument, 4), 24))


def _fixed_point_sigmoid(quantization: UnaryQuantization, function: Callable[[Integers], Integers]) -> npt.NDArray[np.int8]:
    """`function` of the input in Q4.27; beyond what that format holds, the ends of int8 (TFLite's reference/integer_ops)."""
    fraction_bits = 31 - _FIXED_POINT_INTEGER_BITS
    multiplier, shift = quantize_multiplier(float(Float32(quantization.input_scale)) * (1 << fraction_bits))
    limit = ((1 << _FIXED_POINT_INTEGER_BITS) - 1) * (1 << fraction_bits)
    radius = limit >> shift if shift >= 0 else limit << -shift
    differences = quantization.differences
    inside = np.abs(differences) < radius
    argument = multiply_by_quantized_multiplier(np.where(inside, differences, 0), multiplier, shift)
    outputs = _saturated(function(argument))
    return np.where(inside, outputs, np.where(differences < 0, INT8_MINIMUM, INT8_MAXIMUM)).astype(np.int8)


def _scaled(values: Integers, factor: float) -> Integers:
    """MultiplyByQuantizedMultiplier; the references scale by a negative factor as by its magnitude and then negate."""
    scaled = multiply_by_quantized_multiplier(values, *quantize_multiplier(abs(factor)))
    return -scaled if factor < 0 else scaled


def _factor(profile: Profile, quantization: UnaryQuantization) -> float:
    """Input scale over output scale; LiteRT's kernels divide in float32, TFLM's in double."""
    if profile is Profile.LITERT:
        return float(quantization.ratio)
    return float(Float32(quantization.input_scale)) / float(Float32(quantization.output_scale))


def _requantize_fixed_point(profile: Profile, quantization: UnaryQuantization) -> npt.NDArray[np.int8]:
    return _saturated(_scaled(quantization.differences, _factor(profile, quantization)) + quantization.output_zero_point)


def _with_8_fraction_bits(differences: Integers, factors: npt.NDArray[np.float32], zero_point: int) -> npt.NDArray[np.int8]:
    """XNNPACK's short rule: factors rounded to 1/256, halves of the result up."""
    multipliers = np.rint(factors * Float32(256)).astype(np.int64)
    return _saturated((differences * multipliers + (zero_point << 8) + 128) >> 8)


def _requantize_by_halves_up(quantization: UnaryQuantization) -> npt.NDArray[np.int8]:
    """LiteRT's kernel in its vector form, 16 elements at a time: both roundings up; the reference kernel's second is away from zero."""
    multiplier, shift = quantize_multiplier(_factor(Profile.TFLM, quantization))
    scaled = high_multiply(quantization.differences << max(shift, 0), multiplier)
    if shift < 0:
        scaled = (scaled + (1 << (-shift - 1))) >> -shift
    return _saturated(scaled + quantization.output_zero_point)


def _requantize(profile: Profile, quantization: UnaryQuantization) -> npt.NDArray[np.int8]:
    if profile is Profile.TFLM:
        return _requantize_fixed_point(profile, quantization)
    if not 2.0**-8 <= quantization.ratio <= 2.0**7:
        return _requantize_by_halves_up(quantization)
    return _with_8_fraction_bits(quantization.differences, np.asarray(quantization.ratio), quantization.output_zero_point)


def _leaky_relu(profile: Profile, quantization: UnaryQuantization, alpha: float) -> npt.NDArray[np.int8]:
    differences, zero_point = quantization.differences, quantization.output_zero_point
    slope, ratio = Float32(alpha), quantization.ratio
    if profile is Profile.TFLM:
        positive = _factor(profile, quantization)
        negative = float(Float32(quantization.input_scale)) * float(slope) / float(Float32(quantization.output_scale))
    else:
        below = ratio * slope
        if 2.0**-8 <= ratio <= 2.0**7 and abs(below) >= 2.0**-8 and -(2.0**7) + 2.0**-8 <= below <= 2.0**7:
            return _with_8_fraction_bits(differences, np.where(differences >= 0, ratio, below), zero_point)
        # XNNPACK does not take the op; LiteRT's kernel forms both factors in float32.
        positive = _factor(profile, quantization)
        negative = float(Float32(quantization.input_scale) * slope / Float32(quantization.output_scale))
    scaled = np.where(differences >= 0, _scaled(differences, positive), _scaled(differences, negative))
    return _saturated(scaled + zero_point)


def _abs(profile: Profile, quantization: UnaryQuantization) -> npt.NDArray[np.int8]:
    return _saturated(_scaled(np.abs(quantization.differences), _factor(profile, quantization)) + quantization.output_zero_point)


def _negate(profile: Profile, quantization: UnaryQuantization) -> npt.NDArray[np.int8]:
    """The kernel looks at no scale and wraps, so that -128 stays -128."""
    if quantization.ratio != 1 or quantization.input_zero_point or quantization.output_zero_point:
        raise ValueError("NEG computes the negative only of equal scales and zero points of 0")
    return np.asarray(-VALUES, dtype=np.int64).astype(np.int8)


def _bounded(activation: str) -> Callable[[Profile, UnaryQuantization], npt.NDArray[np.int8]]:
    def rule(profile: Profile, quantization: UnaryQuantization) -> npt.NDArray[np.int8]:
        # XNNPACK leaves the stand-alone activations alone. Of those that change the scale, TFLM has RELU only; the others follow LiteRT.
        factor_of = profile if activation == "relu" else Profile.LITERT
        bounds = activation_bounds(activation, quantization.output_scale, quantization.output_zero_point, Profile.TFLM)
        return np.asarray(np.clip(_requantize_fixed_point(factor_of, quantization), *bounds), dtype=np.int8)

    return rule


def _int16_multiplier(factor: float) -> tuple[int, int]:
    """quantize_multiplier with 15 bits instead of 31."""
    multiplier, shift = quantize_multiplier(factor)
    return (2**15 - 1 if multiplier >= 2**31 - 1 - 2**15 else (multiplier + 2**15) >> 16), shift


def _high_multiply_16(a: Integers, b: int) -> Integers:
    """High half of 2*a*b for int16 operands, rounded to nearest with halves up, saturating."""
    return np.asarray(np.clip((a * b + (1 << 14)) >> 15, -(2**15), 2**15 - 1), dtype=np.int64)


def _hard_swish(profile: Profile, quantization: UnaryQuantization) -> npt.NDArray[np.int8]:
    """TFLite's reference/hard_swish.h: x times a factor in [0, 1] that is formed from x / 3, all in 16 bits."""
    fine_scale = Float32(1 / 128) * Float32(quantization.input_scale)
    multiplier, shift = _int16_multiplier(float(fine_scale / Float32(quantization.output_scale)))
    if shift > 0:
        raise ValueError("HARD_SWISH needs an output scale of at least 1/128 of the input scale")
    factor_multiplier, factor_shift = _int16_multiplier(float(fine_scale / (Float32(3) / Float32(32768))))
    fine = quantization.differences * 128
    factor = fine
    if factor_shift > 0:
        # All but one place before the multiplication, where saturation changes nothing that the last place would keep.
        factor = np.clip(factor << (factor_shift - 1), -(2**15), 2**15 - 1)
    factor = _high_multiply_16(factor, factor_multiplier)
    if factor_shift > 0:
        factor = np.clip(factor << 1, -(2**15), 2**15 - 1)
    elif factor_shift < 0:
        factor = rounding_divide_by_power_of_two(factor, -factor_shift)
    factor = (factor + 2**15) >> 1
    product = factor * _high_multiply_16(fine, multiplier)
    truncated = np.sign(product) * (np.abs(product) >> 15)
    return _saturated(rounding_divide_by_power_of_two(truncated, -shift) + quantization.output_zero_point)


RealFunction = Callable[[npt.NDArray[np.float32], float, float], npt.NDArray[Any]]


def _by_division(quantization: UnaryQuantization, function: RealFunction, alpha: float, beta: float) -> npt.NDArray[np.int8]:
    """ONNX Runtime: dequantise, compute, divide by the output scale, round halves to even, then add the zero point."""
    real = quantization.differences.astype(Float32) * Float32(quantization.input_scale)
    scaled = function(real, alpha, beta).astype(Float32) / Float32(quantization.output_scale)
    return _saturated(np.rint(np.clip(scaled, Float32(-1024), Float32(1024))).astype(np.int64) + quantization.output_zero_point)


def _real_elu(real: npt.NDArray[np.float32], alpha: float, beta: float) -> npt.NDArray[np.float32]:
    below = np.expm1(np.minimum(real.astype(np.float64), 0)).astype(Float32)
    return np.asarray(np.where(real < 0, Float32(alpha) * below, real), dtype=np.float32)


def _real_hard_sigmoid(real: npt.NDArray[np.float32], alpha: float, beta: float) -> npt.NDArray[np.float32]:
    return np.asarray(np.clip(Float32(alpha) * real + Float32(beta), Float32(0), Float32(1)), dtype=np.float32)


def _real_hard_swish(real: npt.NDArray[np.float32], alpha: float, beta: float) -> npt.NDArray[np.float32]:
    return np.asarray(real * np.clip(Float32(1 / 6) * real + Float32(0.5), Float32(0), Float32(1)), dtype=np.float32)


REAL_FUNCTIONS: Mapping[str, RealFunction] = {
    "abs": lambda real, alpha, beta: np.abs(real),
    "elu": _real_elu,
    "hard_sigmoid": _real_hard_sigmoid,
    "hard_swish": _real_hard_swish,
    "leaky_relu": lambda real, alpha, beta: np.where(real >= 0, real, Float32(alpha) * real),
    "logistic": lambda real, alpha, beta: 1 / (1 + np.exp(-real.astype(np.float64))),
    "negate": lambda real, alpha, beta: -real,
    "relu": lambda real, alpha, beta: np.maximum(real, Float32(0)),
    "relu6": lambda real, alpha, beta: np.clip(real, Float32(0), Float32(6)),
    "relu_n1_to_1": lambda real, alpha, beta: np.clip(real, Float32(-1), Float32(1)),
    "requantize": lambda real, alpha, beta: real,
    "tanh": lambda real, alpha, beta: np.tanh(real.astype(np.float64)),
}
"""What `onnxruntime` computes between dequantising and quantising."""

RULES: Mapping[str, Callable[[Profile, UnaryQuantization], npt.NDArray[np.int8]]] = {
    "abs": _abs,
    "elu": _elu,
    "hard_swish": _hard_swish,
    "logistic": _logistic,
    "negate": _negate,
    "relu": _bounded("relu"),
    "relu6": _bounded("relu6"),
    "relu_n1_to_1": _bounded("relu_n1_to_1"),
    "requantize": _requantize,
    "tanh": _tanh,
}
FUNCTIONS = (*RULES, "leaky_relu")
