"""The profiles are different arithmetics: the comparisons with LiteRT must be able to tell them apart."""

from __future__ import annotations

import numpy as np
import pytest

from support.numeric_cases import CASES
from tinyc.numerics.activation import activation_bounds
from tinyc.numerics.profile import Profile

MODELS = {"ADD": 60, "MUL": 60, "MEAN": 150, "SOFTMAX": 400, "QUANTIZE": 10, "CONV_2D": 200, "DEPTHWISE_CONV_2D": 200}


@pytest.mark.parametrize("op", MODELS)
def test_random_models_tell_the_profiles_apart(op: str) -> None:
    random = np.random.default_rng(6)
    different = 0
    for _ in range(MODELS[op]):
        expected = CASES[op](random).expected
        if len(expected) == 2:
            different += int(np.count_nonzero(expected[Profile.LITERT] != expected[Profile.TFLM]))
    assert different > 0


@pytest.mark.parametrize(
    ("activation", "scale", "zero_point", "litert", "tflm"),
    [
        ("none", 0.1, 3, (-128, 127), (-128, 127)),
        ("relu", 0.1, -5, (-5, 127), (-5, 127)),
        ("relu6", 4.0, 0, (0, 2), (0, 2)),
        ("relu6", 12.0, 0, (0, 0), (0, 1)),
        ("relu6", 12.0, 1, (1, 2), (1, 2)),
        ("relu_n1_to_1", 2.0, 0, (0, 0), (-1, 1)),
    ],
)
def test_activation_bounds_round_ties_as_the_profile_does(
    activation: str, scale: float, zero_point: int, litert: tuple[int, int], tflm: tuple[int, int]
) -> None:
    assert activation_bounds(activation, scale, zero_point, Profile.LITERT) == litert
    assert activation_bounds(activation, scale, zero_point, Profile.TFLM) == tflm


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="known: none, relu"):
        activation_bounds("tanh", 0.1, 0)
