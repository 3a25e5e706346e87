"""What the ONNX front end refuses, and how: all nodes at once, each with its reason, and one line for a damaged file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from support.onnx_builder import GraphBuilder, one_op
from support.onnx_networks import network
from tinyc.errors import ModelError, TinycError, UnsupportedError, UsageError
from tinyc.frontends.load import load_model
from tinyc.frontends.onnx import import_onnx

IMAGE = ((0.1, 3), (1, 4, 5, 6))


def refusal(model: onnx.ModelProto) -> UnsupportedError:
    """The error for a model that must be refused."""
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(model.SerializeToString(), "model.onnx")
    return caught.value


def constant_of(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    """The initializer called `name`."""
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def replaced(model: onnx.ModelProto, name: str, values: Any) -> onnx.ModelProto:
    """The model with other data for one constant."""
    constant_of(model, name).CopyFrom(numpy_helper.from_array(np.asarray(values), name))
    return model


def test_a_float_model_is_refused_with_the_way_to_quantise_it() -> None:
    graph = GraphBuilder()
    graph.input("x", [1, 3, 4, 4])
    weights = graph.constant("w", np.ones((2, 3, 1, 1), np.float32))
    graph.output(graph.node("Conv", ["x", weights], "y"))
    error = refusal(graph.model())
    assert len(error.diagnostics) == 1
    assert "float32" in str(error)
    assert "tinyc quantize" in str(error)


def test_all_refused_nodes_are_named_at_once_and_nodes_behind_them_are_not() -> None:
    graph = GraphBuilder()
    graph.input("x", [1, 4, 5, 6], np.int8)
    real = graph.dequantize("x", (0.1, 3))
    pool = graph.fake(graph.node("MaxPool", [real], "dilated", kernel_shape=[2, 2], dilations=[2, 2]), (0.1, 3))
    graph.node("Relu", [pool], "behind")
    loop = graph.node("LSTM", [real, real, real], "recurrent")
    graph.output(graph.quantize(loop, (0.1, 3)), np.int8)
    graph.output(graph.quantize("behind", (0.1, 3)), np.int8)
    error = refusal(graph.model())
    assert [entry.node for entry in error.diagnostics] == ["dilated", "recurrent"]
    assert [entry.attribute for entry in error.diagnostics] == ["dilations", ""]
    assert all(entry.file == "model.onnx" and entry.reason for entry in error.diagnostics)
    assert "unroll" in error.diagnostics[1].hint


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "a scale that is not a number": (lambda: replaced(one_op("Relu", [IMAGE], (0.1, 3)), "x0_d_scale", np.float32("nan")), "finite"),
    "a scale of zero": (lambda: replaced(one_op("Relu", [IMAGE], (0.1, 3)), "x0_d_scale", np.float32(0)), "positive"),
    "a negative scale": (lambda: replaced(one_op("Relu", [IMAGE], (0.1, 3)), "result_q_scale", np.float32(-1)), "positive"),
    "several scales for an activation": (
        lambda: replaced(
            replaced(one_op("Relu", [IMAGE], (0.1, 3)), "result_q_scale", np.ones(4, np.float32)), "result_q_zero", np.zeros(4, np.int8)
        ),
        "one scale",
    ),
    "fewer zero points than scales": (
        lambda: replaced(one_op("Relu", [IMAGE], (0.1, 3)), "result_q_zero", np.zeros(3, np.int8)),
        "3 zero points for 1 scale",
    ),
    "int16 activations": (lambda: replaced(one_op("Relu", [IMAGE], (0.1, 3)), "result_q_zero", np.int16(0)), "int16"),
    "an unknown op": (lambda: one_op("Erf", [IMAGE], (0.1, 3)), "not supported"),
    "bilinear resizing": (
        lambda: one_op("Resize", [IMAGE], (0.1, 3), np.int8, {"roi": None, "scales": np.array([1, 1, 2, 2], np.float32)}, mode="linear"),
        "mode linear",
    ),
    "indices that no rule picks": (
        lambda: one_op(
            "Resize",
            [IMAGE],
            (0.1, 3),
            np.int8,
            {"roi": None, "scales": np.array([1, 1, 3, 3], np.float32)},
            mode="nearest",
            coordinate_transformation_mode="half_pixel",
            nearest_mode="floor",
        ),
        "picks elements",
    ),
    "a softmax that overflows": (lambda: one_op("Softmax", [((0.1, 3), (4, 1))], (1 / 256, -128), axis=1), "overflows"),
    "shapes that do not broadcast": (lambda: one_op("Add", [IMAGE, ((0.1, 0), (1, 4, 5, 5))], (0.1, 3)), "do not broadcast"),
    "a reshape to another size": (lambda: one_op("Reshape", [IMAGE], (0.1, 3), extra={"shape": np.array([7, -1])}), "does not reshape"),
    "an input whose scale nobody knows": (lambda: _without_scale(), "which scale"),
    "a float output": (lambda: _float_output(), "nothing quantises it"),
    "a float operand": (lambda: _float_operand(), "float32 constant"),
    "a bias with a foreign scale": (lambda: _network_with("first_b_scale", np.full(8, 1e-3, np.float32)), "input scale * weight scale"),
    "weights in groups that leave int8": (lambda: _network_with("depthwise_w_zero", np.full(8, 4, np.int8)), "without their zero point"),
    "a mean that is computed in float32": (lambda: one_op("ReduceMean", [IMAGE], (0.1, 3), axes=[2, 3]), "in an order of additions"),
    "a dropout that drops": (
        lambda: one_op("Dropout", [IMAGE], (0.1, 3), np.int8, {"ratio": np.float32(0.5), "mode": np.array(True)}),
        "that drops",
    ),
    "arithmetic on 8-bit numbers that stand for nothing": (lambda: _raw_sum(), "works on real values"),
    "blocks that do not fit": (lambda: _with_blocks((1, 3)), "in blocks of 2"),
    "a block's scale of zero": (lambda: _with_blocks((1, 2), 0), "not positive"),
    "a relu that the quantisation does not imply": (lambda: _layer("Conv", relu=True), "bounds 0 and none"),
    "a relu behind a matrix product, not implied": (lambda: _layer("Gemm", relu=True), "computes this layer in float32"),
    "a relu behind a mean, not implied": (lambda: _layer("GlobalAveragePool", relu=True), "computes this layer in float32"),
    "a float32 result that two nodes read": (lambda: _layer("Conv", twice=True), "several nodes read"),
    "operands and a result of different types": (lambda: _layer("Conv", result=np.uint8), "not all int8 or all uint8"),
    "uint8 weights of int8 activations": (lambda: _layer("Conv", weights=np.uint8), "uint8 weights of int8"),
    "weights whose scales run along another axis": (lambda: _network_with("first_w_scale", np.ones(3, np.float32)), "zero points for"),
}


def _network_with(name: str, values: Any) -> onnx.ModelProto:
    return replaced(network(True), name, values)


def _raw_sum() -> onnx.ModelProto:
    graph = GraphBuilder()
    graph.input("x", [1, 4], np.int8)
    graph.output(graph.dequantize(graph.node("Add", ["x", "x"], "y"), (0.1, 0)))
    return graph.model()


def _with_blocks(shape: tuple[int, int], scale: float = 1) -> onnx.ModelProto:
    graph = GraphBuilder()
    graph.input("x", [1, 4])
    inputs = ["x", graph.constant("s", np.full(shape, scale, np.float32)), graph.constant("z", np.zeros(shape, np.int8))]
    graph.output(graph.node("QuantizeLinear", inputs, "y", axis=1, block_size=2), np.int8)
    return graph.model(21)


def _layer(op: str, *, relu: bool = False, twice: bool = False, result: type = np.int8, weights: type = np.int8) -> onnx.ModelProto:
    """A layer that ONNX Runtime computes in float32, for one of several reasons."""
    graph = GraphBuilder()
    graph.input("x", [1, 4] if op == "Gemm" else [1, 4, 6, 6], np.int8)
    inputs = [graph.dequantize("x", (0.1, 3))]
    if op != "GlobalAveragePool":
        shape = (4, 4) if op == "Gemm" else (4, 4, 1, 1)
        constants = [
            graph.constant("w", np.ones(shape, weights)),
            graph.constant("s", np.float32(0.02)),
            graph.constant("z", np.zeros((), weights)),
        ]
        inputs.append(graph.node("DequantizeLinear", constants, "real_weights"))
    real = graph.node(op, inputs, "layer")
    if twice:
        graph.output(graph.node("QuantizeLinear", [real, *graph.parameters("second", (0.2, 0))], "again"), np.int8)
    graph.dtype = np.dtype(result)
    graph.output(graph.quantize(graph.node("Relu", [real], "relu") if relu else real, (0.1, 3)), result)
    return graph.model()


def _without_scale() -> onnx.ModelProto:
    graph = GraphBuilder()
    graph.input("x", [1, 4], np.int8)
    graph.input("z", [1, 4], np.int8)
    graph.output(graph.dequantize("z", (0.1, 0)))
    graph.output(graph.node("Identity", ["x"], "y"), np.int8)
    return graph.model()


def _float_output() -> onnx.ModelProto:
    graph = GraphBuilder()
    graph.input("x", [1, 4], np.int8)
    graph.output(graph.node("Sigmoid", [graph.dequantize("x", (0.1, 0))], "y"))
    return graph.model()


def _float_operand() -> onnx.ModelProto:
    graph = GraphBuilder()
    graph.input("x", [1, 4], np.int8)
    half = graph.constant("half", np.float32(0.5))
    graph.output(graph.quantize(graph.node("Mul", [graph.dequantize("x", (0.1, 0)), half], "y"), (0.1, 0)), np.int8)
    return graph.model()


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_reason(case: str) -> None:
    build, reason = REFUSED[case]
    assert reason in str(refusal(build()))


def unreadable(content: bytes, folder: Path | None = None) -> str:
    """The text of the error for a file that must not be read."""
    with pytest.raises(ModelError) as caught:
        import_onnx(content, "model.onnx", folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_node_that_reads_what_comes_later_is_one_clear_line() -> None:
    model = network(True)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    assert "cyclic, unsorted or incomplete" in unreadable(model.SerializeToString())


def test_a_cycle_is_one_clear_line() -> None:
    graph = GraphBuilder()
    graph.nodes += [helper.make_node("Relu", ["b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    graph.output("b")
    assert "cyclic" in unreadable(graph.model().SerializeToString())


def test_a_value_that_is_computed_twice_is_one_clear_line() -> None:
    graph = GraphBuilder()
    graph.input("x", [1, 4], np.int8)
    graph.nodes += [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["x"], ["a"])]
    graph.output("a")
    assert "exists already" in unreadable(graph.model().SerializeToString())


def test_an_output_that_nothing_computes_is_one_clear_line() -> None:
    graph = GraphBuilder()
    graph.output("nowhere")
    assert "nothing computes" in unreadable(graph.model().SerializeToString())


@pytest.mark.parametrize("dims", [[1 << 31], [1 << 16, 1 << 16], [-1], [1 << 62, 4]])
def test_a_shape_that_the_data_does_not_fill_is_refused_before_memory_is_taken(dims: list[int]) -> None:
    model = network(True)
    tensor = constant_of(model, "first_w")
    del tensor.dims[:]
    tensor.dims.extend(dims)
    assert "first_w" in unreadable(model.SerializeToString())


def test_a_folded_constant_of_a_huge_shape_is_refused_before_memory_is_taken() -> None:
    graph = GraphBuilder()
    graph.input("x", [1, 4], np.int8)
    huge = graph.node("ConstantOfShape", [graph.constant("shape", np.array([1 << 20, 1 << 20]))], "huge")
    real = graph.dequantize("x", (0.1, 0))
    graph.output(graph.quantize(graph.node("Add", [real, huge], "y"), (0.1, 0)), np.int8)
    assert "1048576" in str(refusal(graph.model()))


def external(location: str, **entries: str) -> bytes:
    """The network with the data of one constant said to lie in a file."""
    model = network(True)
    tensor = constant_of(model, "first_w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return model.SerializeToString()


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret", "", "..\\secret"])
def test_external_data_outside_the_models_folder_is_not_read(tmp_path: Path, location: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "secret").write_bytes(bytes(8 * 27))
    assert "beside the model" in unreadable(external(location), tmp_path / "models")


def test_external_data_behind_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "secret").write_bytes(bytes(8 * 27))
    (tmp_path / "models" / "data").symlink_to(tmp_path / "secret")
    assert "link out" in unreadable(external("data"), tmp_path / "models")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"length": "99999999999"}, "asks for"),
        ({"offset": "-1"}, "asks for"),
        ({"offset": "x"}, "cannot read"),
        ({"offset": "1000"}, "ends before"),
    ],
)
def test_external_data_with_a_wrong_place_is_refused(tmp_path: Path, entries: dict[str, str], reason: str) -> None:
    (tmp_path / "data").write_bytes(bytes(8 * 27))
    assert reason in unreadable(external("data", **entries), tmp_path)


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    plain = network(True)
    (tmp_path / "data").write_bytes(b"\0" * 5 + constant_of(plain, "first_w").raw_data)
    (tmp_path / "model.onnx").write_bytes(external("data", offset="5"))
    (tmp_path / "plain.onnx").write_bytes(plain.SerializeToString())
    modules = [load_model(tmp_path / name) for name in ("model.onnx", "plain.onnx")]
    texts = [str(next(iter(module.ops))) for module in modules]
    assert texts[0] == texts[1]


def test_a_shape_for_an_input_that_does_not_exist_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="has no input"):
        import_onnx(network(True).SerializeToString(), "model.onnx", None, {"picture": (1, 3, 8, 8)})


def test_free_dimensions_are_asked_for() -> None:
    model = network(True)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    assert "--shape" in unreadable(model.SerializeToString())


def test_an_opset_that_the_onnx_package_does_not_know_is_one_clear_line() -> None:
    model = network(True)
    model.opset_import[0].version = 9999
    assert "9999" in unreadable(model.SerializeToString())


def test_truncated_files_are_refused_and_never_crash() -> None:
    content = network(True).SerializeToString()
    for length in range(0, len(content), 97):
        try:
            import_onnx(content[:length], "model.onnx")
        except TinycError:
            continue
        pytest.fail(f"{length} of {len(content)} bytes were taken for a model")


def test_mutated_files_are_read_or_refused_and_never_crash() -> None:
    content = bytearray(network(False).SerializeToString())
    random = np.random.default_rng(7)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        for position in random.integers(0, len(content), 6):
            damaged[position] = int(random.integers(0, 256))
        try:
            import_onnx(bytes(damaged), "model.onnx")
        except TinycError:
            refused += 1
    assert refused > 50


def test_a_name_that_is_not_text_is_one_clear_line() -> None:
    content = network(True).SerializeToString()
    assert "not UTF-8" in unreadable(content.replace(b"GlobalAveragePool", b"GlobalAverage\xff\xfe\xfdl"))
