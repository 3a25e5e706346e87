"""Import rules: one function per TFLite op, from a checked node to an `nn` op. `RULES` is what the front end supports."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tflite
from xdsl.dialects.builtin import BoolAttr, FloatAttr, f32
from xdsl.ir import Attribute, Operation, SSAValue

from tinyc.frontends.tflite_node import Node
from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import integers
from tinyc.ir.nn_elementwise import AddOp, DequantizeOp, MulOp, QuantizeOp, SoftmaxOp, broadcast_shapes
from tinyc.ir.nn_shape import FullyConnectedOp, MeanOp, PadOp, ReshapeOp, TransposeOp
from tinyc.ir.nn_window import AveragePool2DOp, Conv2DOp, DepthwiseConv2DOp, MaxPool2DOp, window_properties
from tinyc.ir.tensor_type import Tensor, TensorType

_OPTIONS = tflite.BuiltinOptions
Rule = Callable[[Node], Operation]


def _make(kind: type[Operation], node: Node, operands: list[SSAValue], properties: Mapping[str, Attribute]) -> Operation:
    return kind.create(operands=operands, properties=dict(properties), result_types=[node.output_type()])


def _image(node: Node, position: int = 0) -> tuple[int, ...]:
    shape = node.tensor(position).shape
    if len(shape) != 4 or shape[0] != 1:
        node.refuse("shape", f"expects an image of shape [1, H, W, C], got {list(shape)}", "set the batch size to 1")
    return shape


def padding_of(size: int, output: int, kernel: int, stride: int, dilation: int, padding: int) -> tuple[int, int]:
    """Padding before and after one axis for TFLite's SAME (0) or VALID (1), with SAME's odd element at the end."""
    if padding != tflite.Padding.SAME:
        return 0, 0
    total = max(0, (output - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return total // 2, total - total // 2


def _window_pads(
    node: Node, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], padding: int
) -> tuple[int, int, int, int]:
    image, output = _image(node), node.output_tensor().shape
    if len(output) != 4 or min(*kernel, *stride, *dilation) < 1:
        node.refuse("options", f"kernel {kernel}, stride {stride} or dilation {dilation} make no sense")
    top, bottom = padding_of(image[1], output[1], kernel[0], stride[0], dilation[0], padding)
    left, right = padding_of(image[2], output[2], kernel[1], stride[1], dilation[1], padding)
    return top, left, bottom, right


def _weights(node: Node, channels: int, channel_axis: int) -> tuple[list[SSAValue], DenseAttr]:
    """Operands weights and, if present, bias; and the weight scales. Refuses what is not constant symmetric int8."""
    info = node.tensor(1)
    if info.data is None or info.element != "i8" or info.sparse:
        node.refuse("weights", f"weights must be constant dense int8, {info.name} is {info.type_name}", "quantise the weights to int8")
    if info.scales.size not in (1, channels):
        node.refuse("weights", f"{info.scales.size} weight scales for {channels} output channels")
    if info.scales.size > 1 and info.quantized_dimension != channel_axis:
        node.refuse("weights", f"scales run along dimension {info.quantized_dimension}, expected {channel_axis}")
    # Zero and negative scales occur in published networks (folded batch normalisation) and the references compute with them.
    if not np.isfinite(info.scales).all():
        node.refuse("weights", "a weight scale is not a finite number")
    if np.any(info.zero_points != 0):
        node.refuse("weights", "the weights' zero point is not 0", "quantise weights symmetrically")
    operands = [node.constant(info, TensorType(Tensor(info.shape, "i8")))]
    if node.has_input(2):
        bias = node.tensor(2)
        if bias.data is None or bias.element != "i32" or bias.shape != (channels,):
            node.refuse("bias", f"bias must be {channels} constant int32 values, {bias.name} is {bias.type_name} {list(bias.shape)}")
        # The bias's own scales are not read: they are input scale * weight scale by definition, and some files carry odd ones.
        operands.append(node.constant(bias, TensorType(Tensor(bias.shape, "i32"))))
    return operands, DenseAttr.of(np.atleast_1d(info.scales))


def _conv_2d(node: Node) -> Operation:
    options = node.options(tflite.Conv2DOptions, _OPTIONS.Conv2DOptions)
    shape, weights = _image(node), node.tensor(1).shape
    if len(weights) != 4:
        node.refuse("weights", f"weights must have four dimensions, have {list(weights)}")
    if weights[3] != shape[3]:
        node.refuse(
            "weights",
            f"{shape[3]} input channels, weights for {weights[3]}: grouped convolution",
            "replace it by one convolution per group",
        )
    stride, dilation = (options.StrideH(), options.StrideW()), (options.DilationHFactor(), options.DilationWFactor())
    pads = _window_pads(node, (weights[1], weights[2]), stride, dilation, options.Padding())
    clamp = node.clamp(options.FusedActivationFunction())
    operands, scales = _weights(node, weights[0], 0)
    properties = {**window_properties(stride, pads, clamp), "dilations": integers(dilation), "weight_scales": scales}
    return _make(Conv2DOp, node, [node.value(0), *operands], properties)


def _depthwise_conv_2d(node: Node) -> Operation:
    options = node.options(tflite.DepthwiseConv2DOptions, _OPTIONS.DepthwiseConv2DOptions)
    shape, weights = _image(node), node.tensor(1).shape
    if len(weights) != 4 or weights[0] != 1 or weights[3] % shape[3]:
        node.refuse("weights", f"weights {list(weights)} do not fit an input with {shape[3]} channels")
    stride, dilation = (options.StrideH(), options.StrideW()), (options.DilationHFactor(), options.DilationWFactor())
    pads = _window_pads(node, (weights[1], weights[2]), stride, dilation, options.Padding())
    clamp = node.clamp(options.FusedActivationFunction())
    operands, scales = _weights(node, weights[3], 3)
    properties = {**window_properties(stride, pads, clamp), "dilations": integers(dilation), "weight_scales": scales}
    return _make(DepthwiseConv2DOp, node, [node.value(0), *operands], properties)


def _fully_connected(node: Node) -> Operation:
    options = node.options(tflite.FullyConnectedOptions, _OPTIONS.FullyConnectedOptions)
    if options.WeightsFormat() != tflite.FullyConnectedOptionsWeightsFormat.DEFAULT:
        node.refuse("weights_format", "shuffled weights are not supported", "convert the model for a microcontroller, not for a phone")
    weights = node.tensor(1).shape
    if len(weights) != 2:
        node.refuse("weights", f"weights must have two dimensions, have {list(weights)}")
    clamp = node.clamp(options.FusedActivationFunction())
    operands, scales = _weights(node, weights[0], 0)
    return _make(FullyConnectedOp, node, [node.value(0), *operands], {"clamp": integers(clamp), "weight_scales": scales})


def _pool(kind: type[Operation]) -> Rule:
    def rule(node: Node) -> Operation:
        options = node.options(tflite.Pool2DOptions, _OPTIONS.Pool2DOptions)
        kernel, stride = (options.FilterHeight(), options.FilterWidth()), (options.StrideH(), options.StrideW())
        pads = _window_pads(node, kernel, stride, (1, 1), options.Padding())
        clamp = node.clamp(options.FusedActivationFunction())
        source, output = node.type_of(node.tensor(0)).data, node.output_type().data
        if (source.scale, source.zero_point) != (output.scale, output.zero_point):
            node.refuse("quantization", "a pool must keep the scale and zero point of its input", "requantise the model")
        return _make(kind, node, [node.value(0)], {**window_properties(stride, pads, clamp), "kernel": integers(kernel)})

    return rule


def _binary(kind: type[Operation], options_kind: type, expected: int) -> Rule:
    def rule(node: Node) -> Operation:
        options = node.options(options_kind, expected)
        left, right = node.tensor(0).shape, node.tensor(1).shape
        if broadcast_shapes(left, right) != node.output_tensor().shape:
            node.refuse("shape", f"shapes {list(left)} and {list(right)} do not broadcast to {list(node.output_tensor().shape)}")
        clamp = node.clamp(options.FusedActivationFunction())
        return _make(kind, node, [node.value(0), node.value(1)], {"clamp": integers(clamp)})

    return rule


def _mean(node: Node) -> Operation:
    options = node.options(tflite.ReducerOptions, _OPTIONS.ReducerOptions)
    rank = len(node.tensor(0).shape)
    axes = sorted({int(axis) + (rank if axis < 0 else 0) for axis in node.integers(1, "axes").ravel()})
    if not axes or axes[0] < 0 or axes[-1] >= rank:
        node.refuse("axes", f"axes {axes} are not axes of a tensor with {rank} dimensions")
    return _make(MeanOp, node, [node.value(0)], {"axes": integers(axes), "keep_dims": BoolAttr.from_bool(bool(options.KeepDims()))})


def _pad(node: Node) -> Operation:
    paddings = node.integers(1, "paddings")
    if paddings.shape != (len(node.tensor(0).shape), 2) or paddings.min(initial=0) < 0:
        node.refuse("paddings", f"paddings {paddings.tolist()} do not fit shape {list(node.tensor(0).shape)}")
    source, output = node.type_of(node.tensor(0)).data, node.output_type().data
    if (source.scale, source.zero_point) != (output.scale, output.zero_point):
        node.refuse("quantization", "PAD must keep the scale and zero point of its input")
    return _make(PadOp, node, [node.value(0)], {"before": integers(paddings[:, 0].tolist()), "after": integers(paddings[:, 1].tolist())})


def _reshape(node: Node) -> Operation:
    return _make(ReshapeOp, node, [node.value(0)], {})


def _transpose(node: Node) -> Operation:
    permutation, rank = node.integers(1, "perm").ravel(), len(node.tensor(0).shape)
    order = [int(axis) + (rank if axis < 0 else 0) for axis in permutation]
    if sorted(order) != list(range(rank)):
        node.refuse("perm", f"{order} does not permute {rank} dimensions")
    return _make(TransposeOp, node, [node.value(0)], {"permutation": integers(order)})


def _softmax(node: Node) -> Operation:
    options = node.options(tflite.SoftmaxOptions, _OPTIONS.SoftmaxOptions)
    output = node.output_type().data
    if output.element != "i8" or output.scale != 1 / 256 or output.zero_point != -128:
        node.refuse(
            "quantization",
            "SOFTMAX needs an int8 output with scale 1/256 and zero point -128",
            "requantise the model with TFLite's converter",
        )
    if not (np.isfinite(options.Beta()) and options.Beta() > 0):
        node.refuse("beta", f"beta is {options.Beta()}, expected a positive number")
    return _make(SoftmaxOp, node, [node.value(0)], {"beta": FloatAttr(options.Beta(), f32)})


def _quantize(node: Node) -> Operation:
    if node.tensor(0).element != "f32" or node.output_tensor().element != "i8":
        node.refuse("type", f"from {node.tensor(0).type_name} to {node.output_tensor().type_name}", "only float32 to int8 is supported")
    return _make(QuantizeOp, node, [node.value(0)], {})


def _dequantize(node: Node) -> Operation:
    if node.tensor(0).element != "i8" or node.output_tensor().element != "f32":
        node.refuse("type", f"from {node.tensor(0).type_name} to {node.output_tensor().type_name}", "only int8 to float32 is supported")
    return _make(DequantizeOp, node, [node.value(0)], {})


RULES: dict[str, Rule] = {
    "ADD": _binary(AddOp, tflite.AddOptions, _OPTIONS.AddOptions),
    "AVERAGE_POOL_2D": _pool(AveragePool2DOp),
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "DEQUANTIZE": _dequantize,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _pool(MaxPool2DOp),
    "MEAN": _mean,
    "MUL": _binary(MulOp, tflite.MulOptions, _OPTIONS.MulOptions),
    "PAD": _pad,
    "QUANTIZE": _quantize,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
    "TRANSPOSE": _transpose,
}
