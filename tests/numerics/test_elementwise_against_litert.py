"""Imported and interpreted one-op models of the element-wise ops against the installed LiteRT."""

from __future__ import annotations

import numpy as np
import pytest

from support.elementwise_cases import CASES, WITHOUT_STAND_IN, interpreted, shifted
from support.numeric_cases import RESOLVERS
from tinyc.numerics.profile import Profile

MODELS = 100
COMPARABLE = [(op, profile) for op in CASES for profile in RESOLVERS if profile is Profile.LITERT or op not in WITHOUT_STAND_IN]


@pytest.fixture(autouse=True)
def _litert() -> None:
    pytest.importorskip("ai_edge_litert")


@pytest.mark.parametrize(("op", "profile"), COMPARABLE)
def test_outputs_of_random_models_equal_litert(op: str, profile: Profile) -> None:
    from support.tflite_builder import run_litert

    random = np.random.default_rng(21)
    for _ in range(MODELS):
        case = CASES[op](random)
        (actual,) = run_litert(case.model, case.inputs, resolver=RESOLVERS[profile])
        expected = interpreted(case, profile)
        np.testing.assert_array_equal(actual, shifted(expected) if actual.dtype == np.uint8 else expected, err_msg=case.name)


@pytest.mark.parametrize("op", ["ELU", "LEAKY_RELU", "QUANTIZE int8", "SUB"])
def test_the_random_models_tell_the_profiles_apart(op: str) -> None:
    random = np.random.default_rng(22)
    different = 0
    for _ in range(30):
        case = CASES[op](random)
        different += int(np.count_nonzero(interpreted(case, Profile.LITERT) != interpreted(case, Profile.TFLM)))
    assert different > 0
