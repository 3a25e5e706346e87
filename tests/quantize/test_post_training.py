"""Whole networks: what is written, that ONNX Runtime runs it, and how much is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from float_models import make_model, node, random_constants, save
from onnx import TensorProto, numpy_helper

from tinyc.quantize.measure import decibels, loss_table
from tinyc.quantize.options import METHODS, QuantizeOptions
from tinyc.quantize.post_training import Quantized, quantize_arrays
from tinyc.zoo import make_network, networks, synthetic_inputs

onnxruntime = pytest.importorskip("onnxruntime")
PLAIN = {
    "QuantizeLinear",
    "DequantizeLinear",
    "Conv",
    "Gemm",
    "Add",
    "Concat",
    "MaxPool",
    "GlobalAveragePool",
    "Resize",
    "Softmax",
    "Flatten",
}


def quantized(name: str, folder: Path, options: QuantizeOptions | None = None, **settings: float) -> Quantized:
    model = make_network(name, **settings)  # type: ignore[arg-type]
    shape = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    return quantize_arrays(save(model, folder), {"input": synthetic_inputs(shape[1:], 4, 1)}, options)


def run_quantized(model: onnx.ModelProto, sample: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: sample}))


LARGE = {"mobilenet-v2", "mcunet-in4", "proxyless-mobile", *(name for name in networks() if name.endswith("int4"))}
"""Several seconds each, mostly for rounding millions of weights."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in networks()])
def test_every_network_of_the_zoo_becomes_plain_qdq_that_onnx_runtime_runs(name: str, tmp_path: Path) -> None:
    small = {option: value for option, value in (("resolution", 64), ("width", 0.5)) if option in networks()[name].adjustable}
    result = quantized(name, tmp_path, None, **small)
    assert {one.op_type for one in result.model.graph.node} <= PLAIN
    shape = [dimension.dim_value for dimension in result.model.graph.input[0].type.tensor_type.shape.dim]
    outputs = run_quantized(result.model, synthetic_inputs(shape[1:], 1, 5))
    assert all(np.isfinite(output).all() and output.std() > 0 for output in outputs)
    assert result.loss is not None
    ends = {value.name for value in result.model.graph.output}
    assert min(layer.activation_sqnr for layer in result.loss.layers if layer.tensor in ends) > 10


def test_weights_are_int8_with_one_symmetric_scale_a_channel_and_biases_int32_with_the_product_scale(tmp_path: Path) -> None:
    graph = quantized("resnet-8", tmp_path).model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {one.output[0]: one for one in graph.node}
    layers = [one for one in graph.node if one.op_type in ("Conv", "Gemm")]
    assert len(layers) == 10
    for layer in layers:
        source, weights, bias = (makers[name] for name in layer.input)
        channels = values[weights.input[0]].shape[0]
        assert values[weights.input[0]].dtype == np.int8
        assert values[weights.input[1]].shape == (channels,)
        assert not values[weights.input[2]].any()
        assert values[bias.input[0]].dtype == np.int32
        product = values[source.input[1]] * values[weights.input[1]]
        np.testing.assert_allclose(values[bias.input[1]], product, rtol=1e-6)
        assert values[source.input[1]].shape == ()
        assert values[source.input[2]].dtype == np.int8


def test_relu_and_clip_disappear_into_a_range_that_starts_at_zero(tmp_path: Path) -> None:
    graph = quantized("mobilenet-v1-vww", tmp_path).model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rectified = [one for one in graph.node if one.op_type == "QuantizeLinear" and one.input[0].endswith(".relu6")]
    assert len(rectified) == 27
    for one in rectified:
        assert values[one.input[2]] == -128
        assert values[one.input[1]] * 255 <= 6.0001


def test_softmax_sigmoid_and_tanh_have_the_scales_that_their_range_implies(tmp_path: Path) -> None:
    for operator, scale, zero_point in (("Softmax", 1 / 256, -128), ("Sigmoid", 1 / 256, -128), ("Tanh", 1 / 128, 0)):
        path = save(make_model([node(operator, ["x"], ["y"])], shape=(1, 8)), tmp_path)
        graph = quantize_arrays(path, {"x": np.random.RandomState(0).normal(0, 2, (4, 8)).astype(np.float32)}).model.graph
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        last = next(one for one in graph.node if one.op_type == "DequantizeLinear" and one.output[0] == "y")
        assert values[last.input[1]] == np.float32(scale)
        assert values[last.input[2]] == zero_point


def test_a_clip_that_excludes_zero_stays(tmp_path: Path) -> None:
    constants = random_constants(w=(4, 4, 1, 1)) | {"one": np.array(1, np.float32), "two": np.array(2, np.float32)}
    model = make_model([node("Conv", ["x", "w"], ["a"]), node("Clip", ["a", "one", "two"], ["y"])], constants)
    result = quantize_arrays(save(model, tmp_path), {"x": np.random.RandomState(0).normal(0, 1, (4, 4, 6, 6)).astype(np.float32)})
    assert "Clip" in {one.op_type for one in result.model.graph.node}
    (output,) = run_quantized(result.model, np.zeros((1, 4, 6, 6), np.float32))
    np.testing.assert_allclose(output, 1, atol=0.01)


def test_a_network_of_many_operators_keeps_its_answer(tmp_path: Path) -> None:
    constants = random_constants(w=(8, 4, 3, 3), e=(8, 8, 1, 1), d=(5, 8)) | {
        "scales": np.array([1, 1, 2, 2], np.float32),
        "start": np.array([0], np.int64),
        "end": np.array([4], np.int64),
        "axis": np.array([1], np.int64),
        "half": np.array([4, 4], np.int64),
    }
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("HardSwish", ["a"], ["b"]),
        node("ReduceMean", ["b"], ["m"], axes=[2, 3], keepdims=1),
        node("Conv", ["m", "e"], ["f"]),
        node("HardSigmoid", ["f"], ["g"], alpha=1 / 6),
        node("Mul", ["b", "g"], ["h"]),
        node("LeakyRelu", ["h"], ["i"], alpha=0.1),
        node("Split", ["i", "half"], ["j", "k"], axis=1),
        node("Sigmoid", ["j"], ["l"]),
        node("Tanh", ["k"], ["n"]),
        node("Concat", ["n", "l"], ["o"], axis=1),
        node("AveragePool", ["o"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", ["p", "", "scales"], ["q"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("Sub", ["q", "o"], ["r"]),
        node("Slice", ["r", "start", "end", "axis"], ["s"]),
        node("Concat", ["s", "n"], ["t"], axis=1),
        node("Transpose", ["t"], ["u"], perm=[0, 2, 3, 1]),
        node("Transpose", ["u"], ["v"], perm=[0, 3, 1, 2]),
        node("ReduceMean", ["v"], ["z"], axes=[2, 3], keepdims=0),
        node("Gemm", ["z", "d"], ["y"], transB=1),
    ]
    model = make_model(nodes, constants, rank=2)
    result = quantize_arrays(save(model, tmp_path), {"x": synthetic_inputs((4, 6, 6), 16, 1)})
    assert result.loss is not None
    assert next(layer.activation_sqnr for layer in result.loss.layers if layer.tensor == "y") > 18


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("corrected", [False, True])
def test_the_same_data_gives_the_same_bytes(method: str, corrected: bool, tmp_path: Path) -> None:
    options = QuantizeOptions(method, equalise=corrected, correct_bias=corrected, compare=False)
    first, again = (quantized("ds-cnn", tmp_path, options).model.SerializeToString(deterministic=True) for _ in range(2))
    assert first == again


def test_methods_choose_different_scales(tmp_path: Path) -> None:
    models = {quantized("ds-cnn", tmp_path, QuantizeOptions(method, compare=False)).model.SerializeToString() for method in METHODS}
    assert len(models) == len(METHODS)


def test_the_table_of_losses_begins_with_the_worst_layer_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    loss = quantized("resnet-8", tmp_path).loss
    assert loss is not None
    sqnr = [layer.activation_sqnr for layer in loss.layers]
    assert sqnr == sorted(sqnr)
    assert all(layer.weight_sqnr is not None and layer.weight_sqnr > 30 for layer in loss.layers if layer.operator in ("Conv", "Gemm"))
    lines = loss_table(loss.layers, 3).splitlines()
    assert lines[1].startswith(loss.layers[0].tensor)
    assert lines[-1] == f"... and {len(sqnr) - 3} more that lose less"
    assert len(loss_table(loss.layers).splitlines()) == len(sqnr) + 1
    assert loss.same_top is not None
    assert 0 <= loss.same_top <= 1


def test_losses_are_measured_against_the_float_network(tmp_path: Path) -> None:
    # The sum of a rounded value with itself has twice its grid: the noise is that of rounding the input to 255 steps.
    model = make_model([node("Add", ["x", "x"], ["y"])], shape=(1, 4096))
    values = np.random.RandomState(0).uniform(-1, 1, (2, 4096)).astype(np.float32)
    loss = quantize_arrays(save(model, tmp_path), {"x": values}).loss
    assert loss is not None
    step = 2 / 255
    assert loss.layers[0].activation_sqnr == pytest.approx(decibels(float((values**2).mean()), step**2 / 12), abs=0.5)


def test_a_relu_on_the_input_is_quantised_too(tmp_path: Path) -> None:
    path = save(make_model([node("Relu", ["x"], ["y"])]), tmp_path)
    graph = quantize_arrays(path, {"x": np.random.RandomState(0).normal(0, 1, (2, 4, 6, 6)).astype(np.float32)}).model.graph
    assert [one.op_type for one in graph.node] == ["QuantizeLinear", "DequantizeLinear", "Relu", "QuantizeLinear", "DequantizeLinear"]


def test_decibels_of_extremes() -> None:
    assert decibels(1.0, 0.0) == float("inf")
    assert decibels(0.0, 1.0) == float("-inf")
    assert decibels(100.0, 1.0) == pytest.approx(20)


def test_a_dead_channel_does_not_break_the_scales(tmp_path: Path) -> None:
    constants = random_constants(w=(4, 4, 1, 1))
    constants["w"][1] = 0
    model = make_model([node("Conv", ["x", "w"], ["y"])], constants)
    result = quantize_arrays(save(model, tmp_path), {"x": np.ones((1, 4, 6, 6), np.float32)})
    (output,) = run_quantized(result.model, np.ones((1, 4, 6, 6), np.float32))
    assert np.isfinite(output).all()
    assert not output[0, 1].any()
    scales = [numpy_helper.to_array(tensor) for tensor in result.model.graph.initializer if tensor.data_type == TensorProto.FLOAT]
    assert all((scale > 0).all() for scale in scales)
