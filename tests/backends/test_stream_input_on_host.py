"""Networks that take their input row by row, as C on this machine, against the interpreter; and every way to call them wrongly."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from support.host_network import PushedNetwork, compile_for_host, needs_gcc
from support.network_builder import FULL, Network, NetworkBuilder, Pads, networks, random_inputs
from tinyc.errors import UnsupportedError
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.mcu import BufferOp
from tinyc.ir.nn_base import tensor_of
from tinyc.numerics.profile import Profile

pytestmark = pytest.mark.skipif(needs_gcc() is not None, reason="needs gcc")

PROFILES = [Profile.LITERT, Profile.TFLM]


def assert_same(module: ModuleOp, profile: Profile = Profile.LITERT, keep_float_io: bool = False, passes: str | None = None) -> None:
    """Two images in one arena, the second after one that was given up half-way."""
    images = [random_inputs(module, seed)[0] for seed in range(2)]
    network = compile_for_host(module, profile, passes, keep_float_io=keep_float_io, stream_input=passes is None)
    with tempfile.TemporaryDirectory() as folder:
        pushed = PushedNetwork(network, Path(folder))
        for number, image in enumerate(images):
            if number:
                assert pushed.begin() == 0
                for row in images[0].reshape(pushed.input.rows, -1)[: pushed.input.rows // 2]:
                    assert pushed.push(row) == 0
            for wanted, found in zip(evaluate(module, [image], profile), pushed.infer(image), strict=True):
                np.testing.assert_array_equal(found, wanted)


@st.composite
def chains(draw: st.DrawFn) -> Network:
    """A chain of window ops with skips: kernels 1 to 7, strides to 3, dilations, odd sizes, uneven padding; then an end of any kind."""
    builder = NetworkBuilder(draw(st.integers(0, 1000)))
    value = builder.input((1, draw(st.integers(2, 23)), draw(st.integers(1, 9)), draw(st.integers(1, 4))))
    for _ in range(draw(st.integers(1, 5))):
        before, shape = value, tensor_of(value).shape
        kernel = draw(st.integers(1, 7)), draw(st.sampled_from([1, 3]))
        stride = draw(st.sampled_from([1, 1, 2, 3])), draw(st.sampled_from([1, 2]))
        dilation = draw(st.sampled_from([1, 1, 2])), 1
        top, bottom = draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[0] - 1))
        pads: Pads = (top, kernel[1] // 2, bottom, kernel[1] // 2)
        if shape[1] + top + bottom < (kernel[0] - 1) * dilation[0] + 1:
            continue
        kind = draw(st.sampled_from(["conv", "depthwise", "pool", "bottleneck", "pad"]))
        if kind == "conv":
            value = builder.conv(value, draw(st.integers(1, 6)), kernel, stride, pads, dilation, bias=draw(st.booleans()))
        elif kind == "depthwise":
            value = builder.depthwise(value, kernel, stride, pads, dilation)
        elif kind == "pool" and dilation[0] == 1:
            value = builder.pool(value, draw(st.booleans()), kernel, stride, pads)
        elif kind == "pad":
            value = builder.pad(value, (draw(st.integers(0, 2)), 0, draw(st.integers(0, 2)), 1))
        elif kind == "bottleneck":
            same: Pads = (kernel[0] // 2, 1, (kernel[0] - 1) // 2, 1)
            wide = builder.depthwise(builder.conv(before, 8), (kernel[0], 3), pads=same)
            value = builder.add(builder.conv(wide, shape[3]), before)
    end = draw(st.sampled_from(["image", "mean", "fully connected", "both"]))
    outputs = [value]
    if end != "image":
        outputs = [builder.mean(value, (1, 2)) if end == "mean" else builder.fully_connected(value, 3)]
    return Network(builder.finish(*outputs, *([value] if end == "both" else [])))


def refusal(module: ModuleOp) -> str:
    """What the compiler says against pushing the rows of the input; empty where nothing."""
    try:
        compile_for_host(module, stream_input=True)
    except UnsupportedError as error:
        return str(error)
    return ""


@settings(max_examples=15, deadline=None, database=None, derandomize=True)
@given(chains(), st.sampled_from(PROFILES))
def test_chains_with_skips_compute_what_the_interpreter_does(network: Network, profile: Profile) -> None:
    reason = refusal(network.module)
    if reason:
        # Nothing is left but the input, which is handed through as a whole.
        assert "output" in reason
        assert "COPY" in reason
    else:
        assert_same(network.module, profile)


def test_other_networks_compute_what_the_interpreter_does_or_are_refused() -> None:
    taken = []

    @settings(max_examples=15, deadline=None, database=None, derandomize=True)
    @given(networks(6, 1), st.sampled_from(PROFILES))
    def check(network: Network, profile: Profile) -> None:
        reason = refusal(network.module)
        if reason:
            assert "compile without --stream-input" in reason
        else:
            assert_same(network.module, profile)
            taken.append(network)

    check()
    assert len(taken) >= 6


def skip_from_the_input(builder: NetworkBuilder) -> ModuleOp:
    image = builder.input((1, 13, 6, 4))
    wide = builder.depthwise(builder.conv(image, 12), (5, 3), pads=(2, 1, 2, 1))
    return builder.finish(builder.add(builder.conv(wide, 4), image))


def rows_that_nobody_reads(builder: NetworkBuilder) -> ModuleOp:
    value = builder.conv(builder.input((1, 15, 4, 2)), 3, (1, 1), (4, 1))
    return builder.finish(builder.conv(value, 3, (2, 1), (3, 1)))


def reduction_of_the_input(builder: NetworkBuilder) -> ModuleOp:
    return builder.finish(builder.mean(builder.input((1, 9, 5, 3)), (1, 2)))


def flat_matrix_product(builder: NetworkBuilder) -> ModuleOp:
    return builder.finish(builder.fully_connected(builder.input((1, 9, 5, 3)), 4))


def dilated(builder: NetworkBuilder) -> ModuleOp:
    value = builder.conv(builder.input((1, 19, 5, 2)), 4, (3, 3), pads=(4, 1, 4, 1), dilation=(4, 1))
    return builder.finish(builder.depthwise(value, (3, 3), (2, 2), dilation=(2, 1)))


def two_paths(builder: NetworkBuilder) -> ModuleOp:
    image = builder.input((1, 12, 6, 3))
    far = builder.depthwise(image, (7, 3), pads=(3, 1, 3, 1))
    return builder.finish(builder.add(builder.conv(far, 5), builder.conv(image, 5, (3, 3), pads=(1, 1, 1, 1))))


def squeeze(builder: NetworkBuilder) -> ModuleOp:
    image = builder.input((1, 7, 5, 2))
    return builder.finish(builder.mul(builder.conv(image, 2), builder.mean(image, (1, 2), keep_dims=True)))


def two_rows(builder: NetworkBuilder) -> ModuleOp:
    return builder.finish(builder.conv(builder.input((1, 2, 3, 1)), 2, (2, 2)))


def matrix(builder: NetworkBuilder) -> ModuleOp:
    return builder.finish(builder.softmax(builder.input((6, 10))))


EDGES = [
    skip_from_the_input,
    rows_that_nobody_reads,
    reduction_of_the_input,
    flat_matrix_product,
    dilated,
    two_paths,
    squeeze,
    two_rows,
    matrix,
]


@pytest.mark.parametrize("make", EDGES, ids=lambda make: make.__name__)
def test_edge_cases(make) -> None:  # type: ignore[no-untyped-def]
    assert_same(make(NetworkBuilder(31)))


def test_a_float_image_is_pushed_in_rows_of_floats() -> None:
    builder = NetworkBuilder(32)
    value = builder.conv(builder.quantize(builder.float_input((1, 11, 5, 2))), 4, (3, 3), (2, 2), (1, 1, 1, 1), clamp=FULL)
    module = builder.finish(builder.dequantize(value))
    network = compile_for_host(module, keep_float_io=True, stream_input=True)
    assert "int net_push_row(uint8_t *arena, const float *row);" in network.files["net.h"]
    assert_same(module, keep_float_io=True)


def test_only_the_rows_under_the_first_kernel_are_kept() -> None:
    builder = NetworkBuilder(33)
    module = builder.finish(builder.mean(builder.conv(builder.input((1, 64, 10, 3)), 4, (5, 5), (2, 2), (2, 2, 2, 2)), (1, 2)))
    network = compile_for_host(module, stream_input=True)
    (ring,) = [op for op in network.module.ops if isinstance(op, BufferOp) and op.kind.data == "input_ring"]
    assert (ring.slots.value.data, ring.size_bytes) == (5, 150)
    assert network.report.ram.arena_bytes < compile_for_host(module).report.ram.arena_bytes - 64 * 30 + 5 * 30 + 100
    assert_same(module)


def test_a_pipeline_of_ones_own_may_stream_the_input_too() -> None:
    passes = "fold-constants,canonicalize,eliminate-dead-code,select-kernels,stream-rows{longest=1 input=true},plan-memory"
    builder = NetworkBuilder(34)
    value = builder.conv(builder.input((1, 9, 6, 3)), 4, (3, 3), (2, 2), (1, 1, 1, 1))
    assert_same(builder.finish(builder.depthwise(value)), passes=passes)


def wrong_calls(pushed: PushedNetwork, row: np.ndarray) -> dict[str, tuple[int, int]]:  # type: ignore[type-arg]
    """Per mistake, the code that comes back and the one that should."""
    push, begin, address = pushed.push_function, pushed.begin_function, pushed.address
    return {
        "no arena": (push(None, row.ctypes.data), -1),
        "arena that is not aligned": (push(address + 4, row.ctypes.data), -1),
        "no row": (push(address, None), -2),
        "begin without an arena": (begin(None), -1),
        "begin in an arena that is not aligned": (begin(address + 1), -1),
    }


def test_wrong_calls_are_answered_and_change_nothing(tmp_path: Path) -> None:
    module = skip_from_the_input(NetworkBuilder(35))
    pushed = PushedNetwork(compile_for_host(module, stream_input=True), tmp_path)
    (image,) = random_inputs(module)
    (expected,) = evaluate(module, [image], Profile.LITERT)
    rows = [np.ascontiguousarray(row) for row in image.reshape(pushed.input.rows, -1)]
    garbage = pushed.memory.copy()
    assert pushed.push(rows[0]) == -3, "a row before begin"
    pushed.arena[:] = 0
    assert pushed.push(rows[0]) == -3, "a row before begin in an arena of zeros"
    assert not pushed.arena.any()
    pushed.memory[:] = garbage
    assert pushed.begin() == 0
    for number, row in enumerate(rows):
        before = pushed.memory.copy()
        for mistake, (found, wanted) in wrong_calls(pushed, row).items():
            assert found == wanted, mistake
        np.testing.assert_array_equal(pushed.memory, before)
        assert pushed.push(row) == (number == len(rows) - 1)
    before = pushed.memory.copy()
    for _ in range(3):
        assert pushed.push(rows[0]) == -3, "a row after the last one"
    np.testing.assert_array_equal(pushed.memory, before)
    pushed.check_outside()
    np.testing.assert_array_equal(pushed.arena.view(np.int8)[pushed.outputs[0].offset :][: expected.size], expected.ravel())
    np.testing.assert_array_equal(pushed.infer(image)[0], expected)


def test_two_arenas_take_turns_with_their_rows(tmp_path: Path) -> None:
    module = skip_from_the_input(NetworkBuilder(36))
    network = compile_for_host(module, stream_input=True)
    both = [PushedNetwork(network, tmp_path, seed) for seed in range(2)]
    images = [random_inputs(module, seed)[0] for seed in range(2)]
    for pushed in both:
        assert pushed.begin() == 0
    for number in range(both[0].input.rows):
        for pushed, image in zip(both, images, strict=True):
            pushed.push(image[0, number])
    for pushed, image in zip(both, images, strict=True):
        region = pushed.outputs[0]
        found = pushed.arena[region.offset : region.offset + region.bytes].view(np.int8).reshape(region.dims)
        np.testing.assert_array_equal(found, evaluate(module, [image], Profile.LITERT)[0])
