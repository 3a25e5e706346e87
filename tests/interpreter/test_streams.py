"""Schedules run row by row, in rings and overlapping buffers, against the plain graph; and schedules that are wrong by a row or a byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from xdsl.dialects.builtin import ModuleOp

from support.network_builder import Network, NetworkBuilder, networks, random_inputs
from support.random_graphs import graph_case
from support.streamed_chains import causal_layers, chains
from tinyc.driver.pipeline import CompileOptions, default_pipeline
from tinyc.errors import ModelError, PassError, UnsupportedError
from tinyc.frontends.load import load_model
from tinyc.frontends.tflite import import_tflite
from tinyc.interpreter.evaluate import evaluate
from tinyc.interpreter.streams import evaluate_schedule
from tinyc.ir.mcu import BufferOp, buffer_of, number
from tinyc.ir.schedule import steps_of
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes

SHARED = Path(__file__).resolve().parents[3] / "shared"
LONG_STREAMS = "fold-constants,canonicalize,eliminate-dead-code,select-kernels,stream-rows{longest=30},plan-memory"
WHOLE_TENSORS = "fold-constants,canonicalize,eliminate-dead-code,select-kernels,depthwise-in-place,merge-rows,plan-memory"
PUSHED = "fold-constants,canonicalize,eliminate-dead-code,select-kernels,stream-rows{longest=30 input=true},plan-memory"


def default_passes(profile: Profile = Profile.LITERT) -> str:
    return default_pipeline(CompileOptions(profile, keep_float_io=True))


def scheduled(module: ModuleOp, passes: str) -> tuple[ModuleOp, ModuleOp]:
    """The graph as select-kernels finds it, and what that and later passes make of it."""
    pipeline = parse_passes(passes)
    first = [entry.name for entry in pipeline].index("select-kernels")
    graph = module.clone()
    run_passes(graph, pipeline[:first])
    schedule = graph.clone()
    run_passes(schedule, pipeline[first:])
    return graph, schedule


def buffers_of_kind(schedule: ModuleOp, *kinds: str) -> list[BufferOp]:
    return [op for op in schedule.ops if isinstance(op, BufferOp) and op.kind.data in kinds]


def assert_same(module: ModuleOp, passes: str, profile: Profile = Profile.LITERT) -> tuple[ModuleOp, ModuleOp]:
    """Compares both levels and gives them."""
    graph, schedule = scheduled(module, passes)
    inputs = random_inputs(module)
    expected = evaluate(module, inputs, profile)
    for index, (wanted, found) in enumerate(zip(expected, evaluate_schedule(graph, schedule, inputs, profile), strict=True)):
        np.testing.assert_array_equal(found, wanted, err_msg=f"output {index}")
        assert found.dtype == wanted.dtype
    return graph, schedule


@pytest.mark.parametrize("passes", [LONG_STREAMS, PUSHED, default_passes()], ids=["long streams", "pushed input", "default"])
def test_chains_compute_what_the_plain_graph_does_and_every_ring_is_tight(passes: str) -> None:
    rings = 0

    @settings(max_examples=24, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(chains())
    def check(network: Network) -> None:
        nonlocal rings
        try:
            graph, schedule = assert_same(network.module, passes)
        except UnsupportedError:
            # Not every network can take its input row by row.
            assert passes == PUSHED
            return
        for ring in buffers_of_kind(schedule, "ring", "input_ring"):
            slots = int(ring.slots.value.data)
            if slots == 1:
                continue
            ring.properties["slots"] = number(slots - 1)
            with pytest.raises(PassError, match="where something else lies"):
                evaluate_schedule(graph, schedule, random_inputs(network.module), Profile.LITERT)
            ring.properties["slots"] = number(slots)
            rings += 1

    check()
    assert rings >= 15


@pytest.mark.parametrize("passes", [LONG_STREAMS, WHOLE_TENSORS, default_passes()], ids=["long streams", "whole tensors", "default"])
def test_random_networks_with_branches_compute_what_the_plain_graph_does(passes: str) -> None:
    @settings(max_examples=24, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(networks(10))
    def check(network: Network) -> None:
        assert_same(network.module, passes)

    check()


@pytest.mark.parametrize("profile", [Profile.LITERT, Profile.TFLM])
def test_networks_with_gates_resizes_and_joins_compute_what_the_plain_graph_does(profile: Profile) -> None:
    random = np.random.default_rng(5)
    for _ in range(12):
        assert_same(import_tflite(graph_case(random).model, "graph"), default_passes(profile), profile)


def test_layers_that_run_backwards_compute_what_the_plain_graph_does_and_lie_as_close_as_they_can() -> None:
    backwards = 0

    @settings(max_examples=40, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(causal_layers())
    def check(network: Network) -> None:
        nonlocal backwards
        graph, schedule = assert_same(network.module, default_passes())
        steps = [step for step in steps_of(schedule) if step.backwards is not None]
        backwards += len(steps)
        for step in steps:
            (call,) = step.calls
            source, result = buffer_of(call.inputs[0]), buffer_of(call.output)
            if result.start + result.size_bytes > source.start + source.size_bytes and result.start < source.start + source.size_bytes:
                result.properties["offset"] = number(result.start - 4)
                with pytest.raises(PassError, match="where something else lies"):
                    evaluate_schedule(graph, schedule, random_inputs(network.module), Profile.LITERT)

    check()
    assert backwards >= 15


def bottleneck(mean: bool = True) -> ModuleOp:
    """A strided stem and an inverted bottleneck with a skip."""
    builder = NetworkBuilder(5)
    stem = builder.conv(builder.input((1, 24, 12, 3)), 4, (3, 3), (2, 2), (1, 1, 1, 1))
    wide = builder.depthwise(builder.conv(stem, 24), (5, 5), pads=(2, 2, 2, 2))
    value = builder.add(builder.conv(wide, 4), stem)
    return builder.finish(builder.mean(value, (1, 2)) if mean else value)


@pytest.mark.parametrize("kind", ["scratch", "accumulator", "state", "counters", "output"])
def test_a_buffer_in_the_place_of_a_ring_is_found(kind: str) -> None:
    module = bottleneck(mean=kind != "output")
    graph, schedule = scheduled(module, PUSHED)
    ring = buffers_of_kind(schedule, "ring")[0]
    (buffer,) = buffers_of_kind(schedule, kind)
    buffer.properties["offset"] = number(ring.start)
    with pytest.raises(PassError, match="where something else lies"):
        evaluate_schedule(graph, schedule, random_inputs(module), Profile.LITERT)


@pytest.mark.parametrize("make", ["convolution", "depthwise", "wider"])
def test_a_result_one_word_too_close_to_the_input_that_it_overwrites_is_found(make: str) -> None:
    builder = NetworkBuilder(6)
    image = builder.input((1, 9, 8, 4))
    value = {
        "convolution": lambda: builder.conv(image, 4, (3, 3), pads=(1, 1, 1, 1)),
        "depthwise": lambda: builder.depthwise(image),
        "wider": lambda: builder.conv(image, 8),
    }[make]()
    module = builder.finish(value)
    passes = "select-kernels,plan-memory"
    graph, schedule = assert_same(module, passes)
    (source,), (result,) = buffers_of_kind(schedule, "input"), buffers_of_kind(schedule, "output")
    assert result.start < source.start < result.start + result.size_bytes
    result.properties["offset"] = number(result.start + 4)
    with pytest.raises(PassError, match=r"reads row \d of input input_0, where something else lies"):
        evaluate_schedule(graph, schedule, random_inputs(module), Profile.LITERT)


def test_a_row_that_a_call_does_not_know_it_reads_makes_the_result_wrong() -> None:
    builder = NetworkBuilder(7)
    module = builder.finish(builder.conv(builder.input((1, 9, 8, 4)), 4, (3, 3), pads=(1, 1, 1, 1)))
    graph, schedule = scheduled(module, "select-kernels,plan-memory")
    other = NetworkBuilder(7)
    taller = other.finish(other.conv(other.input((1, 9, 8, 4)), 4, (5, 3), pads=(2, 1, 2, 1)))
    inputs = random_inputs(module)
    (found,) = evaluate_schedule(taller, schedule, inputs, Profile.LITERT)
    (wanted,) = evaluate(taller, inputs, Profile.LITERT)
    assert found.shape == wanted.shape
    assert (found != wanted).any(axis=(0, 2, 3)).all()
    (same,) = evaluate_schedule(graph, schedule, inputs, Profile.LITERT)
    np.testing.assert_array_equal(same, evaluate(module, inputs, Profile.LITERT)[0])


def test_a_schedule_of_another_graph_and_other_inputs_are_refused() -> None:
    module = bottleneck()
    graph, schedule = scheduled(module, LONG_STREAMS)
    builder = NetworkBuilder(8)
    other = builder.finish(builder.depthwise(builder.input((1, 24, 12, 3))))
    with pytest.raises(PassError, match="not made of this graph: it has no call for DEPTHWISE_CONV_2D layer2 in its place"):
        evaluate_schedule(other, schedule, random_inputs(module), Profile.LITERT)
    fewer = NetworkBuilder(5)
    stem = fewer.finish(fewer.conv(fewer.input((1, 24, 12, 3)), 4, (3, 3), (2, 2), (1, 1, 1, 1)))
    with pytest.raises(PassError, match=r"not made of this graph, which has no CONV_2D layer\d+"):
        evaluate_schedule(stem, schedule, random_inputs(module), Profile.LITERT)
    more = NetworkBuilder(5)
    two = more.finish(more.add(more.input((1, 24, 12, 3)), more.input((1, 24, 12, 3))))
    with pytest.raises(PassError, match="it has 1 inputs, the graph has 2"):
        evaluate_schedule(two, schedule, random_inputs(two), Profile.LITERT)
    with pytest.raises(PassError, match="as select-kernels finds it"):
        evaluate_schedule(schedule, schedule, random_inputs(module), Profile.LITERT)
    with pytest.raises(ModelError, match="the network has 1 inputs, 0 were given"):
        evaluate_schedule(graph, schedule, [], Profile.LITERT)


def float_and_copied(builder: NetworkBuilder) -> ModuleOp:
    value = builder.depthwise(builder.quantize(builder.float_input((1, 6, 6, 2))))
    return builder.finish(builder.dequantize(value), value, value)


def input_as_output(builder: NetworkBuilder) -> ModuleOp:
    image = builder.input((1, 4, 4, 2))
    return builder.finish(image, builder.reshape(image, (1, 32)), builder.conv(image, 3))


def depthwise_chain(builder: NetworkBuilder) -> ModuleOp:
    value = builder.conv(builder.input((1, 7, 7, 2)), 6)
    for _ in range(3):
        value = builder.depthwise(value)
    return builder.finish(value)


@pytest.mark.parametrize("passes", [WHOLE_TENSORS, default_passes()], ids=["whole tensors", "default"])
@pytest.mark.parametrize("make", [float_and_copied, input_as_output, depthwise_chain], ids=lambda make: make.__name__)
def test_copies_and_layers_in_place(make: Callable[[NetworkBuilder], ModuleOp], passes: str) -> None:
    assert_same(make(NetworkBuilder(21)), passes)


@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="needs ../shared with models")
@pytest.mark.parametrize("network", ["ad01_int8", "kws_ref_model", "pretrainedResnet_quant", "vww_96_int8", "vww"])
def test_published_networks_run_row_by_row(network: str) -> None:
    _, schedule = assert_same(load_model(SHARED / "models" / f"{network}.tflite"), default_passes())
    assert buffers_of_kind(schedule, "ring") or network == "ad01_int8"
