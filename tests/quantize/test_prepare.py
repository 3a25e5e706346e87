"""Rewrites before quantisation: the operators that are left, and the function unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from float_models import Node, assert_same_function, make_model, node, operators, prepared, random_constants, save
from onnx import helper

from tinyc.errors import ModelError, TinycError, UnsupportedError
from tinyc.quantize.post_training import prepare
from tinyc.quantize.read_float import read_float_model

NORM = {"s": (4,), "b": (4,), "m": (4,), "var": (4,)}


def norm(source: str, result: str) -> Node:
    return node("BatchNormalization", [source, "s", "b", "m", "var"], [result], epsilon=1e-3)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_batch_norm_behind_a_convolution_folds_whatever_its_groups_and_padding(groups: int, bias: bool, tmp_path: Path) -> None:
    constants = random_constants(w=(4, 4 // groups, 3, 3), c=(4,), **NORM)
    inputs = ["x", "w", "c"] if bias else ["x", "w"]
    model = make_model([node("Conv", inputs, ["a"], group=groups, pads=[1, 1, 1, 1]), norm("a", "y")], constants)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Conv"]
    assert_same_function(model, graph)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_batch_norm_before_a_convolution_without_padding_folds(groups: int, tmp_path: Path) -> None:
    constants = random_constants(w=(8, 4 // groups, 3, 3), c=(8,), **NORM)
    model = make_model([norm("x", "a"), node("Conv", ["a", "w", "c"], ["y"], group=groups)], constants)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Conv"]
    assert_same_function(model, graph)


def test_a_batch_norm_before_a_padded_convolution_becomes_a_depthwise_one_because_padding_is_zero_behind_it(tmp_path: Path) -> None:
    constants = random_constants(w=(8, 4, 3, 3), **NORM)
    model = make_model([norm("x", "a"), node("Conv", ["a", "w"], ["y"], pads=[1, 1, 1, 1])], constants)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Conv", "Conv"]
    assert_same_function(model, graph)


def test_a_batch_norm_without_offset_folds_even_before_padding(tmp_path: Path) -> None:
    constants = random_constants(w=(8, 4, 3, 3), **NORM)
    constants["b"] = np.zeros(4, np.float32)
    constants["m"] = np.zeros(4, np.float32)
    model = make_model([norm("x", "a"), node("Conv", ["a", "w"], ["y"], pads=[1, 1, 1, 1])], constants)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Conv"]
    assert_same_function(model, graph)


def test_a_batch_norm_behind_relu_stays_apart_from_the_convolution_before_it(tmp_path: Path) -> None:
    constants = random_constants(w=(4, 4, 1, 1), **NORM)
    model = make_model([node("Conv", ["x", "w"], ["a"]), node("Relu", ["a"], ["r"]), norm("r", "y")], constants)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Conv", "Relu", "Conv"]
    assert_same_function(model, graph)


def test_a_batch_norm_whose_convolution_has_other_readers_does_not_change_them(tmp_path: Path) -> None:
    constants = random_constants(w=(4, 4, 1, 1), **NORM)
    model = make_model([node("Conv", ["x", "w"], ["a"]), norm("a", "n"), node("Add", ["a", "n"], ["y"])], constants)
    assert_same_function(model, prepared(model, tmp_path))


def test_two_convolutions_that_share_weights_fold_apart(tmp_path: Path) -> None:
    constants = random_constants(w=(4, 4, 1, 1), **NORM)
    nodes = [node("Conv", ["x", "w"], ["a"]), norm("a", "n"), node("Conv", ["n", "w"], ["y"])]
    model = make_model(nodes, constants)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Conv", "Conv"]
    assert_same_function(model, graph)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("first", [False, True])
def test_a_batch_norm_folds_into_a_fully_connected_layer_on_either_side(first: bool, transposed: int, tmp_path: Path) -> None:
    constants = random_constants(w=(4, 4), c=(4,), **NORM)
    dense = node("Gemm", ["n" if first else "x", "w", "c"], ["y" if first else "a"], transB=transposed, alpha=0.5, beta=2.0)
    model = make_model([norm("x", "n"), dense] if first else [dense, norm("a", "y")], constants, shape=(1, 4))
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Gemm"]
    assert_same_function(model, graph, (1, 4))


def test_a_scale_and_an_offset_for_each_channel_fold_like_a_batch_norm(tmp_path: Path) -> None:
    constants = random_constants(w=(4, 4, 3, 3), f=(1, 4, 1, 1), o=(4, 1, 1))
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Mul", ["f", "a"], ["b"]), node("Add", ["b", "o"], ["y"])]
    model = make_model(nodes, constants)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Conv"]
    assert_same_function(model, graph)


def test_a_constant_along_the_columns_does_not_fold_into_channels(tmp_path: Path) -> None:
    constants = random_constants(w=(4, 4, 1, 1), f=(4,))
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Mul", ["a", "f"], ["y"])]
    model = make_model(nodes, constants, shape=(1, 4, 4, 4))
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Conv", "Mul"]
    assert_same_function(model, graph, (1, 4, 4, 4))


def padding(*amounts: int) -> dict[str, np.ndarray]:
    return {"p": np.array(amounts, np.int64)}


def test_zero_padding_folds_into_the_convolution_and_adds_to_its_own(tmp_path: Path) -> None:
    constants = random_constants(w=(2, 4, 3, 3)) | padding(0, 0, 1, 2, 0, 0, 0, 1)
    model = make_model([node("Pad", ["x", "p"], ["a"]), node("Conv", ["a", "w"], ["y"], pads=[1, 0, 1, 0])], constants)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Conv"]
    assert_same_function(model, graph)


@pytest.mark.parametrize(
    ("amounts", "value", "mode"),
    [
        ((0, 0, 1, 1, 0, 0, 1, 1), 2.0, "constant"),
        ((0, 0, 1, 1, 0, 0, 1, 1), 0.0, "reflect"),
        ((0, 1, 0, 0, 0, 1, 0, 0), 0.0, "constant"),
    ],
)
def test_other_padding_stays(amounts: tuple[int, ...], value: float, mode: str, tmp_path: Path) -> None:
    channels = 4 + amounts[1] + amounts[5]
    constants = random_constants(w=(2, channels, 3, 3)) | padding(*amounts) | {"v": np.array(value, np.float32)}
    model = make_model([node("Pad", ["x", "p", "v"], ["a"], mode=mode), node("Conv", ["a", "w"], ["y"])], constants)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Pad", "Conv"]
    assert_same_function(model, graph)


def test_padding_before_an_average_pool_folds_only_where_the_pool_counts_it(tmp_path: Path) -> None:
    for counts, left in ((1, ["AveragePool"]), (0, ["Pad", "AveragePool"])):
        pool = node("AveragePool", ["a"], ["y"], kernel_shape=[3, 3], count_include_pad=counts)
        model = make_model([node("Pad", ["x", "p"], ["a"]), pool], padding(0, 0, 1, 1, 0, 0, 1, 1))
        graph = prepared(model, tmp_path)
        assert operators(graph) == left
        assert_same_function(model, graph)


@pytest.mark.parametrize(("keep", "left"), [(1, ["GlobalAveragePool"]), (0, ["GlobalAveragePool", "Flatten"])])
@pytest.mark.parametrize("opset", [13, 18])
def test_a_mean_over_rows_and_columns_becomes_a_global_pool(keep: int, left: list[str], opset: int, tmp_path: Path) -> None:
    if opset == 13:
        model = make_model([node("ReduceMean", ["x"], ["y"], axes=[-1, 2], keepdims=keep)], opset=opset, rank=2 + 2 * keep)
    else:
        model = make_model(
            [node("ReduceMean", ["x", "a"], ["y"], keepdims=keep)], {"a": np.array([2, 3], np.int64)}, opset=opset, rank=2 + 2 * keep
        )
    graph = prepared(model, tmp_path)
    assert operators(graph) == left
    assert_same_function(model, graph)


def test_hard_sigmoid_folds_into_the_layer_before_it_but_for_its_bounds(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["a"]), node("HardSigmoid", ["a"], ["y"], alpha=0.3, beta=0.4)]
    model = make_model(nodes, random_constants(w=(4, 4, 1, 1)))
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Conv", "Clip"]
    assert_same_function(model, graph)


def test_hard_sigmoid_elsewhere_stays_one_operator(tmp_path: Path) -> None:
    model = make_model([node("HardSigmoid", ["x"], ["y"], alpha=0.3, beta=0.4)])
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["HardSigmoid"]
    assert_same_function(model, graph)


GATE = [node("Add", ["three", "x"], ["a"]), node("Clip", ["a", "zero", "six"], ["b"])]


@pytest.mark.parametrize(
    "nodes",
    [
        [node("HardSwish", ["x"], ["y"])],
        [node("HardSigmoid", ["x"], ["g"], alpha=1 / 6), node("Mul", ["g", "x"], ["y"])],
        [*GATE, node("Mul", ["x", "b"], ["c"]), node("Div", ["c", "six"], ["y"])],
        [*GATE, node("Div", ["b", "six"], ["g"]), node("Mul", ["x", "g"], ["y"])],
        [*GATE, node("Mul", ["sixth", "b"], ["g"]), node("Mul", ["g", "x"], ["y"])],
    ],
)
def test_every_way_to_write_hard_swish_becomes_one_operator(nodes: list[Node], tmp_path: Path) -> None:
    constants = {name: np.array(value, np.float32) for name, value in {"three": 3, "zero": 0, "six": 6, "sixth": 0.16667}.items()}
    model = make_model(nodes, constants)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["HardSwish"]
    assert_same_function(model, graph)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("HardSigmoid", ["x"], ["g"], alpha=0.2), node("Mul", ["g", "x"], ["y"])],
        [node("HardSigmoid", ["x"], ["g"], alpha=1 / 6), node("Mul", ["g", "g"], ["y"])],
        [*GATE, node("Mul", ["x", "b"], ["y"])],
        [*GATE, node("Div", ["b", "three"], ["g"]), node("Mul", ["x", "g"], ["y"])],
        [node("Add", ["x", "x"], ["z"]), *GATE, node("Mul", ["z", "b"], ["c"]), node("Div", ["c", "six"], ["y"])],
    ],
)
def test_what_only_looks_like_hard_swish_is_left(nodes: list[Node], tmp_path: Path) -> None:
    constants = {name: np.array(value, np.float32) for name, value in {"three": 3, "zero": 0, "six": 6}.items()}
    model = make_model(nodes, constants)
    graph = prepared(model, tmp_path)
    assert "HardSwish" not in operators(graph)
    assert_same_function(model, graph)


def test_a_bound_by_max_or_min_becomes_relu_or_clip(tmp_path: Path) -> None:
    constants = {"zero": np.zeros((1, 1), np.float32), "two": np.array(2, np.float32)}
    model = make_model([node("Max", ["zero", "x"], ["a"]), node("Min", ["a", "two"], ["b"]), node("Max", ["b", "two"], ["y"])], constants)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Relu", "Clip", "Clip"]
    assert_same_function(model, graph)


def test_a_prelu_with_one_slope_becomes_leaky_relu_and_another_is_refused(tmp_path: Path) -> None:
    model = make_model([node("PRelu", ["x", "s"], ["y"])], {"s": np.full((4, 1, 1), 0.25, np.float32)})
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["LeakyRelu"]
    assert_same_function(model, graph)
    with pytest.raises(UnsupportedError, match="PRelu"):
        prepared(make_model([node("PRelu", ["x", "s"], ["y"])], random_constants(s=(4, 1, 1))), tmp_path)


@pytest.mark.parametrize(
    ("reduction", "left"),
    [
        (node("ReduceMax", ["x"], ["y"], axes=[-1, 2], keepdims=1), ["MaxPool"]),
        (node("ReduceMax", ["x"], ["y"], axes=[2, 3], keepdims=0), ["MaxPool", "Flatten"]),
        (node("GlobalMaxPool", ["x"], ["y"]), ["MaxPool"]),
    ],
)
def test_a_maximum_over_rows_and_columns_becomes_a_max_pool(reduction: Node, left: list[str], tmp_path: Path) -> None:
    model = make_model([reduction], rank=2 if "Flatten" in left else 4)
    graph = prepared(model, tmp_path)
    assert operators(graph) == left
    assert_same_function(model, graph)


def test_a_matrix_product_and_an_addition_become_one_fully_connected_layer(tmp_path: Path) -> None:
    constants = random_constants(w=(4, 3), c=(3,))
    model = make_model([node("MatMul", ["x", "w"], ["a"]), node("Add", ["c", "a"], ["y"])], constants, shape=(1, 4))
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Gemm"]
    assert_same_function(model, graph, (1, 4))


def test_division_subtraction_and_a_one_sided_clip_become_mul_add_and_relu(tmp_path: Path) -> None:
    constants = random_constants(vard=(1, 4, 1, 1), s=(1, 4, 1, 1)) | {"zero": np.array(0, np.float32)}
    nodes = [node("Div", ["x", "vard"], ["a"]), node("Sub", ["a", "s"], ["b"]), node("Clip", ["b", "zero"], ["y"])]
    model = make_model(nodes, constants)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Mul", "Add", "Relu"]
    assert_same_function(model, graph)


def test_shape_arithmetic_folds_and_a_free_batch_becomes_one(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "first"], ["batch"], axis=0),
        node("Unsqueeze", ["batch", "axis"], ["row"]),
        node("Concat", ["row", "rest"], ["target"], axis=0),
        node("Dropout", ["x"], ["d"]),
        node("Identity", ["d"], ["i"]),
        node("Reshape", ["i", "target"], ["y"]),
    ]
    constants = {"first": np.array(0, np.int64), "axis": np.array([0], np.int64), "rest": np.array([-1], np.int64)}
    model = make_model(nodes, constants, shape=("batch_size", 4, 6, 6), rank=2)
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Reshape"]
    assert_same_function(model, graph)


def test_functions_are_inlined(tmp_path: Path) -> None:
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model = make_model([helper.make_node("Twice", ["x"], ["y"], domain="local")], functions=[function])
    graph = prepared(model, tmp_path)
    assert operators(graph) == ["Add"]
    assert_same_function(model, graph)


def _called(name: str, function: str, times: int) -> onnx.FunctionProto:
    """A function that calls another `times` times, one behind the other."""
    values = ["x", *(f"value{index}" for index in range(times - 1)), "y"]
    nodes = [helper.make_node(function, [values[index]], [values[index + 1]], domain="local") for index in range(times)]
    return helper.make_function("local", name, ["x"], ["y"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)])


@pytest.mark.parametrize(
    ("functions", "reason"),
    [([("f9", "f9", 1)], "recursive"), ([(f"f{index}", f"f{index - 1}", 8) for index in range(1, 10)], "more than 100000 nodes")],
    ids=["calls itself", "expand to 8^9 nodes"],
)
def test_functions_that_expand_without_bound_are_one_clear_line(functions: list[tuple[str, str, int]], reason: str, tmp_path: Path) -> None:
    first = helper.make_function("local", "f0", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [helper.make_opsetid("", 17)])
    model = make_model([helper.make_node("f9", ["x"], ["y"], domain="local")])
    model.functions.extend([first, *(_called(*function) for function in functions)])
    model.opset_import.append(helper.make_opsetid("local", 1))
    with pytest.raises(ModelError) as caught:
        read_float_model(save(model, tmp_path))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_old_operator_set_is_converted(tmp_path: Path) -> None:
    constants = random_constants(w=(4, 4, 1, 1), **NORM)
    model = make_model([node("Conv", ["x", "w"], ["a"]), norm("a", "n"), node("Softmax", ["n"], ["y"], axis=1)], constants, opset=11)
    graph = prepared(model, tmp_path)
    assert graph.opset == 14
    assert_same_function(model, graph)


def test_operators_with_a_known_way_out_are_refused_with_it(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="export the network without it"):
        prepared(make_model([node("LogSoftmax", ["x"], ["y"])]), tmp_path)


def test_all_operators_without_an_8_bit_form_are_listed(tmp_path: Path) -> None:
    model = make_model([node("Erf", ["x"], ["a"], name="first"), node("Sin", ["a"], ["y"], name="second")])
    with pytest.raises(UnsupportedError, match=r"(?s)2 nodes.*first.*Erf.*second.*Sin"):
        prepared(model, tmp_path)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (make_model([node("Relu", ["x"], ["y"])], shape=("n", 3, "h", 8)), r"--shape x=1,3,\?,8"),
        (make_model([node("Relu", ["x"], ["y"])], shape=(2, 3)), "batch 2"),
        (make_model([node("Relu", ["z"], ["y"])]), "not a valid ONNX model"),
        (make_model([node("Add", ["x", "c"], ["y"])], {"c": np.array(np.nan, np.float32)}), "infinity or NaN"),
        (make_model([node("Relu", ["x"], ["y"], domain="com.example")]), "com.example|not a valid"),
        (
            make_model([node("DequantizeLinear", ["q", "s"], ["y"])], {"q": np.zeros(4, np.int8), "s": np.array(1, np.float32)}),
            "quantised already",
        ),
    ],
)
def test_models_that_cannot_be_quantised_are_refused_with_the_reason(model: onnx.ModelProto, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        prepared(model, tmp_path)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "folder/../../secret.bin"])
def test_weights_outside_the_models_folder_are_not_read(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    folder = tmp_path / "model"
    folder.mkdir()
    model = make_model([node("Add", ["x", "c"], ["y"])], {"c": np.zeros((4, 1, 1), np.float32)})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    with pytest.raises(ModelError, match="outside the model's folder"):
        prepared(model, folder)


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    model = make_model([node("Add", ["x", "c"], ["y"])], {"c": np.array([1, 2, 3, 4], np.float32).reshape(4, 1, 1)})
    external = onnx.ModelProto.FromString(model.SerializeToString())
    tensor = external.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    assert_same_function(model, prepared(external, tmp_path))


def test_batch_norms_that_overflow_float32_are_refused(tmp_path: Path) -> None:
    constants = random_constants(w=(4, 4, 1, 1), **NORM)
    constants["s"] = np.full(4, 1e30, np.float32)
    constants["w"] = constants["w"] * np.float32(1e20)
    with pytest.raises(ModelError, match="exceeds the range of float32"):
        prepared(make_model([node("Conv", ["x", "w"], ["a"]), norm("a", "y")], constants), tmp_path)


def test_damaged_models_are_read_or_refused_and_never_crash(tmp_path: Path) -> None:
    constants = random_constants(w=(4, 4, 3, 3), d=(3, 4), **NORM) | padding(0, 0, 1, 1, 0, 0, 1, 1)
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        norm("a", "n"),
        node("HardSwish", ["n"], ["h"]),
        node("Pad", ["h", "p"], ["q"]),
        node("Conv", ["q", "w"], ["r"]),
        node("ReduceMean", ["r"], ["g"], axes=[2, 3], keepdims=0),
        node("Gemm", ["g", "d"], ["y"], transB=1),
    ]
    content = make_model(nodes, constants, rank=2).SerializeToString()
    random = np.random.RandomState(0)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(random.randint(1, 4)):
            damaged[random.randint(len(damaged))] = random.choice([0, 1, 2, 8, 255, random.randint(256)])
        (tmp_path / "damaged.onnx").write_bytes(damaged)
        try:
            prepare(read_float_model(tmp_path / "damaged.onnx"), "damaged.onnx")
            outcomes["read"] += 1
        except TinycError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50
