"""Every op's numerics against the installed LiteRT: `litert` against its default resolver, `tflm` against its reference kernels."""

from __future__ import annotations

import numpy as np
import pytest

from support.numeric_cases import CASES, RESOLVERS
from tinyc.numerics.profile import Profile

MODELS = 100
COMPARABLE = [(op, profile) for op in CASES for profile in RESOLVERS if (op, profile) != ("FULLY_CONNECTED", Profile.TFLM)]


@pytest.fixture(autouse=True)
def _litert() -> None:
    pytest.importorskip("ai_edge_litert")


@pytest.mark.parametrize(("op", "profile"), COMPARABLE)
def test_outputs_of_random_models_equal_litert(op: str, profile: Profile) -> None:
    from support.tflite_builder import run_litert

    random = np.random.default_rng(20)
    compared = 0
    for _ in range(MODELS):
        case = CASES[op](random)
        if profile not in case.expected:
            continue
        expected = case.expected[profile]
        actual = run_litert(case.model, case.inputs, resolver=RESOLVERS[profile])[0].reshape(expected.shape)
        np.testing.assert_array_equal(actual, expected, err_msg=case.name)
        compared += 1
    assert compared >= MODELS * 9 // 10
