"""The fixed-point primitives against their definitions in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyc.numerics.fixed_point import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_power_of_two,
    saturating_rounding_doubling_high_multiply,
)

INT32 = st.integers(-(2**31), 2**31 - 1)


def half_away(value: Fraction) -> int:
    """Nearest integer, halves away from zero."""
    magnitude = floor(abs(value) + Fraction(1, 2))
    return magnitude if value >= 0 else -magnitude


@given(st.floats(2.0**-31, 2.0**20))
def test_a_quantized_multiplier_is_the_nearest_with_31_bits(real: float) -> None:
    multiplier, shift = quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    exact = Fraction(real) * Fraction(2) ** (31 - shift)
    assert abs(exact - multiplier) <= Fraction(1, 2) or multiplier == 2**30


def test_quantized_multipliers_of_known_values() -> None:
    assert quantize_multiplier(0.5) == (2**30, 0)
    assert quantize_multiplier(1.0) == (2**30, 1)
    assert quantize_multiplier(0.0) == (0, 0)
    assert quantize_multiplier(2.0**-40) == (0, 0)
    assert quantize_multiplier(1.0 - 2.0**-40) == (2**30, 1)


@given(st.floats(2.0**-31, 2.0**20))
def test_a_negative_scale_gives_the_negated_multiplier(real: float) -> None:
    multiplier, shift = quantize_multiplier(real)
    negative, negative_shift = quantize_multiplier(-real)
    assert Fraction(negative) * Fraction(2) ** negative_shift == -Fraction(multiplier) * Fraction(2) ** shift


@pytest.mark.parametrize("real", [float("nan"), float("inf"), float("-inf")])
def test_a_multiplier_that_is_no_scale_is_refused(real: float) -> None:
    with pytest.raises(ValueError, match="multiplier"):
        quantize_multiplier(real)


@given(INT32, INT32)
def test_the_high_product_rounds_halves_up_and_saturates(a: int, b: int) -> None:
    result = int(saturating_rounding_doubling_high_multiply(a, b))
    exact = floor(Fraction(a * b, 2**31) + Fraction(1, 2))
    assert result == min(exact, 2**31 - 1)


def test_the_one_product_that_overflows_saturates() -> None:
    assert int(saturating_rounding_doubling_high_multiply(-(2**31), -(2**31))) == 2**31 - 1


@given(INT32, st.integers(0, 31))
def test_a_rounding_shift_rounds_halves_away_from_zero(value: int, exponent: int) -> None:
    assert int(rounding_divide_by_power_of_two(value, exponent)) == half_away(Fraction(value, 2**exponent))


@given(st.integers(-(2**20), 2**20), st.integers(2**30, 2**31 - 1), st.integers(-31, 10))
def test_a_quantized_product_is_within_one_of_the_exact_one(value: int, multiplier: int, shift: int) -> None:
    result = int(multiply_by_quantized_multiplier(value, multiplier, shift))
    exact = value * Fraction(multiplier) * Fraction(2) ** (shift - 31)
    assert abs(result - exact) <= 1


def test_arrays_broadcast_multipliers_over_the_last_axis() -> None:
    values = np.arange(-6, 6).reshape(2, 2, 3) * 1000
    result = multiply_by_quantized_multiplier(values, np.array([2**30, 2**30, 2**30]), np.array([1, 0, -1]))
    np.testing.assert_array_equal(result[..., 0], values[..., 0])
    np.testing.assert_array_equal(result[..., 2], values[..., 2] // 4)
