"""Import of ops that move data: what becomes of them in the IR, and what is refused with which words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from support.movement_networks import Graph, dilated
from support.tflite_builder import Op, Tensor, build_model
from tinyc.errors import UnsupportedError
from tinyc.frontends.tflite import import_tflite
from tinyc.frontends.tflite_convolution import phases
from tinyc.frontends.tflite_movement_rules import strided_part
from tinyc.ir.nn_base import tensor_of
from tinyc.ir.nn_shape import ConstantOp
from tinyc.passes.rewriting import main_block


def names(model: bytes) -> list[str]:
    """Names of the ops of the imported model, constants left out."""
    return [op.name for op in main_block(import_tflite(model, "model")).ops if not isinstance(op, ConstantOp)]


def refusal(model: bytes) -> str:
    """The message of the refusal."""
    with pytest.raises(UnsupportedError) as raised:
        import_tflite(model, "model")
    return str(raised.value)


def one_op(code: str, inputs: Sequence[Tensor], output: Tensor, options: dict[str, int] | None = None) -> bytes:
    """A model of one op, whose inputs without data are the network's."""
    op = Op(code, [tensor.name for tensor in inputs], [output.name], options or {})
    return build_model([*inputs, output], [op], [tensor.name for tensor in inputs if tensor.data is None], [output.name])


def image(name: str, channels: int = 2, scale: float = 0.5, zero_point: int = 0) -> Tensor:
    return Tensor(name, (1, 4, 4, channels), scale=scale, zero_point=zero_point)


@pytest.mark.parametrize(
    ("code", "words"), [("LSTM", "recurrent"), ("SVDF", "recurrent"), ("WHILE", "control flow"), ("IF", "control flow")]
)
def test_recurrent_and_control_flow_ops_are_refused_with_a_hint_of_their_own(code: str, words: str) -> None:
    message = refusal(one_op(code, [image("x")], image("y")))
    assert code in message
    assert words in message
    assert "supported are" not in message


def test_an_unknown_op_is_refused_with_the_list_of_supported_ones() -> None:
    message = refusal(one_op("COS", [image("x")], image("y")))
    assert "CONCATENATION" in message
    assert "TRANSPOSE_CONV" in message


@pytest.mark.parametrize(("scale", "zero_point"), [(0.25, 0), (0.5, 1)])
def test_a_concatenation_that_would_have_to_requantise_is_refused_as_litert_does(scale: float, zero_point: int) -> None:
    message = refusal(one_op("CONCATENATION", [image("a"), image("b", 2, scale, zero_point)], image("y", 4), {"Axis": 3}))
    assert "CONCATENATION must keep the type, scale and zero point" in message


def test_a_concatenation_with_an_activation_is_refused() -> None:
    model = one_op("CONCATENATION", [image("a"), image("b")], image("y", 4), {"Axis": 3, "FusedActivationFunction": 1})
    assert "fused_activation_function" in refusal(model)


def test_batch_ops_that_are_no_dilation_are_refused() -> None:
    inputs = [image("x"), Tensor("b", (2,), "int32", data=np.array([2, 2])), Tensor("p", (2, 2), "int32", data=np.zeros((2, 2)))]
    message = refusal(one_op("SPACE_TO_BATCH_ND", inputs, Tensor("y", (4, 2, 2, 2), scale=0.5)))
    assert "dilation" in message


def test_an_ellipsis_that_stands_for_nothing_is_refused() -> None:
    inputs = [Tensor("x", (5,), scale=0.5), *(Tensor(name, (2,), "int32", data=np.array(value)) for name, value in BOUNDS.items())]
    assert "ellipsis" in refusal(one_op("STRIDED_SLICE", inputs, Tensor("y", (2,), scale=0.5), {"EllipsisMask": 1}))


BOUNDS = {"begin": [0, 1], "end": [0, 3], "strides": [1, 1]}


def test_slice_bounds_that_are_computed_at_run_time_are_refused() -> None:
    inputs = [image("x"), Tensor("begin", (4,), "int32"), Tensor("size", (4,), "int32", data=np.array([1, 4, 4, 2]))]
    assert "constant integer tensor" in refusal(one_op("SLICE", inputs, image("y")))


def test_a_slice_beyond_its_input_is_refused() -> None:
    inputs = [
        image("x"),
        *(Tensor(name, (4,), "int32", data=np.array(value)) for name, value in {"b": [0, 3, 0, 0], "s": [1, 2, 4, 2]}.items()),
    ]
    assert "leave dimension 1" in refusal(one_op("SLICE", inputs, Tensor("y", (1, 2, 4, 2), scale=0.5)))


def test_dilation_by_batches_becomes_dilation_of_the_convolution() -> None:
    assert names(dilated(1)) == ["nn.conv2d", "nn.conv2d", "nn.conv2d", "nn.depthwise_conv2d", "func.return"]


def test_a_batch_op_whose_result_is_used_twice_stays_and_is_refused() -> None:
    graph = Graph(1, (1, 8, 8, 3))
    graph.dilated_by_batches(graph.input, 2, 4)
    split = next(op.outputs[0] for op in graph.ops if op.code == "SPACE_TO_BATCH_ND")
    assert "SPACE_TO_BATCH_ND" in refusal(graph.model([graph.ops[-1].outputs[0], split]))


def test_grouped_convolutions_are_slices_and_convolutions_and_one_channel_a_group_is_depthwise() -> None:
    graph = Graph(1, (1, 6, 6, 6))
    assert names(graph.model([graph.conv(graph.input, 9, groups=3)])) == ["nn.slice", "nn.conv2d"] * 3 + ["nn.concat", "func.return"]
    graph = Graph(1, (1, 6, 6, 6))
    assert names(graph.model([graph.conv(graph.input, 12, groups=6)])) == ["nn.depthwise_conv2d", "func.return"]


def test_a_transposed_convolution_that_doubles_an_image_needs_no_slice_and_no_wasted_taps() -> None:
    graph = Graph(1, (1, 6, 5, 3))
    block = main_block(import_tflite(graph.model([graph.transpose_conv(graph.input, 4, kernel=2)]), "model"))
    assert [op.name for op in block.ops if not isinstance(op, ConstantOp)] == ["nn.conv2d", "nn.depth_to_space", "func.return"]
    (convolution,) = [op for op in block.ops if op.name == "nn.conv2d"]
    assert tensor_of(convolution.operands[1]).shape == (16, 1, 1, 3)


@pytest.mark.parametrize("kernel", range(1, 7))
@pytest.mark.parametrize("stride", range(1, 5))
def test_phases_have_the_least_number_of_taps(kernel: int, stride: int) -> None:
    for cut in range(kernel):
        assert phases(7, 7 * stride, kernel, stride, cut).taps == -(-kernel // stride)


def test_shapes_are_computed_at_import() -> None:
    """SHAPE, STRIDED_SLICE, PACK, FILL: how a converter writes a reshape to [batch, -1]."""
    tensors = [
        image("x", 3),
        Tensor("shape", (4,), "int32"),
        *(Tensor(name, (1,), "int32", data=np.array([value])) for name, value in {"zero": 0, "one": 1, "step": 1}.items()),
        Tensor("batch", (), "int32"),
        Tensor("rest", (), "int32", data=np.array(48)),
        Tensor("target", (2,), "int32"),
        Tensor("flat", (1, 48), scale=0.5),
        Tensor("filler", (), scale=0.5, data=np.array(7, np.int8)),
        Tensor("sevens", (1, 48), scale=0.5),
        Tensor("y", (1, 96), scale=0.5),
    ]
    ops = [
        Op("SHAPE", ["x"], ["shape"], {"OutType": 2}),
        Op("STRIDED_SLICE", ["shape", "zero", "one", "step"], ["batch"], {"ShrinkAxisMask": 1}),
        Op("PACK", ["batch", "rest"], ["target"], {"ValuesCount": 2, "Axis": 0}),
        Op("RESHAPE", ["x", "target"], ["flat"]),
        Op("FILL", ["target", "filler"], ["sevens"]),
        Op("CONCATENATION", ["flat", "sevens"], ["y"], {"Axis": 1}),
    ]
    assert names(build_model(tensors, ops, ["x"], ["y"])) == ["nn.reshape", "nn.concat", "func.return"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((5, 1, 4, 1), (1, 3, 1)),
        ((5, None, None, -1), (4, 5, -1)),
        ((5, -2, None, 1), (3, 2, 1)),
        ((5, 9, -9, -2), (4, 3, -2)),
        ((5, 3, 3, 1), (0, 0, 1)),
    ],
)
def test_a_strided_dimension_is_begin_size_and_step(
    arguments: tuple[int, int | None, int | None, int], expected: tuple[int, int, int]
) -> None:
    assert strided_part(*arguments) == expected
