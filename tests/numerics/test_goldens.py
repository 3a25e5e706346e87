"""Whole networks against outputs recorded from LiteRT and from TensorFlow Lite Micro."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinyc.frontends.load import load_model
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile

SHARED = Path(__file__).resolve().parents[3] / "shared"
RECORDED = {Profile.LITERT: "litert_0", Profile.TFLM: "tflm_0"}
CASES = {"ad01_int8": 16, "kws_ref_model": 16, "micro_speech_quantized": 16, "pretrainedResnet_quant": 4, "vww_96_int8": 4, "mcunet-in3": 1}


@pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason="needs ../shared with models and recorded outputs")
@pytest.mark.parametrize("profile", list(RECORDED))
@pytest.mark.parametrize("network", CASES)
def test_outputs_equal_the_recorded_ones(network: str, profile: Profile) -> None:
    module = load_model(SHARED / "models" / f"{network}.tflite")
    recorded = np.load(SHARED / "golden" / f"{network}.npz")
    for index in range(CASES[network]):
        (output,) = evaluate(module, [recorded["input"][index]], profile)
        np.testing.assert_array_equal(output, recorded[RECORDED[profile]][index])


@pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason="needs ../shared with models and recorded outputs")
def test_the_recorded_outputs_of_a_fully_connected_network_tell_the_profiles_apart() -> None:
    recorded = np.load(SHARED / "golden" / "ad01_int8.npz")
    assert np.count_nonzero(recorded["litert_0"] != recorded["tflm_0"]) > 1000
