"""Winograd bodies against a numpy accumulator and the numerics' requantisation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from kernels.test_conv import accumulate
from support.kernel_harness import Case
from support.requantizations import random_requantization
from tinyc.backends.cortexm.kernels.base import Table
from tinyc.backends.cortexm.kernels.conv import ConvSpec, pack, unpack
from tinyc.backends.cortexm.kernels.output_stage import OutputForm, channel_table, plan_output_stage
from tinyc.backends.cortexm.kernels.winograd import WinogradSpec, pack_weights, sums_fit, transform_weights, winograd_spec
from tinyc.numerics.profile import Profile

Int8 = npt.NDArray[np.int8]


def random_case(random: np.random.Generator, profile: Profile) -> Case:
    depth, channels = 4 * int(random.choice([1, 1, 2, 3, 5, 8])), 4 * int(random.choice([1, 2, 3]))
    output_rows, tiles, pad = int(random.choice([1, 2])), int(random.choice([1, 2])), int(random.choice([0, 1, 1, 1, 2]))
    output_width = int(random.integers(1, 18))
    # Inputs that end before, at and behind the last column under the kernel.
    input_width = max(1, output_width + 2 - pad - int(random.integers(-2, 3)))
    zero_point = int(random.choice([-128, 127, 0, int(random.integers(-128, 128))]))
    extreme = random.random() < 0.2
    values = [-128, 127] if extreme else list(range(-128, 128))
    weights = random.choice([-127, 127] if extreme else list(range(-127, 128)), (channels, 3, 3, depth)).astype(np.int8)
    rows: list[Int8 | None] = [random.choice(values, (input_width, depth)).astype(np.int8) for _ in range(output_rows + 2)]
    for y in range(len(rows)):
        if random.random() < 0.2:
            rows[y] = None
    bias = random.integers(-3000, 3000, channels).astype(np.int32) if random.random() < 0.8 else None
    sums = [accumulate(rows[y : y + 3], weights, zero_point, output_width, 1, 1, pad) for y in range(output_rows)]
    accumulators = np.stack(sums) + (0 if bias is None else bias)
    requantization = random_requantization(random, profile, accumulators, coarse=random.random() < 0.15)
    matrix = weights.reshape(channels, -1)
    stage = plan_output_stage(requantization, matrix, bias, zero_point, integer=random.random() < 0.7)
    assert sums_fit(weights, output_rows)
    spec = WinogradSpec(stage, input_width, depth, output_width, channels, zero_point, pad, output_rows, tiles)
    tables = Table("weights", "uint32_t", pack_weights(spec, weights)), channel_table(stage, requantization, matrix, bias, zero_point)
    return Case(spec, tables, rows, requantization.apply(accumulators))


def random_cases(seed: int, count: int) -> list[Case]:
    random = np.random.default_rng(seed)
    return [random_case(random, Profile.LITERT if index % 2 else Profile.TFLM) for index in range(count)]


def test_random_cases_cover_every_output_form_both_transforms_and_every_remainder() -> None:
    specs = [case.spec for case in random_cases(0, 60)]
    assert {spec.output_stage.form for spec in specs if isinstance(spec, WinogradSpec)} == set(OutputForm)
    rests = {(spec.output_rows, spec.tiles, spec.output_width % spec.group_columns) for spec in specs if isinstance(spec, WinogradSpec)}
    assert rests == {(rows, tiles, rest) for rows in (1, 2) for tiles in (1, 2) for rest in range(2 * tiles)}


@pytest.mark.parametrize("output_rows", [1, 2])
def test_transformed_weights_are_integers_of_int16_at_their_extremes(output_rows: int) -> None:
    weights = np.full((4, 3, 3, 4), -127, dtype=np.int8)
    assert np.abs(transform_weights(weights, output_rows)).max() == 127 * (3 if output_rows == 1 else 9)


def test_layers_whose_sums_could_overflow_are_told_apart() -> None:
    weights = np.full((4, 3, 3, 1000), 127, dtype=np.int8)
    assert sums_fit(weights, 1)
    assert not sums_fit(weights, 2)


@pytest.mark.parametrize("depth", [1, 3, 4, 7, 10])
def test_the_weights_come_back_out_of_a_table_of_a_convolution(depth: int) -> None:
    random = np.random.default_rng(depth)
    weights = random.integers(-127, 128, (5, 3, 2, depth)).astype(np.int8)
    requantization = random_requantization(random, Profile.LITERT, random.integers(-9999, 9999, (50, 5)))
    stage = plan_output_stage(requantization, weights.reshape(5, -1), None, 3)
    spec = ConvSpec(stage, 8, depth, 7, 5, 3, 2, 3)
    assert np.array_equal(unpack(spec, pack(spec, weights, None, requantization)[0].values), weights)


def test_other_shapes_have_no_such_form() -> None:
    stage = random_cases(0, 1)[0].spec.output_stage  # type: ignore[attr-defined]
    for changes in ({"kernel_width": 1}, {"stride_width": 2}, {"dilation_width": 2}, {"input_channels": 6}, {"output_channels": 6}):
        sizes = {"input_width": 8, "input_channels": 8, "output_width": 8, "output_channels": 8, "kernel_height": 3, "kernel_width": 3}
        assert winograd_spec(ConvSpec(stage, **{**sizes, **changes}, input_zero_point=0, pad_left=1), 1) is None
    assert winograd_spec(ConvSpec(stage, **sizes, input_zero_point=0, pad_left=1), 2) is not None
