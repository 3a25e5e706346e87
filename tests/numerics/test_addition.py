"""The proved one-shift addition against the rules that it replaces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyc.numerics.addition import FixedPointAddition, ShiftedAddition, addition_plan, equivalent_shifted_addition
from tinyc.numerics.profile import Profile

ZERO_POINTS = st.integers(-128, 127)
RATIOS = st.one_of(st.floats(0.05, 3.0), st.sampled_from([0.5, 1.0, 2.0, 31 / 60]))
A, B = np.meshgrid(np.arange(-128, 128, dtype=np.int8), np.arange(-128, 128, dtype=np.int8))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(Profile)), RATIOS, RATIOS, ZERO_POINTS, ZERO_POINTS, ZERO_POINTS, st.sampled_from([(-128, 127), (-20, 100)]))
def test_a_shifted_addition_equals_the_rule_on_all_pairs_and_fits_int32(
    profile: Profile, first: float, second: float, first_zero: int, second_zero: int, zero: int, bounds: tuple[int, int]
) -> None:
    plan = addition_plan(profile, (0.1 * first, 0.1 * second), (first_zero, second_zero), 0.1, zero, *bounds)
    found = equivalent_shifted_addition(plan)
    if found is not None:
        assert found.fits_int32
        assert found.zero_point == 0
        np.testing.assert_array_equal(found.apply(A, B), plan.apply(A, B))


def test_nearly_all_random_scales_have_a_shifted_addition() -> None:
    random = np.random.default_rng(3)
    found = 0
    for index in range(40):
        scales = 0.1 * 2.0 ** random.uniform(-3, 1, 2)
        zero_points = random.integers(-128, 128, 3)
        plan = addition_plan(
            list(Profile)[index % 2],
            (float(scales[0]), float(scales[1])),
            (int(zero_points[0]), int(zero_points[1])),
            0.1,
            int(zero_points[2]),
            -128,
            127,
        )
        found += equivalent_shifted_addition(plan) is not None
    assert found >= 38


@pytest.mark.parametrize(
    ("ratio", "kind"), [(2.0**-10, ShiftedAddition), (2.0**-10 * 0.999, FixedPointAddition), (256.0, FixedPointAddition)]
)
def test_litert_leaves_xnnpack_where_a_scale_ratio_leaves_its_range(ratio: float, kind: type) -> None:
    assert isinstance(addition_plan(Profile.LITERT, (0.01 * ratio, 0.01), (0, 0), 0.01, 0, -128, 127), kind)


def test_tflm_always_adds_in_fixed_point() -> None:
    assert isinstance(addition_plan(Profile.TFLM, (0.1, 0.2), (0, 0), 0.3, 0, -128, 127), FixedPointAddition)
