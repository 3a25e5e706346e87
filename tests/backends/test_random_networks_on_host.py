"""Random networks through the whole compiler, as C on this machine, against the interpreter: bit for bit, nothing beyond the arena."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from support.host_network import compile_for_host, needs_gcc, run_on_host
from support.network_builder import Network, NetworkBuilder, networks, random_inputs
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile

pytestmark = pytest.mark.skipif(needs_gcc() is not None, reason="needs gcc")

PIPELINES = {
    "default": None,
    "whole tensors": "fold-constants,canonicalize,eliminate-dead-code,select-kernels,plan-memory{overlap=false}",
    "no streams": "fold-constants,canonicalize,fold-pad,fuse-activation,eliminate-dead-code,"
    "select-kernels,depthwise-in-place,size-im2col,plan-memory",
    "long streams": "fold-constants,canonicalize,eliminate-dead-code,order-operators,select-kernels,stream-rows{longest=30},plan-memory",
}


def assert_same(module: ModuleOp, profile: Profile, passes: str | None = None) -> None:
    inputs = random_inputs(module)
    expected = evaluate(module, inputs, profile)
    if passes is not None:
        passes = passes.replace("fold-constants", f"fold-constants{{numerics={profile.value}}}")
        passes = passes.replace("select-kernels", f"select-kernels{{numerics={profile.value}}}")
    network = compile_for_host(module, profile, passes)
    with tempfile.TemporaryDirectory() as folder:
        actual = run_on_host(network, Path(folder), inputs)
    for index, (wanted, found) in enumerate(zip(expected, actual, strict=True)):
        np.testing.assert_array_equal(found, wanted, err_msg=f"output {index}")


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_random_networks_compute_what_the_interpreter_does(pipeline: str) -> None:
    @settings(max_examples=10, deadline=None, database=None, derandomize=True)
    @given(networks(10), st.sampled_from([Profile.LITERT, Profile.TFLM]))
    def check(network: Network, profile: Profile) -> None:
        assert_same(network.module, profile, PIPELINES[pipeline])

    check()


@pytest.mark.parametrize("profile", [Profile.LITERT, Profile.TFLM])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_streamed_bottlenecks(kernel: int, stride: int, profile: Profile) -> None:
    builder = NetworkBuilder(kernel + stride)
    value = builder.input((1, 11, 10, 3))
    for _ in range(2):
        wide = builder.depthwise(builder.conv(value, 18), (kernel, kernel), (stride, stride), (kernel // 2,) * 4)
        narrow = builder.conv(wide, 3)
        value = builder.add(narrow, value) if stride == 1 else narrow
    module = builder.finish(value)
    network = compile_for_host(module, profile)
    assert "streamed row by row" in network.files["net.c"]
    assert_same(module, profile)


def input_as_output(builder: NetworkBuilder) -> ModuleOp:
    image = builder.input((1, 4, 4, 2))
    return builder.finish(image, builder.conv(image, 3))


def value_twice(builder: NetworkBuilder) -> ModuleOp:
    value = builder.conv(builder.input((1, 4, 4, 2)), 3)
    return builder.finish(value, builder.clamp(value, (0, 5)), value)


def reshape_at_the_end(builder: NetworkBuilder) -> ModuleOp:
    value = builder.conv(builder.input((1, 4, 4, 2)), 3)
    return builder.finish(builder.reshape(value, (1, 48)), value)


def reshape_of_the_input(builder: NetworkBuilder) -> ModuleOp:
    image = builder.input((1, 4, 4, 2))
    return builder.finish(builder.reshape(image, (1, 32)), builder.reshape(image, (1, 2, 8, 2)))


def unused_input(builder: NetworkBuilder) -> ModuleOp:
    image = builder.input((1, 4, 4, 2))
    builder.input((1, 100))
    return builder.finish(builder.clamp(image, (0, 10)))


def float_boundary(builder: NetworkBuilder) -> ModuleOp:
    value = builder.depthwise(builder.quantize(builder.float_input((1, 6, 6, 2))))
    return builder.finish(builder.dequantize(value), value)


def sum_with_itself(builder: NetworkBuilder) -> ModuleOp:
    value = builder.conv(builder.input((1, 5, 5, 2)), 4)
    return builder.finish(builder.add(value, value))


def depthwise_chain(builder: NetworkBuilder) -> ModuleOp:
    value = builder.conv(builder.input((1, 7, 7, 2)), 6)
    for _ in range(3):
        value = builder.depthwise(value)
    return builder.finish(value)


def squeeze_and_excite(builder: NetworkBuilder) -> ModuleOp:
    value = builder.conv(builder.input((1, 6, 6, 3)), 8)
    squeezed = builder.mean(value, (1, 2), keep_dims=True)
    return builder.finish(builder.conv(builder.mul(value, builder.conv(squeezed, 8)), 2))


EDGES = [
    input_as_output,
    value_twice,
    reshape_at_the_end,
    reshape_of_the_input,
    unused_input,
    float_boundary,
    sum_with_itself,
    depthwise_chain,
    squeeze_and_excite,
]


@pytest.mark.parametrize("make", EDGES, ids=lambda make: make.__name__)
def test_edge_cases(make) -> None:  # type: ignore[no-untyped-def]
    module = make(NetworkBuilder(21))
    inputs = random_inputs(module)
    expected = evaluate(module, inputs, Profile.LITERT)
    network = compile_for_host(module, keep_float_io=True)
    with tempfile.TemporaryDirectory() as folder:
        actual = run_on_host(network, Path(folder), inputs)
    for wanted, found in zip(expected, actual, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_misaligned_or_missing_arena_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    import ctypes

    network = compile_for_host(sum_with_itself(NetworkBuilder(22)))
    run_on_host(network, tmp_path, random_inputs(sum_with_itself(NetworkBuilder(22))))
    invoke = ctypes.CDLL(str(tmp_path / "network.so")).net_invoke
    invoke.argtypes = [ctypes.c_void_p]
    memory = np.full(network.report.ram.arena_bytes + 64, 0x5A, np.uint8)
    aligned = memory.ctypes.data + -memory.ctypes.data % 16
    assert invoke(None) == -1
    assert invoke(aligned + 1) == -1
    assert invoke(aligned + 8) == -1
    assert (memory == 0x5A).all()
    assert invoke(aligned) == 0


def test_a_model_with_the_name_of_a_system_header_still_builds(tmp_path: Path) -> None:
    builder = NetworkBuilder(23)
    module = builder.finish(builder.conv(builder.input((1, 4, 4, 2)), 3))
    for name in ("stdint", "string", "math"):
        folder = tmp_path / name
        folder.mkdir()
        network = compile_for_host(module, name=name)
        (found,) = run_on_host(network, folder, random_inputs(module))
        np.testing.assert_array_equal(found, evaluate(module, random_inputs(module), Profile.LITERT)[0])
