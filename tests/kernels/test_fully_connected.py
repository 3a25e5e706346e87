"""Fully connected bodies, whole and row by row, against a numpy accumulator and the numerics' requantisation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from support.kernel_harness import Case
from support.requantizations import random_requantization
from tinyc.backends.cortexm.kernels.fully_connected import FullyConnectedReductionSpec, FullyConnectedSpec, pack
from tinyc.backends.cortexm.kernels.output_stage import OutputForm, accumulator_bound, plan_output_stage
from tinyc.numerics.profile import Profile


def random_case(random: np.random.Generator, profile: Profile, reduction: bool) -> Case:
    outputs = int(random.choice([1, 2, 3, 4, 5, 7, 8, 10]))
    length = int(random.choice([1, 2, 3, 4, 5, 7, 16, 30, 33, 47, 64, 70]))
    rows = int(random.integers(1, 5))
    inputs = length * rows if reduction else length
    zero_point = int(random.choice([-128, 127, 0, int(random.integers(-128, 128))]))
    extreme = random.random() < 0.2
    weights = random.choice([-127, 127] if extreme else list(range(-128, 128)), (outputs, inputs)).astype(np.int8)
    values = random.choice([-128, 127] if extreme else list(range(-128, 128)), (rows, length)).astype(np.int8)
    bias = random.integers(-3000, 3000, outputs).astype(np.int32) if random.random() < 0.8 else None
    vectors = values.reshape(1, -1) if reduction else values
    sums = (vectors.astype(np.int64) - zero_point) @ weights.T.astype(np.int64) + (0 if bias is None else bias)
    requantization = random_requantization(
        random, profile, sums if len(sums) > 1 else np.stack([sums[0], -sums[0]]), coarse=random.random() < 0.15
    )
    if random.random() < 0.4:
        requantization = dataclasses.replace(
            requantization,
            scales=np.full_like(requantization.scales, requantization.scales[0]),
            multipliers=np.full_like(requantization.multipliers, requantization.multipliers[0]),
            shifts=np.full_like(requantization.shifts, requantization.shifts[0]),
        )
    stage = plan_output_stage(requantization, weights, bias, zero_point, integer=random.random() < 0.7)
    if reduction:
        spec = FullyConnectedReductionSpec(stage, outputs, zero_point, length, rows)
        return Case(spec, pack(spec, weights, bias, requantization), list(values), requantization.apply(sums))
    whole = FullyConnectedSpec(stage, outputs, zero_point, length, rows)
    return Case(whole, pack(whole, weights, bias, requantization), values, requantization.apply(sums))


def random_cases(seed: int, count: int) -> list[Case]:
    random = np.random.default_rng(seed)
    return [random_case(random, Profile.LITERT if index % 2 else Profile.TFLM, index % 4 < 2) for index in range(count)]


def test_random_cases_cover_every_output_form() -> None:
    specs = [case.spec for case in random_cases(0, 60) + random_cases(1, 60)]
    for kind in (FullyConnectedSpec, FullyConnectedReductionSpec):
        assert {spec.output_stage.form for spec in specs if isinstance(spec, kind)} == set(OutputForm)


def test_accumulator_bound_is_reached_by_the_worst_input() -> None:
    weights = np.array([[-127, 127, 5]], dtype=np.int8)
    assert accumulator_bound(weights, np.array([100], np.int32)) == 128 * 259 + 100


def test_accumulators_that_could_overflow_are_refused() -> None:
    weights = np.full((1, 70_000), 127, dtype=np.int8)
    requantization = random_requantization(np.random.default_rng(0), Profile.LITERT, np.ones((1, 1)))
    with pytest.raises(ValueError, match="2\\*\\*30"):
        plan_output_stage(requantization, weights, None, 0)
