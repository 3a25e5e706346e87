"""Fixed-point primitives of TFLite's integer kernels, on numpy arrays.

The operations were defined by gemmlowp (fixedpoint.h) and are shared by TFLite, TFLM and CMSIS-NN. All of them take and return int64
arrays whose values lie in the int32 range; int64 only spares the callers the care for overflow.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
IntegerLike = npt.NDArray[Any] | int

INT32_MINIMUM = -(2**31)
INT32_MAXIMUM = 2**31 - 1


def round_half_away(value: float) -> int:
    """Nearest integer to `value`, halves away from zero (C's `round`)."""
    magnitude = math.floor(abs(value))
    if abs(value) - magnitude >= 0.5:
        magnitude += 1
    return magnitude if value >= 0 else -magnitude


def quantize_multiplier(real: float) -> tuple[int, int]:
    """`real` as (multiplier, shift): real = multiplier * 2**(shift - 31), 2**30 <= multiplier < 2**31; TFLite's QuantizeMultiplier.

    A positive shift is to the left. 0 and magnitudes below 2**-32 give (0, 0). A negative `real` gives a negative multiplier: published
    networks hold channels with negative weight scales (mcunet-in3). Raises ValueError for a non-finite `real`.
    """
    if not math.isfinite(real):
        raise ValueError(f"a requantisation multiplier must be finite, but is {real}")
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = round_half_away(fraction * 2.0**31)
    if multiplier == 2**31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    return multiplier, shift


def wrap_int32(values: IntegerLike) -> Integers:
    """`values` modulo 2**32 into the int32 range: what a 32-bit register keeps."""
    wide = np.asarray(values, dtype=np.int64)
    return np.asarray(((wide + 2**31) & 0xFFFFFFFF) - 2**31, dtype=np.int64)


def saturating_rounding_doubling_high_multiply(a: IntegerLike, b: IntegerLike) -> Integers:
    """High word of 2*a*b, rounded to nearest with halves up; the one overflowing product saturates (gemmlowp)."""
    left = np.asarray(a, dtype=np.int64)
    right = np.asarray(b, dtype=np.int64)
    product = left * right
    # gemmlowp divides (truncating) after adding a nudge of the product's sign; that equals flooring after adding 2**30.
    high = (product + (1 << 30)) >> 31
    return np.asarray(np.where((left == INT32_MINIMUM) & (right == INT32_MINIMUM), INT32_MAXIMUM, high), dtype=np.int64)


def rounding_divide_by_power_of_two(values: IntegerLike, exponent: IntegerLike) -> Integers:
    """values / 2**exponent, rounded to nearest with halves away from zero; exponent in 0..31."""
    numerator = np.asarray(values, dtype=np.int64)
    power = np.asarray(exponent, dtype=np.int64)
    mask = (np.int64(1) << power) - 1
    remainder = numerator & mask
    threshold = (mask >> 1) + (numerator < 0)
    return np.asarray((numerator >> power) + (remainder > threshold), dtype=np.int64)


def multiply_by_quantized_multiplier(values: IntegerLike, multiplier: IntegerLike, shift: IntegerLike) -> Integers:
    """values * multiplier * 2**(shift - 31) with gemmlowp's two roundings; multiplier and shift broadcast against values.

    A left shift wraps at 32 bits as it does in C on all compilers of interest.
    """
    power = np.asarray(shift, dtype=np.int64)
    shifted = wrap_int32(np.asarray(values, dtype=np.int64) << np.maximum(power, 0))
    high = saturating_rounding_doubling_high_multiply(shifted, multiplier)
    return rounding_divide_by_power_of_two(high, np.maximum(-power, 0))
