"""Imported and interpreted one-op models of the element-wise ops against the installed LiteRT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from support.elementwise_cases import CASES, ModelCase, shifted
from support.numeric_cases import RESOLVERS
from tinyc.frontends.tflite import import_tflite
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile

MODELS = 100
WITHOUT_STAND_IN = {"ABS", "ELU", "LEAKY_RELU", "LOGISTIC", "PRELU", "RELU", "TANH"}
"""Ops for which LiteRT's reference kernels are absent or not TFLM's; test_recorded_tflm.py compares those with recorded TFLM outputs."""
COMPARABLE = [(op, profile) for op in CASES for profile in Profile if profile is Profile.LITERT or op not in WITHOUT_STAND_IN]


@pytest.fixture(autouse=True)
def _litert() -> None:
    pytest.importorskip("ai_edge_litert")


def interpreted(case: ModelCase, profile: Profile) -> npt.NDArray[np.int8]:
    """tinyc's output; uint8 inputs are given as the int8 that they become."""
    module = import_tflite(case.model, "case")
    inputs = [(values ^ np.uint8(128)).view(np.int8) if values.dtype == np.uint8 else values for values in case.inputs]
    (output,) = evaluate(module, inputs, profile)
    return output


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
