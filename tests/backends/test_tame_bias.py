"""Huge biases of dead channels are made smaller only where no output changes."""

from __future__ import annotations

import numpy as np
import pytest

from tinyc.backends.cortexm.kernels.output_stage import accumulator_bound
from tinyc.backends.cortexm.lower_window import tame_bias, with_positive_factors
from tinyc.backends.cortexm.lowered import CannotLower
from tinyc.numerics.profile import Profile
from tinyc.numerics.requantize import channel_requantization

WEIGHTS = np.array([[1, -2, 3], [100, 100, -100]], np.int8)


def requantization(profile: Profile, scale: float = 0.01):  # type: ignore[no-untyped-def]
    return channel_requantization(profile, 0.5, np.array([scale, scale], np.float32), 0.5, 3, -128, 127)


@pytest.mark.parametrize("profile", [Profile.LITERT, Profile.TFLM])
@pytest.mark.parametrize("huge", [2**30, 2**31 - 4096, -(2**30), -(2**31) + 4096])
def test_a_huge_bias_becomes_one_with_the_same_outputs_and_no_overflow(profile: Profile, huge: int) -> None:
    bias = np.array([huge, 17], np.int32)
    plan = requantization(profile)
    tamed = tame_bias(WEIGHTS, bias, -5, plan)
    assert tamed is not None
    assert tamed[1] == 17
    assert tamed[0] != huge
    assert accumulator_bound(WEIGHTS, tamed, -5) < 2**30
    inputs = np.random.default_rng(0).integers(-128, 128, (500, 3))
    sums = (inputs + 5) @ WEIGHTS.astype(np.int64).T
    np.testing.assert_array_equal(plan.apply(sums + tamed.astype(np.int64)), plan.apply(sums + bias.astype(np.int64)))


@pytest.mark.parametrize("profile", [Profile.LITERT, Profile.TFLM])
def test_ordinary_biases_stay(profile: Profile) -> None:
    bias = np.array([2**20, -(2**20)], np.int32)
    np.testing.assert_array_equal(tame_bias(WEIGHTS, bias, 4, requantization(profile)), bias)
    assert tame_bias(WEIGHTS, None, 4, requantization(profile)) is None


@pytest.mark.parametrize("bias", [2**31 - 1, -(2**31)])
def test_a_bias_with_which_the_reference_itself_would_overflow_is_refused_where_that_shows(bias: int) -> None:
    with pytest.raises(CannotLower, match="32-bit accumulators could overflow"):
        tame_bias(WEIGHTS, np.array([bias, 0], np.int32), 4, requantization(Profile.TFLM))


def test_a_huge_bias_that_can_be_seen_is_refused() -> None:
    with pytest.raises(CannotLower, match="32-bit accumulators could overflow"):
        tame_bias(WEIGHTS, np.array([2**30, 0], np.int32), 4, requantization(Profile.LITERT, 2.0**-31))


@pytest.mark.parametrize("axis", [0, 3])
def test_negative_factors_become_positive_without_changing_an_output(axis: int) -> None:
    random = np.random.default_rng(3)
    weights = random.integers(-127, 128, (4, 1, 5, 4)).astype(np.int8)
    weights[np.s_[3] if axis == 0 else np.s_[..., 3]].flat[0] = -128
    bias = np.array([5, -900, 2**31 - 1, 7], np.int32)
    scales = np.array([-0.01, 0.02, -0.03, -0.01], np.float32)
    plan = channel_requantization(Profile.LITERT, 0.5, scales, 0.5, 3, -128, 127)
    changed, changed_bias, positive = with_positive_factors(weights, bias, plan, axis)
    assert changed_bias is not None
    # The last channel holds -128, which has no negative in int8.
    assert (positive.multipliers > 0).tolist() == [True, True, True, False]
    matrices = [np.moveaxis(values, axis, 0).reshape(4, -1).astype(np.int64) for values in (weights, changed)]
    inputs = random.integers(-128, 128, (500, matrices[0].shape[1]))
    for channel, small in enumerate((5, -900, 11, 7)):
        single = np.zeros((500, 4), dtype=np.int64)
        single[:, channel] = inputs @ matrices[0][channel] + small
        negated = np.zeros((500, 4), dtype=np.int64)
        sign = -1 if changed_bias[channel] != bias[channel] else 1
        negated[:, channel] = inputs @ matrices[1][channel] + sign * small
        np.testing.assert_array_equal(positive.apply(negated)[:, channel], plan.apply(single)[:, channel])


def test_without_negative_factors_nothing_changes() -> None:
    plan = requantization(Profile.LITERT)
    weights, bias, same = with_positive_factors(WEIGHTS, None, plan, 0)
    assert weights is WEIGHTS
    assert bias is None
    assert same is plan
