"""Import rules of the ops that are functions of single elements: activations of their own, re-quantisation, MAXIMUM, MINIMUM and PRELU."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tflite
from xdsl.dialects.builtin import FloatAttr, StringAttr, UnitAttr, f32
from xdsl.ir import Attribute, Operation

from tinyc.frontends.tflite_node import Node, Rule
from tinyc.frontends.tflite_operands import make
from tinyc.ir.nn_base import integers
from tinyc.ir.nn_elementwise import BroadcastingOp, ClampOp, MaximumOp, MinimumOp, broadcast_shapes
from tinyc.ir.nn_unary import PReluOp, UnaryOp
from tinyc.ir.tensor_type import Tensor
from tinyc.numerics.activation import activation_bounds
from tinyc.numerics.profile import Profile
from tinyc.numerics.unary import UnaryQuantization, unary_table


def _int8(node: Node, tensor: Tensor) -> float:
    """The scale of a quantised tensor; refuses the node for any other."""
    if tensor.element != "i8" or tensor.scale is None:
        node.refuse("type", f"expects int8 tensors, got {tensor.element}", "quantise the whole model to int8")
    return tensor.scale


def _same_quantization(node: Node, *tensors: Tensor) -> bool:
    return len({(_int8(node, tensor), tensor.zero_point) for tensor in tensors}) == 1


def unary(node: Node, function: str, alpha: float | None = None, own_kernel: bool = False) -> Operation:
    """nn.unary for the node. Refuses scales for which the references have no result."""
    source, output = node.type_of(node.tensor(0)).data, node.output_type().data
    quantization = UnaryQuantization(_int8(node, source), source.zero_point, _int8(node, output), output.zero_point)
    try:
        for profile in Profile:
            unary_table(function, profile, quantization, alpha, own_kernel=own_kernel)
    except ValueError as error:
        node.refuse("quantization", str(error), "requantise the model with TFLite's converter")
    properties: dict[str, Attribute] = {"function": StringAttr(function)}
    if alpha is not None:
        properties["alpha"] = FloatAttr(alpha, f32)
    if own_kernel:
        properties["own_kernel"] = UnitAttr()
    return make(UnaryOp, node, [node.value(0)], properties)


def requantize(node: Node) -> Operation:
    """QUANTIZE from int8 to int8. Where one side is uint8 in the file, XNNPACK leaves it to LiteRT's own kernel."""
    return unary(node, "requantize", own_kernel=node.tensor(0).unsigned != node.output_tensor().unsigned)


def _function(function: str) -> Rule:
    return lambda node: unary(node, function)


def _sigmoid(function: str, scale: float, zero_point: int) -> Rule:
    def rule(node: Node) -> Operation:
        output = node.output_type().data
        if (_int8(node, output), output.zero_point) != (scale, zero_point):
            reason = f"the output must have scale 1/{round(1 / scale)} and zero point {zero_point}"
            node.refuse("quantization", reason, "requantise the model with TFLite's converter")
        return unary(node, function)

    return rule


def _activation(function: str) -> Rule:
    """A bound alone where the quantisation stays, which an op before it can take over; a function otherwise."""

    def rule(node: Node) -> Operation:
        source, output = node.type_of(node.tensor(0)).data, node.output_type().data
        if not _same_quantization(node, source, output) or source.shape != output.shape:
            return unary(node, function)
        # XNNPACK leaves stand-alone activations alone, so that both profiles round the bounds as TFLite does.
        bounds = activation_bounds(function, _int8(node, output), output.zero_point, Profile.TFLM)
        return make(ClampOp, node, [node.value(0)], {"clamp": integers(bounds)})

    return rule


def _leaky_relu(node: Node) -> Operation:
    options = node.options(tflite.LeakyReluOptions, tflite.BuiltinOptions.LeakyReluOptions)
    alpha = float(options.Alpha())
    if not np.isfinite(alpha):
        node.refuse("alpha", f"alpha is {alpha}, expected a finite number")
    return unary(node, "leaky_relu", alpha)


def _check_broadcast(node: Node) -> None:
    left, right, output = node.tensor(0).shape, node.tensor(1).shape, node.output_tensor().shape
    if broadcast_shapes(left, right) != output:
        node.refuse("shape", f"shapes {list(left)} and {list(right)} do not broadcast to {list(output)}")


def _extreme(kind: type[BroadcastingOp]) -> Rule:
    def rule(node: Node) -> Operation:
        _check_broadcast(node)
        if not _same_quantization(node, *(node.type_of(node.tensor(index)).data for index in (0, 1)), node.output_type().data):
            node.refuse("quantization", "operands and result must have the same scale and zero point", "requantise the model")
        return make(kind, node, [node.value(0), node.value(1)], {})

    return rule


def _prelu(node: Node) -> Operation:
    _check_broadcast(node)
    for tensor in (node.type_of(node.tensor(0)), node.type_of(node.tensor(1)), node.output_type()):
        _int8(node, tensor.data)
    return make(PReluOp, node, [node.value(0), node.value(1)], {})


ELEMENTWISE_RULES: Mapping[str, Rule] = {
    "ABS": _function("abs"),
    "ELU": _function("elu"),
    "HARD_SWISH": _function("hard_swish"),
    "LEAKY_RELU": _leaky_relu,
    "LOGISTIC": _sigmoid("logistic", 1 / 256, -128),
    "MAXIMUM": _extreme(MaximumOp),
    "MINIMUM": _extreme(MinimumOp),
    "NEG": _function("negate"),
    "PRELU": _prelu,
    "RELU": _activation("relu"),
    "RELU6": _activation("relu6"),
    "RELU_N1_TO_1": _activation("relu_n1_to_1"),
    "TANH": _sigmoid("tanh", 1 / 128, 0),
}
