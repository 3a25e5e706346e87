"""share-code: one function for many layers where few pixels go through them, code of their own where many do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from support.batch import PLATFORMS, run_networks
from support.kernel_harness import missing_tools
from support.network_builder import NetworkBuilder, random_inputs
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.driver.compile import CompiledNetwork, compile_module
from tinyc.driver.pipeline import CompileOptions
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.mcu import CallOp
from tinyc.numerics.profile import Profile
from tinyc.targets import load_target

PIPELINE = "select-kernels{{numerics={}}},depthwise-in-place,merge-rows,size-im2col{{slack=200}},share-code{{gain={}}},plan-memory"


def network(seed: int, height: int = 3, width: int = 6) -> ModuleOp:
    """Pointwise convolutions of several depths, with depthwise ones between them."""
    random = np.random.default_rng(seed)
    builder = NetworkBuilder(seed)
    value = builder.input((1, height, width, 24))
    for _ in range(5):
        value = builder.conv(value, 24 * int(random.integers(2, 4)))
        value = builder.depthwise(value)
        value = builder.conv(value, 24)
    return builder.finish(value)


def compiled(module: ModuleOp, gain: int, profile: Profile = Profile.LITERT, name: str = "net") -> CompiledNetwork:
    options = CompileOptions(profile, passes=PIPELINE.format(profile.value, gain), measure=False)
    return compile_module(module, name, load_target("cortex-m4"), options)


def sharing(network: CompiledNetwork) -> int:
    specs = [decode_kernel(op.kernel) for op in network.module.walk() if isinstance(op, CallOp)]
    return sum(isinstance(spec, ConvSpec) and spec.shares_code for spec in specs)


def test_layers_with_few_pixels_share_functions() -> None:
    found = compiled(network(1), 20)
    assert sharing(found) >= 3
    source = found.files["net.c"]
    assert 1 <= source.count("static TINYC_NOINLINE void net_shared_") < sharing(found)


def test_code_of_their_own_for_every_layer_when_no_byte_is_spared() -> None:
    found = compiled(network(1), 0)
    assert sharing(found) == 0
    assert "net_shared_" not in found.files["net.c"]


def test_layers_with_many_pixels_keep_code_of_their_own() -> None:
    assert sharing(compiled(network(1, 60, 60), 20)) == 0


def test_a_layer_that_is_alone_of_its_kind_keeps_its_code() -> None:
    builder = NetworkBuilder(5)
    module = builder.finish(builder.conv(builder.input((1, 4, 8, 24)), 8))
    assert sharing(compiled(module, 1000)) == 0


@pytest.mark.parametrize("platform", PLATFORMS)
def test_shared_code_computes_what_the_interpreter_does(platform: str, tmp_path: Path) -> None:
    tools = missing_tools(
        *(["gcc"] if platform == "host" else ["arm-none-eabi-gcc"] if platform == "unicorn" else ["arm-none-eabi-gcc", "qemu-system-arm"])
    )
    if tools:
        pytest.skip(tools)
    networks, inputs, expected = [], [], []
    for seed in range(3 if platform == "host" else 6):
        module = network(seed, 3, 5 + seed)
        profile = Profile.LITERT if seed % 2 else Profile.TFLM
        networks.append(compiled(module, 1000, profile, f"n{seed}"))
        inputs.append(random_inputs(module))
        expected.append(evaluate(module, inputs[-1], profile))
        assert sharing(networks[-1]) >= 2
    for found_network, found, wanted in zip(
        networks, run_networks(networks, [values for arrays in inputs for values in arrays], platform, tmp_path), expected, strict=True
    ):
        np.testing.assert_array_equal(found[0], wanted[0], err_msg=found_network.name)


def test_layers_that_add_within_bounds_of_their_own_share_code_that_does_so() -> None:
    builder = NetworkBuilder(3)
    value = builder.input((1, 4, 8, 24))
    for _ in range(6):
        value = builder.add(value, builder.conv(value, 24), (-100, 100))
    pipeline = PIPELINE.replace("depthwise-in-place", "fuse-residual").format("litert", 100_000)
    options = CompileOptions(Profile.LITERT, passes=pipeline.replace("slack=200", "slack=900"), measure=False)
    found = compile_module(builder.finish(value), "net", load_target("cortex-m4"), options)
    specs = [decode_kernel(op.kernel) for op in found.module.walk() if isinstance(op, CallOp)]
    adding = [spec for spec in specs if isinstance(spec, ConvSpec) and spec.addition is not None]
    assert sum(spec.shares_code for spec in adding) >= 2
    assert not any(spec.adds_apart for spec in adding)
