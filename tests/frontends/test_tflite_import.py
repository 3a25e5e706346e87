"""What the TFLite front end takes, and what it makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from models import conv_model, conv_options, depthwise_model, imported, int8, network_model, node_model, only_op, ops_of, tensor
from xdsl.dialects.builtin import ArrayAttr, StringAttr

from support.tflite_builder import Op, Tensor, build_model
from tinyc.frontends.tflite_rules import RULES
from tinyc.ir.nn_base import constant_of
from tinyc.passes.rewriting import main_block


@pytest.mark.parametrize(
    ("image", "kernel", "stride", "dilation", "padding", "output", "pads"),
    [
        ((6, 5), (3, 3), (1, 1), (1, 1), "same", (6, 5), (1, 1, 1, 1)),
        ((6, 5), (3, 3), (2, 2), (1, 1), "same", (3, 3), (0, 1, 1, 1)),
        ((6, 6), (3, 3), (2, 1), (1, 1), "same", (3, 6), (0, 1, 1, 1)),
        ((6, 5), (2, 4), (1, 1), (1, 1), "same", (6, 5), (0, 1, 1, 2)),
        ((6, 5), (1, 5), (1, 1), (1, 1), "valid", (6, 1), (0, 0, 0, 0)),
        ((7, 8), (3, 3), (1, 1), (2, 3), "same", (7, 8), (2, 3, 2, 3)),
        ((7, 8), (3, 3), (1, 1), (2, 3), "valid", (3, 2), (0, 0, 0, 0)),
        ((6, 5), (1, 1), (3, 2), (1, 1), "same", (2, 3), (0, 0, 0, 0)),
    ],
)
@pytest.mark.parametrize("code", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_windows_and_padding_of_convolutions(
    code: str,
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: str,
    output: tuple[int, int],
    pads: tuple[int, ...],
) -> None:
    options = conv_options(padding, stride, dilation)
    if code == "CONV_2D":
        op = only_op(conv_model((1, *image, 3), (4, *kernel, 3), (1, *output, 4), options))
    else:
        op = only_op(depthwise_model((1, *image, 3), (1, *kernel, 3), (1, *output, 3), options))
    assert code == op.TITLE
    assert (op.kernel_size(), op.stride_pair(), op.dilation(), op.pad_list()) == (kernel, stride, dilation, pads)
    assert op.out.shape[1:3] == output


@pytest.mark.parametrize("multiplier", [1, 2, 5])
def test_depth_multiplier(multiplier: int) -> None:
    op = only_op(depthwise_model((1, 4, 4, 3), (1, 3, 3, 3 * multiplier), (1, 4, 4, 3 * multiplier), conv_options()))
    assert op.multiplier() == multiplier


@pytest.mark.parametrize("bias", [True, False])
def test_the_bias_is_optional(bias: bool) -> None:
    op = only_op(conv_model(bias=bias))
    assert (op.bias is not None) is bias


def test_weights_and_scales_arrive_unchanged() -> None:
    weights = int8(4, 3, 3, 3)
    scales = np.array([0.01, 0.02, 0.03, 1e-6], np.float32)
    op = only_op(conv_model(w=tensor("w", weights.shape, scales.tolist(), data=weights)))
    found = constant_of(op.weights)
    assert found is not None
    np.testing.assert_array_equal(found.array, weights)
    np.testing.assert_array_equal(op.weight_scales.array, scales)


def test_one_scale_for_all_channels() -> None:
    op = only_op(conv_model(w=tensor("w", (4, 3, 3, 3), 0.01, data=int8(4, 3, 3, 3))))
    assert op.weight_scales.array.shape == (1,)


@pytest.mark.parametrize(("activation", "clamp"), [(0, (-128, 127)), (1, (-3, 127)), (2, (-7, 1)), (3, (-3, 21))])
def test_fused_activations_become_bounds_of_the_output(activation: int, clamp: tuple[int, int]) -> None:
    # The output has the scale 0.25 and the zero point -3.
    assert only_op(conv_model(options=conv_options(activation=activation))).clamp_pair() == clamp


def pool(padding: int, kernel: tuple[int, int], stride: tuple[int, int]) -> dict[str, int]:
    return {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1], "FilterHeight": kernel[0], "FilterWidth": kernel[1]}


BROADCASTS = [((1, 4, 4, 2), (1, 4, 4, 2)), ((1, 4, 4, 2), (2,)), ((1, 4, 4, 2), (1, 1, 1, 2)), ((2,), (1, 4, 4, 2)), ((1, 4, 4, 2), ())]


@pytest.mark.parametrize("code", ["ADD", "MUL"])
@pytest.mark.parametrize(("left", "right"), BROADCASTS)
def test_binary_ops_broadcast(code: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    inputs = [tensor("a", left), tensor("b", right, data=int8(*right))]
    op = only_op(node_model(code, inputs, tensor("y", (1, 4, 4, 2)), {"FusedActivationFunction": 1}))
    assert code == op.TITLE
    assert op.clamp_pair() == (0, 127)


@pytest.mark.parametrize("code", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize(("padding", "output", "pads"), [(0, (3, 3), (0, 1, 1, 1)), (1, (2, 2), (0, 0, 0, 0))])
def test_pools(code: str, padding: int, output: tuple[int, int], pads: tuple[int, ...]) -> None:
    op = only_op(node_model(code, [tensor("x", (1, 6, 5, 2))], tensor("y", (1, *output, 2)), pool(padding, (3, 3), (2, 2))))
    assert (op.TITLE, op.kernel_size(), op.pad_list()) == (code, (3, 3), pads)


@pytest.mark.parametrize(
    ("axes", "keep", "shape"),
    [((1, 2), True, (1, 1, 1, 3)), ((2, 1), False, (1, 3)), ((-1,), False, (1, 4, 5)), ((1,), True, (1, 1, 5, 3))],
)
def test_mean(axes: tuple[int, ...], keep: bool, shape: tuple[int, ...]) -> None:
    data = Tensor("axes", (len(axes),), "int32", data=np.array(axes, np.int32))
    op = only_op(node_model("MEAN", [tensor("x", (1, 4, 5, 3)), data], tensor("y", shape), {"KeepDims": keep}))
    assert op.axis_list() == tuple(sorted(axis % 4 for axis in axes))
    assert op.out.shape == shape


def test_pad_reshape_and_transpose() -> None:
    paddings = Tensor("p", (4, 2), "int32", data=np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32))
    assert only_op(node_model("PAD", [tensor("x", (1, 2, 3, 4)), paddings], tensor("y", (1, 5, 6, 4)))).pads() == (
        (0, 0),
        (1, 2),
        (0, 3),
        (0, 0),
    )
    shape = Tensor("s", (2,), "int32", data=np.array([1, -1], np.int32))
    assert only_op(node_model("RESHAPE", [tensor("x", (1, 2, 3, 4)), shape], tensor("y", (1, 24)), {"NewShape": [1, 24]})).out.shape == (
        1,
        24,
    )
    order = Tensor("o", (4,), "int32", data=np.array([0, 2, 3, 1], np.int32))
    assert only_op(node_model("TRANSPOSE", [tensor("x", (1, 2, 3, 4)), order], tensor("y", (1, 3, 4, 2)))).permutation_list() == (
        0,
        2,
        3,
        1,
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("image", [(1, 12), (1, 2, 2, 3), (3, 12)])
def test_fully_connected(image: tuple[int, ...], bias: bool) -> None:
    tensors = [tensor("x", image), tensor("w", (5, 12), 0.1, data=int8(5, 12))]
    tensors += [Tensor("b", (5,), "int32", data=np.zeros(5, np.int32)), tensor("y", (image[0], 5))]
    op = Op("FULLY_CONNECTED", ["x", "w", "b" if bias else None], ["y"], {"FusedActivationFunction": 0})
    found = only_op(build_model(tensors, [op], ["x"], ["y"]))
    assert found.batches() == image[0]
    assert (found.bias is not None) is bias


def test_softmax_and_the_float_boundary() -> None:
    tensors = [Tensor("x", (1, 4), "float32"), tensor("q", (1, 4)), tensor("s", (1, 4), 1 / 256, -128), Tensor("y", (1, 4), "float32")]
    ops = [Op("QUANTIZE", ["x"], ["q"]), Op("SOFTMAX", ["q"], ["s"], {"Beta": 0.5}), Op("DEQUANTIZE", ["s"], ["y"])]
    quantize, softmax, dequantize = ops_of(imported(build_model(tensors, ops, ["x"], ["y"])))
    assert [op.TITLE for op in (quantize, softmax, dequantize)] == ["QUANTIZE", "SOFTMAX", "DEQUANTIZE"]
    assert float(softmax.properties["beta"].value.data) == 0.5  # type: ignore[attr-defined]
    assert (quantize.operand_tensor(0).element, dequantize.out.element) == ("f32", "f32")


def test_several_inputs_and_outputs_keep_order_and_names() -> None:
    tensors = [tensor(name, (1, 4), scale) for name, scale in [("first", 0.5), ("second", 0.25), ("sum", 1.0), ("product", 2.0)]]
    options = {"FusedActivationFunction": 0}
    ops = [Op("ADD", ["second", "first"], ["sum"], options), Op("MUL", ["sum", "second"], ["product"], options)]
    module = imported(build_model(tensors, ops, ["second", "first"], ["product", "sum", "second"]))
    assert module.attributes["input_names"] == ArrayAttr([StringAttr("second"), StringAttr("first")])
    assert module.attributes["output_names"] == ArrayAttr([StringAttr("product"), StringAttr("sum"), StringAttr("second")])
    block = main_block(module)
    assert [argument.type.data.scale for argument in block.args] == [0.25, 0.5]  # type: ignore[attr-defined]
    assert block.last_op is not None
    assert [value.type.data.scale for value in block.last_op.operands] == [2.0, 1.0, 0.25]  # type: ignore[attr-defined]


def test_a_node_is_named_after_its_output_whatever_that_is() -> None:
    name = '*/ "quoted"\n\x1b[31m \\ é'
    model = node_model("ADD", [tensor("a", (1, 4)), tensor("b", (1, 4))], tensor(name, (1, 4)), {"FusedActivationFunction": 0})
    assert only_op(model).layer == name


def test_a_constant_used_twice_is_one_value_for_each_use() -> None:
    tensors = [tensor("x", (1, 4)), tensor("c", (4,), data=int8(4)), tensor("a", (1, 4)), tensor("y", (1, 4))]
    options = {"FusedActivationFunction": 0}
    module = imported(build_model(tensors, [Op("ADD", ["x", "c"], ["a"], options), Op("MUL", ["a", "c"], ["y"], options)], ["x"], ["y"]))
    first, second = ops_of(module)
    left, right = constant_of(first.operands[1]), constant_of(second.operands[1])
    assert left is not None
    assert left == right


def test_the_model_for_the_damage_tests_has_all_its_ops() -> None:
    titles = [op.TITLE for op in ops_of(imported(network_model()))]
    assert titles == ["CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]
    assert set(titles) <= set(RULES)
