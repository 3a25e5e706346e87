"""What the front end refuses: always an UnsupportedError that says where, what, why and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from models import conv_model, conv_options, imported, int8, node_model, tensor

from support.tflite_builder import Op, Tensor, build_model
from tinyc.driver.compile import compile_module
from tinyc.driver.pipeline import CompileOptions
from tinyc.errors import Diagnostic, ModelError, UnsupportedError
from tinyc.frontends.tflite import import_tflite
from tinyc.targets import load_target

POOL = {"Padding": 0, "StrideH": 1, "StrideW": 1, "FilterHeight": 2, "FilterWidth": 2, "FusedActivationFunction": 0}
ADD = {"FusedActivationFunction": 0}
IMAGE = (1, 6, 5, 3)


def paddings(*rows: tuple[int, int]) -> Tensor:
    return Tensor("p", (len(rows), 2), "int32", data=np.array(rows, np.int32))


def refusals(model: bytes) -> tuple[Diagnostic, ...]:
    with pytest.raises(UnsupportedError) as caught:
        imported(model)
    for diagnostic in caught.value.diagnostics:
        assert diagnostic.file == "model.tflite"
        assert str(diagnostic) in str(caught.value)
    return caught.value.diagnostics


CASES: dict[str, tuple[Callable[[], bytes], str, str, str]] = {
    "unknown op": (lambda: node_model("CUMSUM", [tensor("x", (1, 4))], tensor("y", (1, 4))), "CUMSUM", "", "not supported"),
    "int16 activations": (lambda: conv_model(y=tensor("y", (1, 6, 5, 4), dtype="int16")), "CONV_2D", "tensor", "INT16"),
    "float model": (lambda: conv_model(y=Tensor("y", (1, 6, 5, 4), "float32")), "CONV_2D", "output", "not quantised"),
    "output without scale": (lambda: conv_model(y=Tensor("y", (1, 6, 5, 4))), "CONV_2D", "quantization", "needs one scale and zero point"),
    "per-channel output": (lambda: conv_model(y=tensor("y", (1, 6, 5, 4), [0.5, 0.25])), "CONV_2D", "quantization", "needs one scale"),
    "scale zero": (lambda: conv_model(y=tensor("y", (1, 6, 5, 4), 0.0)), "CONV_2D", "quantization", "expected a positive number"),
    "scale nan": (lambda: conv_model(y=tensor("y", (1, 6, 5, 4), float("nan"))), "CONV_2D", "quantization", "expected a positive number"),
    "zero point outside int8": (lambda: conv_model(y=tensor("y", (1, 6, 5, 4), 0.5, 200)), "CONV_2D", "quantization", "zero point 200"),
    "batch 2": (lambda: conv_model((2, 6, 5, 3), output=(2, 6, 5, 4)), "CONV_2D", "shape", r"image of shape \[1, H, W, C\]"),
    "channels that are no multiple": (lambda: conv_model((1, 6, 5, 5)), "CONV_2D", "weights", "do not fit an input with 5 channels"),
    "weights at run time": (
        lambda: node_model("CONV_2D", [tensor("x", IMAGE), tensor("w", (4, 3, 3, 3), 0.1)], tensor("y", (1, 6, 5, 4)), conv_options()),
        "CONV_2D",
        "weights",
        "constant",
    ),
    "weight zero point": (
        lambda: conv_model(w=tensor("w", (4, 3, 3, 3), 0.1, 5, data=int8(4, 3, 3, 3))),
        "CONV_2D",
        "weights",
        "zero point",
    ),
    "weight scale count": (
        lambda: conv_model(w=tensor("w", (4, 3, 3, 3), [0.1] * 3, data=int8(4, 3, 3, 3))),
        "CONV_2D",
        "weights",
        "3 weight scales for 4",
    ),
    "weight scale axis": (
        lambda: conv_model(w=tensor("w", (4, 3, 3, 3), [0.1] * 4, quantized_dimension=3, data=int8(4, 3, 3, 3))),
        "CONV_2D",
        "weights",
        "scales run along dimension 3",
    ),
    "weight scale infinite": (
        lambda: conv_model(w=tensor("w", (4, 3, 3, 3), float("inf"), data=int8(4, 3, 3, 3))),
        "CONV_2D",
        "weights",
        "not a finite number",
    ),
    "bias length": (lambda: conv_model(b=Tensor("b", (3,), "int32", data=np.zeros(3, np.int32))), "CONV_2D", "bias", "must be 4 constant"),
    "bias type": (lambda: conv_model(b=tensor("b", (4,), data=int8(4))), "CONV_2D", "bias", "must be 4 constant int32"),
    "wrong output shape with SAME": (lambda: conv_model(output=(1, 6, 6, 4)), "CONV_2D", "shape", "6 x 6.* give 6 x 5"),
    "wrong output shape with VALID": (lambda: conv_model(options=conv_options("valid")), "CONV_2D", "", "result has shape"),
    "unknown activation": (lambda: conv_model(options=conv_options(activation=4)), "CONV_2D", "fused_activation_function", "not supported"),
    "stride zero": (lambda: conv_model(options=conv_options(stride=(0, 1))), "CONV_2D", "options", "make no sense"),
    "negative padding": (
        lambda: node_model("PAD", [tensor("x", IMAGE), paddings((0, 0), (-1, 0), (0, 0), (0, 0))], tensor("y", (1, 5, 5, 3))),
        "PAD",
        "paddings",
        "do not fit",
    ),
    "padding of another rank": (
        lambda: node_model("PAD", [tensor("x", IMAGE), paddings((0, 0), (1, 1))], tensor("y", IMAGE)),
        "PAD",
        "paddings",
        "do not fit",
    ),
    "padding at run time": (
        lambda: node_model("PAD", [tensor("x", IMAGE), Tensor("p", (4, 2), "int32")], tensor("y", IMAGE)),
        "PAD",
        "paddings",
        "constant",
    ),
    "pad with other quantisation": (
        lambda: node_model("PAD", [tensor("x", IMAGE), paddings(*[(0, 0)] * 4)], tensor("y", IMAGE, 0.25)),
        "PAD",
        "quantization",
        "must keep",
    ),
    "pool with other quantisation": (
        lambda: node_model("MAX_POOL_2D", [tensor("x", IMAGE)], tensor("y", IMAGE, 0.25), POOL),
        "MAX_POOL_2D",
        "quantization",
        "must keep",
    ),
    "operands do not broadcast": (
        lambda: node_model("ADD", [tensor("a", (1, 4)), tensor("b", (1, 3))], tensor("y", (1, 4)), ADD),
        "ADD",
        "shape",
        "do not broadcast",
    ),
    "axis out of range": (
        lambda: node_model(
            "MEAN", [tensor("x", IMAGE), Tensor("axes", (1,), "int32", data=np.array([4], np.int32))], tensor("y", (1, 6, 5)), {}
        ),
        "MEAN",
        "axes",
        "are not axes",
    ),
    "softmax with another output": (
        lambda: node_model("SOFTMAX", [tensor("x", (1, 4))], tensor("y", (1, 4), 0.5), {"Beta": 1.0}),
        "SOFTMAX",
        "quantization",
        "1/256",
    ),
    "softmax with a negative beta": (
        lambda: node_model("SOFTMAX", [tensor("x", (1, 4))], tensor("y", (1, 4), 1 / 256, -128), {"Beta": -1.0}),
        "SOFTMAX",
        "beta",
        "positive",
    ),
    "reshape to another size": (
        lambda: node_model("RESHAPE", [tensor("x", (1, 4))], tensor("y", (1, 5)), {"NewShape": [1, 5]}),
        "RESHAPE",
        "",
        "do not fill",
    ),
    "permutation of another rank": (
        lambda: node_model(
            "TRANSPOSE", [tensor("x", (1, 4)), Tensor("o", (3,), "int32", data=np.array([0, 1, 2], np.int32))], tensor("y", (1, 4))
        ),
        "TRANSPOSE",
        "perm",
        "",
    ),
    "fully connected weights of rank 4": (
        lambda: node_model(
            "FULLY_CONNECTED", [tensor("x", (1, 4)), tensor("w", (2, 2, 2, 2), 0.1, data=int8(2, 2, 2, 2))], tensor("y", (1, 2)), ADD
        ),
        "FULLY_CONNECTED",
        "weights",
        "two dimensions",
    ),
    "shuffled weights": (
        lambda: node_model(
            "FULLY_CONNECTED", [tensor("x", (1, 4)), tensor("w", (2, 4), 0.1, data=int8(2, 4))], tensor("y", (1, 2)), {"WeightsFormat": 1}
        ),
        "FULLY_CONNECTED",
        "weights_format",
        "shuffled",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_is_refused(case: str) -> None:
    make, op, attribute, reason = CASES[case]
    found = [entry for entry in refusals(make()) if entry.op == op]
    assert len(found) == 1
    assert found[0].node == "y"
    assert found[0].attribute == attribute
    assert re.search(reason, found[0].reason), found[0].reason


def test_a_zero_dimension_is_refused_at_the_input() -> None:
    found = refusals(node_model("ADD", [tensor("a", (1, 0)), tensor("b", (1, 0))], tensor("y", (1, 0)), ADD))
    assert [(entry.op, entry.node, entry.attribute) for entry in found[:2]] == [("input", "a", "shape"), ("input", "b", "shape")]
    assert all("static shapes" in entry.hint for entry in found[:2])


def test_a_negative_dimension_is_a_damaged_file() -> None:
    with pytest.raises(ModelError, match="impossible shape"):
        imported(node_model("ADD", [tensor("a", (1, -4)), tensor("b", (1, 4))], tensor("y", (1, 4)), ADD))


def test_all_bad_nodes_are_reported_at_once_and_good_ones_are_not() -> None:
    tensors = [tensor("x", (1, 4)), tensor("one", (1, 4)), tensor("two", (1, 4)), tensor("three", (1, 4)), tensor("y", (1, 5))]
    ops = [
        Op("CUMSUM", ["x"], ["one"]),
        Op("ADD", ["one", "x"], ["two"], ADD),
        Op("CUMSUM", ["two"], ["three"]),
        Op("RESHAPE", ["three"], ["y"], {"NewShape": [1, 5]}),
    ]
    found = refusals(build_model(tensors, ops, ["x"], ["y"]))
    assert [(entry.op, entry.node) for entry in found] == [("CUMSUM", "one"), ("CUMSUM", "three"), ("RESHAPE", "y")]
    with pytest.raises(UnsupportedError, match="3 nodes are not supported"):
        imported(build_model(tensors, ops, ["x"], ["y"]))


def test_the_hint_for_an_unknown_op_lists_what_is_supported() -> None:
    (found,) = refusals(CASES["unknown op"][0]())
    assert "CONV_2D" in found.hint
    assert "SOFTMAX" in found.hint


def test_a_custom_op_is_named_by_its_code() -> None:
    model = node_model("CUSTOM", [tensor("x", (1, 4))], tensor("y", (1, 4)))
    (found,) = refusals(model)
    assert found.op.startswith("CUSTOM")
    assert found.node == "y"


def test_names_from_the_file_cannot_control_the_terminal() -> None:
    name = "evil\x1b[31m\nerror: all fine\r"
    with pytest.raises(UnsupportedError) as caught:
        imported(node_model("CUMSUM", [tensor("x", (1, 4))], tensor(name, (1, 4))))
    assert caught.value.diagnostics[0].node == name
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_an_output_that_is_a_constant_without_a_type_in_the_ir_is_refused_like_a_node() -> None:
    tensors = [tensor("x", (1, 4)), tensor("y", (1, 4)), tensor("c", (2,), [0.5, 0.25], data=int8(2))]
    (found,) = refusals(build_model(tensors, [Op("ADD", ["x", "x"], ["y"], ADD)], ["x"], ["y", "c"]))
    assert (found.op, found.node, found.attribute) == ("output", "c", "quantization")


def test_scales_that_overflow_are_refused_where_code_is_made_of_them() -> None:
    random = np.random.default_rng(0)
    weights = Tensor("w", (4, 8), scale=3e38, data=random.integers(-127, 128, (4, 8)).astype(np.int8))
    tensors = [Tensor("x", (1, 8), scale=3e38), weights, Tensor("y", (1, 4), scale=1.0)]
    model = build_model(tensors, [Op("FULLY_CONNECTED", ["x", "w", None], ["y"], {})], ["x"], ["y"])
    module = import_tflite(model, "huge.tflite")
    with pytest.raises(UnsupportedError, match="requantise the model"):
        compile_module(module, "huge", load_target("cortex-m4"), CompileOptions(measure=False))


@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_an_image_without_channels_is_refused(op: str) -> None:
    weights = Tensor("w", (1, 3, 3, 4), scale=0.1, data=np.ones((1, 3, 3, 4), np.int8))
    tensors = [Tensor("x", (1, 6, 5, 0), scale=0.5), weights, Tensor("y", (1, 6, 5, 4), scale=0.5)]
    model = build_model(tensors, [Op(op, ["x", "w", None], ["y"], conv_options())], ["x"], ["y"])
    with pytest.raises(UnsupportedError, match="has no elements"):
        import_tflite(model, "empty.tflite")
