"""Published networks against recorded outputs, as they are imported and after the pipeline of the `nn` level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from tinyc.frontends.load import load_model
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes

SHARED = Path(__file__).resolve().parents[3] / "shared"
RECORDED = {Profile.LITERT: "litert_0", Profile.TFLM: "tflm_0"}
INPUTS = {
    "ad01_int8": 2,
    "kws_ref_model": 2,
    "micro_speech_quantized": 2,
    "pretrainedResnet_quant": 2,
    "vww_96_int8": 2,
    "vww": 2,
    "mcunet-in3": 1,
    "mcunetv2_large": 1,
}
"""Networks and how many recorded inputs are run."""

pytestmark = pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason="needs ../shared with models and recorded outputs")


def simplified(module: ModuleOp, profile: Profile) -> ModuleOp:
    """`module` after all passes of the `nn` level that keep its boundary."""
    changed = module.clone()
    passes = (
        f"fold-constants{{numerics={profile.value}}},canonicalize,fold-pad,fuse-activation,canonicalize,eliminate-dead-code,order-operators"
    )
    run_passes(changed, parse_passes(passes))
    return changed


@pytest.mark.parametrize("profile", RECORDED)
@pytest.mark.parametrize("network", INPUTS)
def test_outputs_of_the_simplified_network_equal_the_recorded_ones(network: str, profile: Profile) -> None:
    module = simplified(load_model(SHARED / "models" / f"{network}.tflite"), profile)
    recorded = np.load(SHARED / "golden" / f"{network}.npz")
    for index in range(INPUTS[network]):
        (output,) = evaluate(module, [recorded["input"][index]], profile)
        np.testing.assert_array_equal(output, recorded[RECORDED[profile]][index])


@pytest.mark.parametrize("network", ["kws_ref_model", "vww_96_int8", "vww"])
def test_simplifying_removes_ops_and_keeps_every_result(network: str) -> None:
    module = load_model(SHARED / "models" / f"{network}.tflite")
    values = [np.load(SHARED / "golden" / f"{network}.npz")["input"][0]]
    counts = []
    outputs = []
    for current in (module, simplified(module, Profile.LITERT)):
        seen: list[str] = []
        outputs.append(evaluate(current, values, Profile.LITERT, lambda op, result, seen=seen: seen.append(op.name)))  # type: ignore[misc]
        counts.append(len(seen))
    assert counts[1] <= counts[0]
    np.testing.assert_array_equal(outputs[0][0], outputs[1][0])
