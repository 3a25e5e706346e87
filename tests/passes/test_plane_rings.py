"""plane-rings: streamed depthwise convolutions that read int16 planes, and the C of them, on every platform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from support.batch import PLATFORMS, run_networks
from support.kernel_harness import missing_tools
from support.network_builder import NetworkBuilder, random_inputs
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseRingSpec
from tinyc.driver.compile import compile_module
from tinyc.driver.pipeline import CompileOptions
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.mcu import CallOp
from tinyc.ir.schedule import build_schedule
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes
from tinyc.targets import load_target

PIPELINE = "select-kernels{{numerics={}}},stream-rows,plane-rings{{slack={}}},size-im2col,widen-weights,plan-memory"


def bottleneck(seed: int) -> ModuleOp:
    """A convolution, a depthwise one and a narrow one, of random sizes, that are worth streaming."""
    random = np.random.default_rng(seed)
    builder = NetworkBuilder(seed)
    height, width = (int(size) for size in random.integers(7, 15, 2))
    kernel = (int(random.choice([1, 2, 3, 3, 5, 7])), int(random.choice([1, 2, 3, 3, 5, 7])))
    stride = (int(random.integers(1, min(kernel[0], 2) + 1)), int(random.choice([1, 1, 2, 3])))
    dilation = (1, int(random.choice([1, 1, 2])))
    pads = tuple(int(random.integers(0, size)) for size in kernel)
    below = tuple(int(random.integers(0, size)) for size in kernel)
    image = builder.input((1, height, width, int(random.integers(1, 5))))
    filters = (3, 3) if random.random() < 0.3 else (1, 1)
    wide = builder.conv(image, int(random.integers(20, 32)), filters, pads=(filters[0] // 2,) * 4)
    multiplier = int(random.choice([1, 1, 1, 2]))
    deep = builder.depthwise(wide, kernel, stride, (*pads, *below), dilation, multiplier=multiplier)
    return builder.finish(builder.conv(deep, int(random.integers(1, 4))))


def kernels(module: ModuleOp) -> list[object]:
    return [decode_kernel(op.kernel) for op in module.walk() if isinstance(op, CallOp)]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_planes_give_the_interpreter_s_results_and_nothing_is_written_outside_the_arena(platform: str, tmp_path: Path) -> None:
    tools = missing_tools(
        *(["gcc"] if platform == "host" else ["arm-none-eabi-gcc"] if platform == "unicorn" else ["arm-none-eabi-gcc", "qemu-system-arm"])
    )
    if tools:
        pytest.skip(tools)
    networks, inputs, expected = [], [], []
    # On the host, sanitizers are slow.
    for seed in range(20 if platform == "host" else 48):
        module = bottleneck(seed)
        profile = Profile.LITERT if seed % 2 else Profile.TFLM
        options = CompileOptions(profile, passes=PIPELINE.format(profile.value, 1000), measure=False)
        network = compile_module(module, f"n{seed}", load_target("cortex-m4"), options)
        if any(isinstance(spec, DepthwiseRingSpec) for spec in kernels(network.module)):
            networks.append(network)
            inputs.append(random_inputs(module))
            expected.append(evaluate(module, inputs[-1], profile))
    assert len(networks) >= (8 if platform == "host" else 20)
    for network, found, wanted in zip(
        networks, run_networks(networks, [values for arrays in inputs for values in arrays], platform, tmp_path), expected, strict=True
    ):
        np.testing.assert_array_equal(found[0], wanted[0], err_msg=network.name)


def scheduled(passes: str) -> ModuleOp:
    builder = NetworkBuilder(3)
    value = builder.conv(builder.input((1, 12, 12, 4)), 24)
    module = builder.finish(builder.conv(builder.depthwise(value), 4))
    run_passes(module, parse_passes(passes))
    return module


def peak(module: ModuleOp) -> int:
    return max(build_schedule(module).step_bounds)


@pytest.mark.parametrize("slack", [0, 10, 40, 300])
def test_the_peak_grows_by_no_more_than_the_slack(slack: int) -> None:
    before = peak(scheduled("select-kernels,stream-rows,plane-rings{slack=0}"))
    module = scheduled(f"select-kernels,stream-rows,plane-rings{{slack={slack}}}")
    assert peak(module) * 100 <= before * (100 + slack)
    assert any(isinstance(spec, DepthwiseRingSpec) for spec in kernels(module)) == (slack == 300)


def test_without_a_stream_nothing_changes() -> None:
    assert not any(isinstance(spec, DepthwiseRingSpec) for spec in kernels(scheduled("select-kernels,plane-rings{slack=300}")))


def test_a_ring_that_another_call_reads_too_stays_as_it_is() -> None:
    builder = NetworkBuilder(4)
    value = builder.conv(builder.input((1, 12, 12, 2)), 16)
    module = builder.finish(builder.conv(builder.add(builder.depthwise(value), value), 2))
    run_passes(module, parse_passes("select-kernels,stream-rows,plane-rings{slack=300}"))
    assert not any(isinstance(spec, DepthwiseRingSpec) for spec in kernels(module))
