"""ONNX as exporters write it: old opsets, functions of the file's own, free batches; always against ONNX Runtime or the plain form."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from support.onnx_builder import GraphBuilder, as_int8, one_op, run_onnxruntime
from support.onnx_networks import network
from tinyc.errors import ModelError, UnsupportedError, UsageError
from tinyc.frontends.onnx import import_onnx
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile
from tinyc.passes.channels_last import ChannelsLast
from tinyc.passes.manager import run_passes

IMAGE = ((0.1, 3), (1, 4, 6, 6))


def assert_equals_onnxruntime(model: onnx.ModelProto) -> None:
    """tinyc's answer to a random image against ONNX Runtime's."""
    pytest.importorskip("onnxruntime")
    feeds = {
        value.name: np.random.default_rng(1)
        .integers(-128, 128, [size.dim_value for size in value.type.tensor_type.shape.dim])
        .astype(np.int8)
        for value in model.graph.input
    }
    module = import_onnx(model.SerializeToString(), "model.onnx")
    run_passes(module, [ChannelsLast("nchw")])
    found = evaluate(module, [as_int8(values) for values in feeds.values()], Profile.ONNXRUNTIME)
    for ours, expected in zip(found, run_onnxruntime(model, feeds), strict=True):
        np.testing.assert_array_equal(ours, expected)


OLD_FORMS: dict[str, tuple[str, int, Mapping[str, Any], Mapping[str, Any]]] = {
    "Squeeze by attribute": ("Squeeze", 11, {}, {"axes": [0]}),
    "Unsqueeze by attribute": ("Unsqueeze", 11, {}, {"axes": [2]}),
    "Softmax that flattens": ("Softmax", 11, {}, {"axis": 2}),
    "Clip by input": ("Clip", 11, {"low": np.float32(-0.3), "high": np.float32(1.2)}, {}),
    "Clip by attribute": ("Clip", 10, {}, {"min": -0.3, "max": 1.2}),
    "Pad by input": ("Pad", 11, {"pads": np.array([0, 0, 1, 2, 0, 0, 0, 3])}, {"mode": "constant"}),
    "Pad by attribute": ("Pad", 10, {}, {"pads": [0, 0, 1, 2, 0, 0, 0, 3]}),
    "Slice by attribute": ("Slice", 10, {"starts": np.array([1]), "ends": np.array([5]), "axes": np.array([2])}, {}),
    "Dropout with its ratio as an attribute": ("Dropout", 11, {}, {"ratio": 0.4}),
    "Resize of opset 11": (
        "Resize",
        11,
        {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)},
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    "Resize of opset 10": ("Resize", 10, {"scales": np.array([1, 1, 2, 2], np.float32)}, {"mode": "nearest"}),
    "AveragePool of opset 10": ("AveragePool", 10, {}, {"kernel_shape": [3, 2], "strides": [2, 1]}),
    "Elu of opset 10": ("Elu", 10, {}, {"alpha": 0.6}),
}


@pytest.mark.parametrize("form", OLD_FORMS)
def test_forms_of_older_opsets_equal_onnx_runtime(form: str) -> None:
    op, opset, extra, attributes = OLD_FORMS[form]
    out = (1 / 256, -128) if op == "Softmax" else IMAGE[0]
    assert_equals_onnxruntime(one_op(op, [IMAGE], out, np.int8, extra, opset, **attributes))


def test_a_split_by_attribute_equals_onnx_runtime() -> None:
    graph = GraphBuilder()
    graph.input("x", [1, 6, 4, 4], np.int8)
    real = graph.dequantize("x", (0.1, 3))
    graph.nodes.append(helper.make_node("Split", [real], ["a", "b"], axis=1, split=[2, 4]))
    for name in ("a", "b"):
        graph.output(graph.quantize(name, (0.1, 3)), np.int8)
    assert_equals_onnxruntime(graph.model(11))


@pytest.mark.parametrize("opset", [11, 12, 16])
def test_a_network_of_an_older_opset_gives_the_same_module(opset: int) -> None:
    newer, older = network(False), network(False)
    older.opset_import[0].version = opset
    texts = [str(next(iter(import_onnx(model.SerializeToString(), "model.onnx").ops))) for model in (newer, older)]
    assert texts[0] == texts[1]


# Functions


def function(name: str, calls: tuple[str, str], times: int = 1, opset: int = 17) -> onnx.FunctionProto:
    """A function of the domain `local` that calls (op, domain) `times` times, one behind the other."""
    values = ["x", *(f"value{index}" for index in range(times - 1)), "y"]
    nodes = [helper.make_node(calls[0], [source], [result], domain=calls[1]) for source, result in pairwise(values)]
    return helper.make_function("local", name, ["x"], ["y"], nodes, [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)])


def calling(functions: list[onnx.FunctionProto], name: str, opset: int = 17) -> onnx.ModelProto:
    """A model that calls a function on a dequantised tensor."""
    graph = GraphBuilder()
    graph.input("x", [1, 4, 6, 6], np.int8)
    real = graph.dequantize("x", IMAGE[0])
    graph.output(graph.quantize(graph.node(name, [real], "called", "local"), IMAGE[0]), np.int8)
    model = graph.model(opset)
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.functions.extend(functions)
    model.ir_version = 10
    return model


@pytest.mark.parametrize("depth", [1, 2, 30])
def test_functions_in_functions_are_inlined(depth: int) -> None:
    functions = [function("f0", ("Relu", "")), *(function(f"f{index}", (f"f{index - 1}", "local")) for index in range(1, depth))]
    assert_equals_onnxruntime(calling(functions, f"f{depth - 1}"))


def test_a_function_of_another_opset_is_converted() -> None:
    assert_equals_onnxruntime(calling([function("f", ("Sigmoid", ""), opset=13)], "f", 18))


def test_a_function_called_with_attributes_of_its_caller_is_inlined() -> None:
    body = helper.make_node("LeakyRelu", ["x"], ["y"])
    body.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    made = helper.make_function("local", "leaky", ["x"], ["y"], [body], [helper.make_opsetid("", 17)], attributes=["slope"])
    model = calling([made], "leaky")
    next(node for node in model.graph.node if node.domain == "local").attribute.append(helper.make_attribute("slope", 0.25))
    assert_equals_onnxruntime(model)


@pytest.mark.parametrize(
    ("functions", "name", "reason"),
    [
        ([function("f", ("f", "local"))], "f", "recursive"),
        ([function("f", ("g", "local")), function("g", ("f", "local"))], "f", "recursive"),
        ([function("f0", ("Relu", "")), *(function(f"f{i}", (f"f{i - 1}", "local")) for i in range(1, 2000))], "f1999", "depth"),
        ([function("f0", ("Relu", "")), *(function(f"f{i}", (f"f{i - 1}", "local"), 4) for i in range(1, 20))], "f19", "100000 nodes"),
    ],
    ids=["calls itself", "call each other", "2,000 deep", "expand to 4^19 nodes"],
)
def test_functions_that_cannot_be_inlined_are_one_clear_line(functions: list[onnx.FunctionProto], name: str, reason: str) -> None:
    with pytest.raises(ModelError) as caught:
        import_onnx(calling(functions, name).SerializeToString(), "model.onnx")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


# Free dimensions


def test_a_batch_that_is_free_in_every_input_becomes_one() -> None:
    graph = GraphBuilder()
    for name in ("a", "b"):
        graph.input(name, ["batch", 4], np.int8)
    total = graph.node("Add", [graph.dequantize("a", (0.1, 3)), graph.dequantize("b", (0.2, 5))], "total")
    graph.output(graph.quantize(total, (0.25, 0)), np.int8)
    module = import_onnx(graph.model().SerializeToString(), "model.onnx")
    assert str(module).count("[1, 4]") >= 3


def test_a_reshape_that_computes_its_shape_from_a_free_batch_folds() -> None:
    graph = GraphBuilder()
    graph.input("x", ["N", 4, 6, 6], np.int8)
    real = graph.dequantize("x", IMAGE[0])
    shape = graph.node("Shape", [real], "shape")
    batch = graph.node("Gather", [shape, graph.constant("zero", np.array([0]))], "batch", axis=0)
    wanted = graph.node("Concat", [batch, graph.constant("rest", np.array([-1]))], "wanted", axis=0)
    graph.output(graph.quantize(graph.node("Reshape", [real, wanted], "flat"), IMAGE[0]), np.int8)
    model = graph.model()
    module = import_onnx(model.SerializeToString(), "model.onnx")
    assert "[1, 144]" in str(module)


@pytest.mark.parametrize(
    ("shape", "error", "reason"),
    [
        ((1, 3, 24), UsageError, "4 dimensions"),
        ((1, 3, 0, 24), ModelError, "shape"),
        ((2, 3, 16, 16), UnsupportedError, "image"),
        ((1, 3, 1 << 20, 1 << 20), ModelError, "shape"),
    ],
)
def test_a_given_shape_that_does_not_fit_is_refused(shape: tuple[int, ...], error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        import_onnx(network(True, batch="N").SerializeToString(), "model.onnx", None, {"image": shape})
