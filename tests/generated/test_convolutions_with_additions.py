"""Random convolutions and the additions behind them as C in Unicorn, which forbids every byte outside the arena, against the plain graph.

The arena holds garbage before each run. Skips come from inputs, other convolutions and tensors that live on; each drawing is compiled in
several ways: default, whole tensors alone, speed, the form for Cortex-M7, rows that are pushed, shared code, and in each profile.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from support.batch import run_networks
from support.network_builder import Network, NetworkBuilder, random_inputs
from tinyc.driver.compile import CompiledNetwork, compile_module
from tinyc.driver.pipeline import CompileOptions, default_pipeline
from tinyc.errors import UnsupportedError
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.mcu import CallOp
from tinyc.ir.nn_base import tensor_of
from tinyc.numerics.profile import Profile
from tinyc.targets import load_target

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("arm-none-eabi-gcc", "gcc")), reason="needs arm-none-eabi-gcc and gcc"
)
pytest.importorskip("unicorn")

COUNT = 5
SLOW_COUNT = int(os.environ.get("TINYC_GENERATED_ADDITIONS", "1000"))
BATCH = 5


def ways(profile: Profile) -> dict[str, CompileOptions]:
    """Options by name; sharing takes all code that it can get."""
    plain = CompileOptions(profile, measure=False)
    whole = default_pipeline(plain).replace(",stream-rows,", ",")
    shared = replace(plain, slack=300, passes=default_pipeline(replace(plain, slack=300)).replace("share-code", "share-code{gain=100000}"))
    return {
        "default": plain,
        "whole tensors": replace(plain, passes=whole),
        "speed": replace(plain, gain=0, growth=400, slack=100),
        "cortex-m7": replace(plain, core="cortex-m7"),
        "pushed rows": replace(plain, stream_input=True),
        "shared code": shared,
    }


@st.composite
def networks_with_additions(draw: st.DrawFn) -> Network:
    """Up to three sums, each of a convolution's outputs and of something else of that shape, in either order, and sometimes a tail."""
    builder = NetworkBuilder(draw(st.integers(0, 1000)))
    value = builder.input((1, draw(st.integers(1, 14)), draw(st.integers(1, 14)), draw(st.integers(1, 9))))
    for _ in range(draw(st.integers(1, 3))):
        value = _sum(draw, builder, value)
    if draw(st.booleans()):
        value = builder.conv(value, draw(st.integers(1, 9)))
    return Network(builder.finish(value))


def _convolution(draw: st.DrawFn, builder: NetworkBuilder, value: SSAValue, channels: int, stride: int) -> SSAValue:
    taps = draw(st.sampled_from([1, 1, 3]))
    clamp = draw(st.sampled_from([(-128, 127), (-128, 127), (-30, 127)]))
    return builder.conv(value, channels, (taps, taps), (stride, stride), (taps // 2,) * 4, clamp=clamp)


def _sum(draw: st.DrawFn, builder: NetworkBuilder, value: SSAValue) -> SSAValue:
    depth = tensor_of(value).shape[3]
    kind = draw(st.sampled_from(["input", "input", "wide", "shortcut", "kept"]))
    if kind == "shortcut":
        channels, stride = draw(st.integers(1, 9)), draw(st.sampled_from([1, 2]))
        other = _convolution(draw, builder, value, channels, stride)
        own = _convolution(draw, builder, value, channels, stride)
    else:
        other = value
        own = _convolution(draw, builder, value, draw(st.integers(1, 16)) if kind == "wide" else depth, 1)
        if kind == "wide":
            own = _convolution(draw, builder, own, depth, 1)
    operands = (own, other) if draw(st.booleans()) else (other, own)
    clamp = draw(st.sampled_from([(-128, 127), (-128, 127), (-5, 127), (-100, 100)]))
    # Round ratios of scales have ties, and where the profile's rule rounds those its own way, no proof.
    result = builder.add(*operands, clamp, scale=0.05 + draw(st.integers(1, 9999)) * 3.7e-6)
    # The skip lives on and is added once more.
    return builder.add(builder.conv(result, depth), value) if kind == "kept" else result


def drawn(count: int) -> list[Network]:
    """Up to `count` different ones, always the same."""
    found: dict[str, Network] = {}

    @settings(
        max_examples=2 * count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(networks_with_additions())
    def draw(network: Network) -> None:
        if len(found) < count:
            found[repr(network)] = network

    draw()
    return list(found.values())


def compiled(module: ModuleOp, name: str, options: CompileOptions) -> CompiledNetwork | None:
    try:
        return compile_module(module, name, load_target("cortex-m4"), options)
    except UnsupportedError:
        # Not every network can take its input row by row.
        assert options.stream_input
        return None


def additions(network: CompiledNetwork) -> tuple[int, int]:
    """How many calls add what others would otherwise, and how many additions are calls of their own."""
    ops = [op.ops_text for op in network.module.walk() if isinstance(op, CallOp)]
    return sum("+ ADD" in op for op in ops), ops.count("ADD")


def check(cases: list[Network], profile: Profile, folder: Path) -> tuple[int, int]:
    """Compares; how many additions were fused, and how many were not."""
    fused = apart = 0
    for start in range(0, len(cases), BATCH):
        found, inputs, expected = [], [], []
        for index, case in enumerate(cases[start : start + BATCH], start):
            image = random_inputs(case.module, index)
            wanted = evaluate(case.module, image, profile)
            for way, options in ways(profile).items():
                network = compiled(case.module, f"{way.replace(' ', '_').replace('-', '_')}_{index}", options)
                if network is not None:
                    found.append(network)
                    inputs += image
                    expected.append(wanted)
                    both = additions(network)
                    fused, apart = fused + both[0], apart + both[1]
        for network, values, outputs in zip(found, expected, run_networks(found, inputs, "unicorn", folder), strict=True):
            np.testing.assert_array_equal(outputs[0], values[0], err_msg=network.name)
    return fused, apart


@pytest.mark.parametrize("profile", [Profile.LITERT, Profile.TFLM, Profile.ONNXRUNTIME])
def test_random_sums_of_convolutions_equal_the_plain_graph_however_they_are_compiled(profile: Profile, tmp_path: Path) -> None:
    fused, apart = check(drawn(COUNT), profile, tmp_path)
    assert fused > apart


@pytest.mark.slow
@pytest.mark.parametrize("profile", [Profile.LITERT, Profile.TFLM, Profile.ONNXRUNTIME])
def test_thousands_of_sums_of_convolutions_equal_the_plain_graph(profile: Profile, tmp_path: Path) -> None:
    fused, apart = check(drawn(SLOW_COUNT), profile, tmp_path)
    assert fused > apart
