"""gemmlowp's functions of fixed-point numbers (fixedpoint.h), on numpy arrays: what TFLite's SOFTMAX, LOGISTIC and TANH are made of.

A format Qm.n has m integer bits and n = 31 - m fraction bits; arrays are int64 within the int32 range.
"""

from __future__ import annotations

import numpy as np

from tinyc.numerics.fixed_point import INT32_MAXIMUM, INT32_MINIMUM, Integers, rounding_divide_by_power_of_two
from tinyc.numerics.fixed_point import saturating_rounding_doubling_high_multiply as high_multiply

# exp(-2**k) in Q0.31 for k = -2 .. 4: one factor for each binary digit of the argument.
_EXPONENTIAL_FACTORS = tuple(zip(range(-2, 5), (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242), strict=True))


def saturating_shift_left(values: Integers, amount: int) -> Integers:
    """values * 2**amount, limited to int32."""
    return np.asarray(np.clip(values << amount, INT32_MINIMUM, INT32_MAXIMUM), dtype=np.int64)


def exp_on_negative_values(argument: Integers, integer_bits: int) -> Integers:
    """exp in Q0.31 of arguments <= 0 with 1 to 5 integer bits; 1 is represented by 2**31 - 1."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    reduced = (argument & (quarter - 1)) - quarter
    result = _exp_on_quarter_interval(saturating_shift_left(reduced, integer_bits))
    remainder = reduced - argument
    for exponent, factor in _EXPONENTIAL_FACTORS:
        if exponent < integer_bits:
            digit = (remainder >> (fraction_bits + exponent)) & 1
            result = np.where(digit == 1, high_multiply(result, factor), result)
    return np.where(argument == 0, INT32_MAXIMUM, result)


def _exp_on_quarter_interval(argument: Integers) -> Integers:
    """exp on [-1/4, 0) in Q0.31: a Taylor polynomial of degree 4 around -1/8."""
    exp_of_minus_eighth = 1895147668
    third = 715827883
    x = argument + (1 << 28)
    square = high_multiply(x, x)
    cube = high_multiply(square, x)
    quarter_of_fourth = rounding_divide_by_power_of_two(high_multiply(square, square), 2)
    tail = rounding_divide_by_power_of_two(high_multiply(quarter_of_fourth + cube, third) + square, 1)
    return exp_of_minus_eighth + high_multiply(exp_of_minus_eighth, x + tail)


def _reciprocal_of_half(argument: Integers) -> Integers:
    """2 / (1 + x) in Q2.29 for x in [0, 1) in Q0.31, by three Newton-Raphson steps."""
    # RoundingHalfSum of x and 1: the half of the denominator.
    half_denominator = (argument + INT32_MAXIMUM + 1) >> 1
    x = 1515870810 + high_multiply(half_denominator, -1010580540)
    for _ in range(3):
        error = (1 << 29) - high_multiply(half_denominator, x)
        x = x + saturating_shift_left(high_multiply(x, error), 2)
    return x


def one_over_one_plus(argument: Integers) -> Integers:
    """1 / (1 + x) in Q0.31 for x in [0, 1) in Q0.31."""
    return saturating_shift_left(_reciprocal_of_half(argument), 1)


def logistic(argument: Integers, integer_bits: int) -> Integers:
    """1 / (1 + exp(-x)) in Q0.31."""
    positive = one_over_one_plus(exp_on_negative_values(-np.abs(argument), integer_bits))
    result = np.where(argument > 0, positive, INT32_MAXIMUM - positive)
    return np.where(argument == 0, 1 << 30, result)


def tanh(argument: Integers, integer_bits: int) -> Integers:
    """tanh in Q0.31: (1 - e) / (1 + e) with e = exp(-2 * |x|), signed."""
    # Doubling is reading the same bits with one more integer bit.
    exponential = exp_on_negative_values(-np.abs(argument), integer_bits + 1)
    magnitude = saturating_shift_left(_reciprocal_of_half(exponential) - (1 << 29), 2)
    return np.where(argument < 0, -magnitude, np.where(argument == 0, 0, magnitude))
