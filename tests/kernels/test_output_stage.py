"""The choice of requantisation and the proofs behind its integer forms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tinyc.backends.cortexm.kernels.output_stage import OutputForm, OutputStage, channel_table, plan_output_stage
from tinyc.numerics.integer_requantization import largest_shift, prove_integer_requantization
from tinyc.numerics.profile import Profile
from tinyc.numerics.requantize import ChannelRequantization, channel_requantization


def requantization(profile: Profile, scales: npt.ArrayLike, zero_point: int = 5) -> ChannelRequantization:
    return channel_requantization(profile, 1.0, np.asarray(scales, dtype=np.float32), 1.0, zero_point, -128, 127)


LEVELS = (-133, 122)


def test_a_proved_channel_equals_the_rule_on_every_accumulator() -> None:
    random = np.random.default_rng(1)
    rule = requantization(Profile.LITERT, 10.0 ** random.uniform(-3.0, -1.5, 24))
    bound = random.integers(5_000, 60_000, 24)
    shift = largest_shift(rule.scales)
    assert shift is not None
    constants = prove_integer_requantization(rule.scales, -bound, bound, LEVELS, shift)
    assert 2 * constants.proved.sum() > 24
    for channel in np.flatnonzero(constants.proved):
        accumulators = np.arange(-bound[channel], bound[channel] + 1, dtype=np.int64)
        everywhere = np.zeros((accumulators.size, 24), dtype=np.int64)
        everywhere[:, channel] = accumulators
        high = (accumulators * int(constants.multipliers[channel])) >> 32
        outputs = ((high + int(constants.offsets[channel])) >> shift) + rule.zero_point
        assert np.array_equal(np.clip(outputs, -128, 127), rule.apply(everywhere)[:, channel])


def test_a_channel_whose_accumulators_reach_few_steps_or_none_still_gives_the_right_level() -> None:
    random = np.random.default_rng(3)
    rule = requantization(Profile.LITERT, random.uniform(0.001, 0.02, 60))
    low = random.integers(-10_000, 10_000, 60)
    high = low + random.choice([0, 1, 30, 400], 60)
    shift = largest_shift(rule.scales)
    assert shift is not None
    constants = prove_integer_requantization(rule.scales, low, high, LEVELS, shift)
    assert 2 * constants.proved.sum() > 60
    for accumulators in (low, high, (low + high) // 2):
        outputs = ((((accumulators * constants.multipliers) >> 32) + constants.offsets) >> shift) + rule.zero_point
        expected = rule.apply(accumulators[None])[0]
        assert np.array_equal(np.clip(outputs, -128, 127)[constants.proved], expected[constants.proved])


def test_most_channels_of_a_usual_layer_have_a_proof() -> None:
    random = np.random.default_rng(2)
    scales = random.uniform(0.0005, 0.004, 200).astype(np.float32)
    high = random.integers(50_000, 400_000, 200)
    shift = largest_shift(scales)
    assert shift is not None
    assert prove_integer_requantization(scales, -high, high, LEVELS, shift).proved.mean() > 0.8


def test_scales_from_one_quarter_on_have_no_integer_form() -> None:
    assert largest_shift(np.array([0.01, 0.25], dtype=np.float32)) is None


@pytest.mark.parametrize(
    ("profile", "scales", "integer", "form"),
    [
        (Profile.LITERT, [0.01, 0.02], False, OutputForm.FLOAT),
        (Profile.LITERT, [0.9, 1.5], True, OutputForm.FLOAT),
        (Profile.TFLM, [0.01, 0.02], False, OutputForm.SHIFT),
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
    stage = plan_output_stage(rule, weights, bias, 0)
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
    assert plan_output_stage(requantization(Profile.TFLM, [scale], zero_point=-128), weights, between_two_levels, 0).form is form
