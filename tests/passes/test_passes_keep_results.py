"""Every pass of the `nn` level, and all of them together, leave what random networks compute as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from support.network_builder import Network, NetworkBuilder, networks, random_inputs
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.nn_base import tensor_of
from tinyc.numerics.profile import Profile
from tinyc.numerics.quantization import dequantization_plan, quantization_plan
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import PASSES, parse_passes

BOUNDARY_STAYS = {"channels-last": "channels-last{boundary=nchw}"}
NN_PASSES = [BOUNDARY_STAYS.get(name, name) for name, entry in PASSES.items() if entry.level == "nn"]
TOGETHER = "fold-constants{numerics=PROFILE},canonicalize,fold-pad,fuse-activation,canonicalize,eliminate-dead-code,order-operators"


@pytest.mark.parametrize("passes", [*NN_PASSES, TOGETHER])
@pytest.mark.parametrize("profile", list(Profile))
def test_results_stay(passes: str, profile: Profile) -> None:
    @settings(max_examples=25, deadline=None, database=None)
    @given(networks())
    def check(network: Network) -> None:
        module = network.module
        inputs = random_inputs(module)
        expected = evaluate(module, inputs, profile)
        changed = module.clone()
        text = passes.replace("PROFILE", profile.value)
        run_passes(changed, parse_passes(f"{text}{{numerics={profile.value}}}" if text == "fold-constants" else text))
        for before, after in zip(expected, evaluate(changed, inputs, profile), strict=True):
            np.testing.assert_array_equal(after, before)

    check()


def test_a_stripped_boundary_computes_the_same_from_quantised_inputs() -> None:
    builder = NetworkBuilder(11)
    quantised = builder.quantize(builder.float_input((1, 6, 6, 2)))
    result = builder.conv(quantised, 3)
    module = builder.finish(builder.dequantize(result))
    (values,) = random_inputs(module)
    (expected,) = evaluate(module, [values], Profile.LITERT)
    first, last = tensor_of(quantised), tensor_of(result)
    run_passes(module, parse_passes("strip-io-quantization"))
    quantize = quantization_plan(Profile.LITERT, first.scale or 0.0, first.zero_point)
    dequantize = dequantization_plan(last.scale or 0.0, last.zero_point)
    (actual,) = evaluate(module, [quantize.apply(values)], Profile.LITERT)
    assert actual.dtype == np.int8
    np.testing.assert_array_equal(dequantize.apply(actual), expected)
