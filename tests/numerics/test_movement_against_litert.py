"""Ops that move, resize, compare and join elements: the imported model against LiteRT's default and reference resolvers."""

from __future__ import annotations

import numpy as np
import pytest

from support.movement_cases import MOVEMENT_CASES
from support.numeric_cases import RESOLVERS
from tinyc.frontends.tflite import import_tflite
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile
from tinyc.numerics.resize import nearest_indices

MODELS = 100


@pytest.fixture(autouse=True)
def _litert() -> None:
    pytest.importorskip("ai_edge_litert")


@pytest.mark.parametrize("op", MOVEMENT_CASES)
def test_outputs_of_random_models_equal_litert_in_both_profiles(op: str) -> None:
    from support.tflite_builder import run_litert

    random = np.random.default_rng(31)
    for _ in range(MODELS):
        case = MOVEMENT_CASES[op](random)
        module = import_tflite(case.model, case.name)
        for profile, resolver in RESOLVERS.items():
            expected = run_litert(case.model, case.inputs, resolver=resolver)
            outputs = evaluate(module, list(case.inputs), profile)
            assert len(outputs) == len(expected)
            for output, wanted in zip(outputs, expected, strict=True):
                assert output.dtype == wanted.dtype
                np.testing.assert_array_equal(output, wanted, err_msg=f"{profile.value}: {case.name}", strict=True)


@pytest.mark.parametrize("op", ["CONV_2D grouped", "TRANSPOSE_CONV", "RESIZE_BILINEAR"])
def test_random_models_tell_the_profiles_apart(op: str) -> None:
    random = np.random.default_rng(7)
    different = 0
    for _ in range(100):
        case = MOVEMENT_CASES[op](random)
        module = import_tflite(case.model, case.name)
        litert, tflm = (evaluate(module, list(case.inputs), profile)[0] for profile in (Profile.LITERT, Profile.TFLM))
        different += int(np.count_nonzero(litert != tflm))
    assert different > 0


def test_nearest_neighbours_differ_between_the_profiles_at_some_sizes() -> None:
    different = [
        (size, outputs)
        for size in range(1, 60)
        for outputs in range(1, 300, 7)
        if (
            nearest_indices(Profile.LITERT, size, outputs, False, False) != nearest_indices(Profile.TFLM, size, outputs, False, False)
        ).any()
    ]
    assert different
