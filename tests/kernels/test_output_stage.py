"""The choice of requantisation and the proofs behind its integer forms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tinyc.backends.cortexm.kernels.output_stage import OutputForm, OutputStage, channel_table, plan_output_stage
from tinyc.numerics.integer_requantization import (
    FRACTION_BITS,
    IntegerRequantization,
    largest_shift,
    prove_integer_requantization,
    thresholds,
)
from tinyc.numerics.profile import Profile
from tinyc.numerics.requantize import ChannelRequantization, channel_requantization


def requantization(profile: Profile, scales: npt.ArrayLike, zero_point: int = 5) -> ChannelRequantization:
    return channel_requantization(profile, 1.0, np.asarray(scales, dtype=np.float32), 1.0, zero_point, -128, 127)


Integers = npt.NDArray[np.int64]
PROFILES = [Profile.LITERT, Profile.TFLM]


def proof(rule: ChannelRequantization, low: Integers, high: Integers) -> IntegerRequantization:
    shift = largest_shift(rule, low != high, FRACTION_BITS)
    assert shift is not None
    return prove_integer_requantization(rule, low, high, shift, FRACTION_BITS)


def outputs_of(constants: IntegerRequantization, accumulators: Integers) -> Integers:
    """What the kernels compute from accumulators (..., C), before clamping; every intermediate value must fit int32."""
    starts = (accumulators << constants.fraction_bits) + constants.starts
    assert np.abs(starts[..., constants.proved]).max() < 2**31
    return ((starts * constants.multipliers.astype(np.int64)) >> 32) >> constants.shift


@pytest.mark.parametrize("profile", PROFILES)
def test_a_proved_channel_equals_the_rule_on_every_accumulator(profile: Profile) -> None:
    random = np.random.default_rng(1)
    # The roundings of tflm have a straight line only where the lower bound hides negative sums.
    rule = requantization(profile, 10.0 ** random.uniform(-3.0, -1.5, 24), 5 if profile is Profile.LITERT else -128)
    bound = random.integers(5_000, 60_000, 24)
    constants = proof(rule, -bound, bound)
    assert constants.proved.sum() >= (18 if profile is Profile.LITERT else 23)
    for channel in np.flatnonzero(constants.proved):
        accumulators = np.arange(-bound[channel], bound[channel] + 1, dtype=np.int64)
        everywhere = np.zeros((accumulators.size, 24), dtype=np.int64)
        everywhere[:, channel] = accumulators
        outputs = outputs_of(constants, everywhere)[:, channel]
        assert np.array_equal(np.clip(outputs, -128, 127), rule.apply(everywhere)[:, channel])


def test_negative_sums_of_the_fixed_point_rule_have_no_proof() -> None:
    rule = requantization(Profile.TFLM, np.linspace(0.001, 0.01, 8))
    bound = np.full(8, 60_000)
    assert not proof(rule, -bound, bound).proved.any()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_channel_whose_accumulators_reach_few_steps_or_none_still_gives_the_right_level(profile: Profile) -> None:
    random = np.random.default_rng(3)
    rule = requantization(profile, random.uniform(0.001, 0.02, 60), -128)
    low = random.integers(-10_000, 10_000, 60)
    high = low + random.choice([0, 1, 30, 400], 60)
    constants = proof(rule, low, high)
    assert 2 * constants.proved.sum() > 60
    assert constants.proved[low == high].all()
    for accumulators in (low, high, (low + high) // 2):
        outputs = outputs_of(constants, accumulators[None])[0]
        expected = rule.apply(accumulators[None])[0]
        assert np.array_equal(np.clip(outputs, -128, 127)[constants.proved], expected[constants.proved])


def test_most_channels_of_a_usual_layer_have_a_proof() -> None:
    random = np.random.default_rng(2)
    rule = requantization(Profile.LITERT, random.uniform(0.0005, 0.004, 200))
    high = random.integers(50_000, 400_000, 200)
    assert proof(rule, -high, high).proved.mean() > 0.8


def test_thresholds_are_where_bisection_over_all_accumulators_finds_them() -> None:
    random = np.random.default_rng(7)
    for profile in PROFILES:
        rule = requantization(profile, 10.0 ** random.uniform(-4.0, 0.5, 30), int(random.integers(-128, 128)))
        low = random.integers(-3_000, 0, 30)
        high = low + random.integers(0, 6_000, 30)
        levels = np.arange(-127, 128, dtype=np.int64)[None, :]
        found = thresholds(rule, low[:, None], high[:, None], levels)
        for channel in range(30):
            accumulators = np.arange(low[channel], high[channel] + 1)
            everywhere = np.zeros((accumulators.size, 30), dtype=np.int64)
            everywhere[:, channel] = accumulators
            outputs = rule.apply(everywhere)[:, channel]
            expected = low[channel] + np.searchsorted(outputs, levels[0], side="left")
            assert np.array_equal(found[channel], expected)


def test_a_factor_that_leaves_no_shift_has_no_integer_form() -> None:
    live = np.ones(2, dtype=np.bool_)
    assert largest_shift(requantization(Profile.LITERT, [0.01, 64.0]), live, FRACTION_BITS) is None
    assert largest_shift(requantization(Profile.LITERT, [0.01, 0.5]), live, 0) is None


@pytest.mark.parametrize(
    ("profile", "scales", "integer", "form"),
    [
        (Profile.LITERT, [0.01, 0.02], False, OutputForm.FLOAT),
        (Profile.LITERT, [90.0, 150.0], True, OutputForm.FLOAT),
        (Profile.TFLM, [0.01, 0.02], False, OutputForm.SHIFT),
        (Profile.TFLM, [0.01, 0.02], True, OutputForm.SHIFT),
        (Profile.TFLM, [0.01, 1.5], True, OutputForm.GENERAL),
        (Profile.TFLM, [0.01, 0.7], True, OutputForm.GENERAL),
    ],
)
def test_the_form_follows_from_profile_and_scales(profile: Profile, scales: list[float], integer: bool, form: OutputForm) -> None:
    weights = np.full((2, 9), 100, dtype=np.int8)
    assert plan_output_stage(requantization(profile, scales), weights, None, 0, integer=integer).form is form


def test_a_stage_of_the_other_profile_is_refused() -> None:
    weights = np.ones((1, 4), dtype=np.int8)
    with pytest.raises(ValueError, match="profile"):
        channel_table(OutputStage(OutputForm.SHIFT, 5, -128, 127), requantization(Profile.LITERT, [0.01]), weights, None, 0)


def test_other_bounds_than_the_spec_s_are_refused() -> None:
    weights = np.ones((1, 4), dtype=np.int8)
    with pytest.raises(ValueError, match="bounds"):
        channel_table(OutputStage(OutputForm.FLOAT, 5, 0, 127), requantization(Profile.LITERT, [0.01]), weights, None, 0)


def test_a_channel_with_a_constant_output_does_not_need_the_general_form() -> None:
    random = np.random.default_rng(4)
    weights = random.integers(-127, 128, (5, 9)).astype(np.int8)
    weights[1:] = 0
    bias = np.array([50, -3000, 7, 2**29, -(2**29)], dtype=np.int32)
    rule = requantization(Profile.TFLM, [0.01, 1.5, 1e-9, 0.7, 1e-8])
    stage = plan_output_stage(rule, weights, bias, 0, integer=False)
    assert stage.form is OutputForm.SHIFT
    table = channel_table(stage, rule, weights, bias, 0).values
    for channel in range(5):
        reach = 128 * int(np.abs(weights[channel].astype(np.int64)).sum())
        accumulators = np.arange(-reach, reach + 1, dtype=np.int64) + int(bias[channel])
        product = (2 * accumulators * int(table["multiplier"][channel]) + 2**31) >> 32
        outputs = (product + (product >> 31) + int(table["offset"][channel])) >> int(table["shift"][channel])
        everywhere = np.zeros((accumulators.size, 5), dtype=np.int64)
        everywhere[:, channel] = accumulators
        assert np.array_equal(np.clip(outputs, -128, 127), rule.apply(everywhere)[:, channel])


@pytest.mark.parametrize(("scale", "form"), [(1.5 * 2.0**-24, OutputForm.SHIFT), (1.5 * 2.0**-27, OutputForm.GENERAL)])
def test_large_right_shifts_are_exact_where_their_offset_fits(scale: float, form: OutputForm) -> None:
    weights = np.full((1, 9), 100, dtype=np.int8)
    between_two_levels = np.array([int(2.5 / scale)], dtype=np.int32)
    rule = requantization(Profile.TFLM, [scale], zero_point=-128)
    assert plan_output_stage(rule, weights, between_two_levels, 0, integer=False).form is form


def test_channels_without_weights_need_no_proof_of_their_bias() -> None:
    weights = np.zeros((3, 4), dtype=np.int8)
    weights[0] = 100
    bias = np.array([50, 2**29, -(2**29)], dtype=np.int32)
    rule = requantization(Profile.LITERT, [0.0137, 0.02, 0.03])
    stage = plan_output_stage(rule, weights, bias, 0)
    assert stage.form is OutputForm.INTEGER
    table = channel_table(stage, rule, weights, bias, 0).values
    outputs = (table["bias"].astype(np.int64) * table["multiplier"] >> 32) >> stage.shift
    assert np.clip(outputs, -128, 127)[1:].tolist() == [127, -128]


def test_channels_without_a_proof_carry_their_scale() -> None:
    random = np.random.default_rng(8)
    weights = random.integers(-127, 128, (64, 500)).astype(np.int8)
    rule = requantization(Profile.LITERT, random.uniform(0.0002, 0.0008, 64))
    stage = plan_output_stage(rule, weights, None, 0)
    assert stage.form is OutputForm.MIXED
    factors = channel_table(stage, rule, weights, None, 0).values["multiplier"]
    unproved = factors < 0
    assert 0 < unproved.sum() < 32
    scales = -factors[unproved].view(np.float32) * np.float32(2.0**stage.fraction_bits)
    assert np.array_equal(scales, rule.scales[unproved])
