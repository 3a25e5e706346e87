"""Import rules: one function per TFLite op, from a checked node to an `nn` op. `RULES` is what the front end supports."""

from __future__ import annotations

import numpy as np
import tflite
from xdsl.dialects.builtin import BoolAttr, FloatAttr, UnitAttr, f32
from xdsl.ir import Attribute, Operation

from tinyc.frontends.tflite_convolution import CONVOLUTION_RULES, grouped_convolution
from tinyc.frontends.tflite_elementwise_rules import ELEMENTWISE_RULES, requantize
from tinyc.frontends.tflite_movement_rules import MOVEMENT_RULES
from tinyc.frontends.tflite_node import Node, Rule
from tinyc.frontends.tflite_operands import convolution_window, image, make, weights_and_bias, window_pads
from tinyc.ir.nn_base import integers
from tinyc.ir.nn_elementwise import AddOp, DequantizeOp, MulOp, QuantizeOp, SoftmaxOp, SubOp, broadcast_shapes
from tinyc.ir.nn_shape import FullyConnectedOp, MeanOp, PadOp, ReshapeOp, TransposeOp
from tinyc.ir.nn_window import AveragePool2DOp, Conv2DOp, DepthwiseConv2DOp, MaxPool2DOp, window_properties

_OPTIONS = tflite.BuiltinOptions


def _conv_2d(node: Node) -> Operation:
    options = node.options(tflite.Conv2DOptions, _OPTIONS.Conv2DOptions)
    shape, weights = image(node), node.tensor(1).shape
    if len(weights) != 4:
        node.refuse("weights", f"weights must have four dimensions, have {list(weights)}")
    if weights[3] < 1 or shape[3] % weights[3] or weights[0] % (shape[3] // weights[3]):
        node.refuse("weights", f"weights {list(weights)} do not fit an input with {shape[3]} channels")
    window = convolution_window(node, options, (weights[1], weights[2]))
    clamp = node.clamp(options.FusedActivationFunction())
    operands, scales = weights_and_bias(node, weights[0], 0)
    properties = {**window_properties(window.stride, window.pads, clamp), "dilations": integers(window.dilation), "weight_scales": scales}
    properties |= node.activation(options.FusedActivationFunction())
    if weights[3] != shape[3]:
        return grouped_convolution(node, shape[3] // weights[3], operands, properties)
    return make(Conv2DOp, node, [node.value(0), *operands], properties)


def _depthwise_conv_2d(node: Node) -> Operation:
    options = node.options(tflite.DepthwiseConv2DOptions, _OPTIONS.DepthwiseConv2DOptions)
    shape, weights = image(node), node.tensor(1).shape
    if len(weights) != 4 or weights[0] != 1 or weights[3] % shape[3]:
        node.refuse("weights", f"weights {list(weights)} do not fit an input with {shape[3]} channels")
    window = convolution_window(node, options, (weights[1], weights[2]))
    clamp = node.clamp(options.FusedActivationFunction())
    operands, scales = weights_and_bias(node, weights[3], 3)
    properties = {**window_properties(window.stride, window.pads, clamp), "dilations": integers(window.dilation), "weight_scales": scales}
    properties |= node.activation(options.FusedActivationFunction())
    if node.has_unsigned():
        # XNNPACK leaves these to LiteRT's own kernel.
        properties["fixed_point"] = UnitAttr()
    return make(DepthwiseConv2DOp, node, [node.value(0), *operands], properties)


def _fully_connected(node: Node) -> Operation:
    options = node.options(tflite.FullyConnectedOptions, _OPTIONS.FullyConnectedOptions)
    if options.WeightsFormat() != tflite.FullyConnectedOptionsWeightsFormat.DEFAULT:
        node.refuse("weights_format", "shuffled weights are not supported", "convert the model for a microcontroller, not for a phone")
    weights = node.tensor(1).shape
    if len(weights) != 2:
        node.refuse("weights", f"weights must have two dimensions, have {list(weights)}")
    clamp = node.clamp(options.FusedActivationFunction())
    operands, scales = weights_and_bias(node, weights[0], 0)
    properties = {"clamp": integers(clamp), "weight_scales": scales, **node.activation(options.FusedActivationFunction())}
    return make(FullyConnectedOp, node, [node.value(0), *operands], properties)


def _pool(kind: type[Operation]) -> Rule:
    def rule(node: Node) -> Operation:
        options = node.options(tflite.Pool2DOptions, _OPTIONS.Pool2DOptions)
        kernel, stride = (options.FilterHeight(), options.FilterWidth()), (options.StrideH(), options.StrideW())
        pads = window_pads(node, kernel, stride, (1, 1), options.Padding())
        properties: dict[str, Attribute] = {"kernel": integers(kernel)}
        # XNNPACK takes maxima whose windows leave no pixel out, and no averages.
        if kind is MaxPool2DOp and stride[0] <= kernel[0] and stride[1] <= kernel[1]:
            properties |= node.activation(options.FusedActivationFunction())
            clamp = node.clamp(options.FusedActivationFunction())
        else:
            clamp = node.clamp_of_own_kernel(options.FusedActivationFunction())
        if kind is AveragePool2DOp and node.has_unsigned():
            properties["unsigned"] = UnitAttr()
        source, output = node.type_of(node.tensor(0)).data, node.output_type().data
        if (source.scale, source.zero_point) != (output.scale, output.zero_point):
            node.refuse("quantization", "a pool must keep the scale and zero point of its input", "requantise the model")
        return make(kind, node, [node.value(0)], {**window_properties(stride, pads, clamp), **properties})

    return rule


def _binary(kind: type[Operation], options_kind: type, expected: int) -> Rule:
    def rule(node: Node) -> Operation:
        options = node.options(options_kind, expected)
        left, right = node.tensor(0).shape, node.tensor(1).shape
        if broadcast_shapes(left, right) != node.output_tensor().shape:
            node.refuse("shape", f"shapes {list(left)} and {list(right)} do not broadcast to {list(node.output_tensor().shape)}")
        clamp = node.clamp(options.FusedActivationFunction())
        properties = {"clamp": integers(clamp), **node.activation(options.FusedActivationFunction())}
        return make(kind, node, [node.value(0), node.value(1)], properties)

    return rule


def _mean(node: Node) -> Operation:
    options = node.options(tflite.ReducerOptions, _OPTIONS.ReducerOptions)
    rank = len(node.tensor(0).shape)
    axes = sorted({int(axis) + (rank if axis < 0 else 0) for axis in node.integers(1, "axes").ravel()})
    if not axes or axes[0] < 0 or axes[-1] >= rank:
        node.refuse("axes", f"axes {axes} are not axes of a tensor with {rank} dimensions")
    return make(MeanOp, node, [node.value(0)], {"axes": integers(axes), "keep_dims": BoolAttr.from_bool(bool(options.KeepDims()))})


def _pad(node: Node) -> Operation:
    paddings = node.integers(1, "paddings")
    if paddings.shape != (len(node.tensor(0).shape), 2) or paddings.min(initial=0) < 0:
        node.refuse("paddings", f"paddings {paddings.tolist()} do not fit shape {list(node.tensor(0).shape)}")
    source, output = node.type_of(node.tensor(0)).data, node.output_type().data
    if (source.scale, source.zero_point) != (output.scale, output.zero_point):
        node.refuse("quantization", "PAD must keep the scale and zero point of its input")
    return make(PadOp, node, [node.value(0)], {"before": integers(paddings[:, 0].tolist()), "after": integers(paddings[:, 1].tolist())})


def _reshape(node: Node) -> Operation:
    return make(ReshapeOp, node, [node.value(0)], {})


def _transpose(node: Node) -> Operation:
    permutation, rank = node.integers(1, "perm").ravel(), len(node.tensor(0).shape)
    order = [int(axis) + (rank if axis < 0 else 0) for axis in permutation]
    if sorted(order) != list(range(rank)):
        node.refuse("perm", f"{order} does not permute {rank} dimensions")
    return make(TransposeOp, node, [node.value(0)], {"permutation": integers(order)})


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
    return make(SoftmaxOp, node, [node.value(0)], {"beta": FloatAttr(options.Beta(), f32)})


def _quantize(node: Node) -> Operation:
    if node.tensor(0).element == node.output_tensor().element == "i8":
        return requantize(node)
    if node.tensor(0).element != "f32" or node.output_tensor().element != "i8":
        types = f"from {node.tensor(0).type_name} to {node.output_tensor().type_name}"
        node.refuse("type", types, "only from float32, int8 or uint8 to int8 or uint8 is supported")
    return make(QuantizeOp, node, [node.value(0)], {})


def _dequantize(node: Node) -> Operation:
    if node.tensor(0).element != "i8" or node.output_tensor().element != "f32":
        node.refuse("type", f"from {node.tensor(0).type_name} to {node.output_tensor().type_name}", "only int8 to float32 is supported")
    return make(DequantizeOp, node, [node.value(0)], {})


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
    "SUB": _binary(SubOp, tflite.SubOptions, _OPTIONS.SubOptions),
    "TRANSPOSE": _transpose,
    **MOVEMENT_RULES,
    **CONVOLUTION_RULES,
    **ELEMENTWISE_RULES,
}
