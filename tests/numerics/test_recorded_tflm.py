"""Element-wise ops in the profile `tflm` against outputs that record_tflm.py recorded from TensorFlow Lite Micro, of all 256 inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinyc.numerics.prelu import prelu_plan
from tinyc.numerics.profile import Profile
from tinyc.numerics.unary import VALUES, UnaryQuantization, unary_table

RECORDED = np.load(Path(__file__).with_name("recorded_tflm.npz"))


@pytest.mark.parametrize("op", ["ABS", "ELU", "LEAKY_RELU", "LOGISTIC", "RELU", "TANH"])
def test_tables_equal_the_recorded_ones(op: str) -> None:
    compared = 0
    for row, outputs in zip(RECORDED[f"{op}_quantization"], RECORDED[f"{op}_outputs"], strict=True):
        quantization = UnaryQuantization(float(row[0]), int(row[1]), float(row[4]), int(row[5]))
        alpha = float(row[6]) if op == "LEAKY_RELU" else None
        table = unary_table(op.lower(), Profile.TFLM, quantization, alpha)
        np.testing.assert_array_equal(table, outputs[:, 0], err_msg=str(row))
        compared += 1
    assert compared >= 100


def test_prelu_equals_the_recorded_outputs() -> None:
    cases = zip(RECORDED["PRELU_quantization"], RECORDED["PRELU_slopes"], RECORDED["PRELU_outputs"], strict=True)
    for row, slopes, outputs in cases:
        quantization = (float(row[0]), int(row[1]), float(row[2]), int(row[3]), float(row[4]), int(row[5]))
        plan = prelu_plan(Profile.TFLM, *quantization)
        np.testing.assert_array_equal(plan.apply(VALUES[:, None], slopes[None, :]), outputs, err_msg=str(row))


@pytest.mark.parametrize("op", ["ABS", "ELU", "LEAKY_RELU", "RELU"])
def test_the_recorded_outputs_tell_the_profiles_apart(op: str) -> None:
    different = 0
    for row, outputs in zip(RECORDED[f"{op}_quantization"], RECORDED[f"{op}_outputs"], strict=True):
        quantization = UnaryQuantization(float(row[0]), int(row[1]), float(row[4]), int(row[5]))
        alpha = float(row[6]) if op == "LEAKY_RELU" else None
        different += int(np.count_nonzero(unary_table(op.lower(), Profile.LITERT, quantization, alpha) != outputs[:, 0]))
    assert different > 0
