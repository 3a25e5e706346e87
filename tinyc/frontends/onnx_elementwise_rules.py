"""Import rules of QuantizeLinear, DequantizeLinear and of what works element by element, with their QOperator forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from xdsl.dialects.builtin import FloatAttr, StringAttr, UnitAttr, f32
from xdsl.ir import Attribute, SSAValue

from tinyc.frontends.onnx_layout import channels_first, channels_last
from tinyc.frontends.onnx_node import (
    QUANTIZE_HINT,
    SHIFT,
    Activation,
    Known,
    KnownQuantized,
    Node,
    Pending,
    Quantization,
    Rule,
    State,
    axis_of,
    quantized_type,
)
from tinyc.frontends.onnx_window_rules import FULL_RANGE, unsigned_property
from tinyc.ir.nn_base import integers, tensor_of
from tinyc.ir.nn_elementwise import AddOp, BinaryOp, ClampOp, MulOp, QuantizeOp, SoftmaxOp, broadcast_shapes
from tinyc.ir.nn_shape import ReshapeOp
from tinyc.ir.nn_unary import UnaryOp
from tinyc.numerics.softmax import scaled_softmax


def requantized(node: Node, x: Activation, out: Quantization) -> SSAValue:
    """The tensor with the scale and zero point of `out`."""
    own = x.quantization
    if (own.scale, own.zero_point) == (out.scale, out.zero_point):
        return x.value
    properties = {"function": StringAttr("requantize")}
    return node.add(UnaryOp.create(operands=[x.value], properties=properties, result_types=[quantized_type(x.shape, out)]))


def quantized_bound(real: float, out: Quantization) -> int:
    """A real bound in the quantisation `out`, limited to int8; quantising is monotonic, so that a clamp may come before or after it."""
    scaled = np.clip(np.float32(real) / np.float32(out.scale), np.float32(-1024), np.float32(1024))
    return int(np.clip(np.rint(scaled) + out.zero_point, -128, 127))


def bounded(node: Node, value: SSAValue, bounds: tuple[float | None, float | None], out: Quantization) -> SSAValue:
    """`value` limited to real `bounds`."""
    lower = -128 if bounds[0] is None else quantized_bound(bounds[0], out)
    upper = 127 if bounds[1] is None else quantized_bound(bounds[1], out)
    if (lower, upper) == FULL_RANGE:
        return value
    if lower > upper:
        node.refuse("min", f"the bounds {bounds} exclude each other")
    return node.add(ClampOp.create(operands=[value], properties={"clamp": integers((lower, upper))}, result_types=[value.type]))


def _quantize_linear(node: Node) -> State:
    state = node.state(0)
    if node.integer("block_size", 0):
        node.refuse("block_size", "quantisation in blocks is not supported")
    if node.integer("output_dtype", 0) not in (0, 2, 3):
        node.refuse("output_dtype", f"type {node.integer('output_dtype', 0)} is not supported", "quantise to int8 or uint8")
    default = {3: False}.get(node.integer("output_dtype", 0), True)
    if isinstance(state, Known):
        return _quantized_constant(node, state, default)
    out = node.parameters(1, 2, default)
    if isinstance(state, Pending):
        value = state.emit(out)
        return Activation(bounded(node, value, state.bounds, out), False, out.unsigned)
    x = node.movable(0)
    if x.tensor.element == "f32":
        kind = quantized_type(x.shape, out)
        return Activation(node.add(QuantizeOp.create(operands=[x.value], result_types=[kind])), False, out.unsigned)
    return Activation(requantized(node, x, out), False, out.unsigned)


def _quantized_constant(node: Node, state: Known, default: bool) -> State:
    """Weights that the file quantises itself."""
    scales, zero_points, unsigned = node.channel_parameters(1, 2, default)
    if state.array.dtype != np.float32 or not (scales > 0).all():
        node.refuse("scale", "a constant to quantise must be float32, and its scales positive")
    shape = [1] * state.array.ndim
    if scales.size > 1:
        axis = axis_of(node, node.integer("axis", 1), state.array.ndim)
        if state.array.shape[axis] != scales.size:
            node.refuse("scale", f"{scales.size} scales for a dimension of {state.array.shape[axis]}")
        shape[axis] = scales.size
    scaled = np.clip(state.array / scales.reshape(shape), np.float32(-1024), np.float32(1024))
    values = np.clip(np.rint(scaled) + zero_points.reshape(shape), -128, 127)
    return Known((values + SHIFT).astype(np.uint8) if unsigned else values.astype(np.int8))


def _dequantize_linear(node: Node) -> State:
    state = node.state(0)
    if node.integer("block_size", 0):
        node.refuse("block_size", "quantisation in blocks is not supported")
    if isinstance(state, Known):
        return _dequantized_constant(node, state)
    x = node.quantized(0)
    if x.real:
        node.refuse("inputs", "the input is float32")
    parameters = node.parameters(1, 2, x.unsigned)
    return replace(node.reinterpreted(x, parameters), real=True)


def _dequantized_constant(node: Node, state: Known) -> State:
    values = state.array
    if values.dtype not in (np.int8, np.uint8, np.int32):
        node.refuse("type", f"quantised {values.dtype} is not supported", "quantise to int8")
    unsigned = bool(values.dtype == np.uint8)
    scales, zero_points, _ = node.channel_parameters(1, 2, unsigned)
    axis = 0
    if scales.size > 1:
        axis = axis_of(node, node.integer("axis", 1), values.ndim)
        if values.shape[axis] != scales.size:
            node.refuse("scale", f"{scales.size} scales for a dimension of {values.shape[axis]}")
    if unsigned:
        values = (values.astype(np.int16) - SHIFT).astype(np.int8)
    return KnownQuantized(values, scales, zero_points, axis, unsigned)


# Activations that are bounds


def _bounds_of(node: Node) -> tuple[float | None, float | None]:
    if node.info.op == "Relu":
        return 0.0, None
    found: list[float | None] = []
    for position, name in ((1, "min"), (2, "max")):
        state = node.state(position) if node.has(position) else None
        if isinstance(state, KnownQuantized):
            found.append(float((state.array.reshape(-1)[0] - state.zero_points[0]) * state.scales[0]))
        elif state is None:
            found.append(None)
        else:
            value = float(node.constant(position, name).reshape(-1)[0])
            if np.isnan(value):
                node.refuse(name, "the bound is not a number")
            found.append(value if np.isfinite(value) else None)
    return found[0], found[1]


def _tighter(first: tuple[float | None, float | None], second: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    """Bounds of a clamp to `first` followed by one to `second`."""

    def through(value: float | None, missing: float) -> float | None:
        low, high = second
        real = missing if value is None else value
        real = max(real, low) if low is not None else real
        real = min(real, high) if high is not None else real
        return real if np.isfinite(real) else None

    return through(first[0], -np.inf), through(first[1], np.inf)


def _bound(node: Node) -> State:
    state, bounds = node.state(0), _bounds_of(node)
    if isinstance(state, Pending):
        return replace(state, bounds=_tighter(state.bounds, bounds))
    x = node.quantized(0)
    if not x.real:
        node.refuse("inputs", "the input is int8: this op works on real values")
    return Pending(node, x.shape, lambda out: requantized(node, x, out), bounds)


# Functions of one element


def _function_op(node: Node, x: Activation, function: str, out: Quantization, alpha: float | None = None) -> SSAValue:
    properties: dict[str, Attribute] = {"function": StringAttr(function)}
    if alpha is not None:
        properties["alpha"] = FloatAttr(alpha, f32)
    return node.add(UnaryOp.create(operands=[x.value], properties=properties, result_types=[quantized_type(x.shape, out)]))


def _unary(function: str) -> Callable[[Node], State]:
    def rule(node: Node) -> State:
        x = node.quantized(0)
        alpha = _alpha(node) if function == "leaky_relu" else None
        return Pending(node, x.shape, lambda out: _function_op(node, x, function, out, alpha))

    return rule


def _alpha(node: Node) -> float:
    alpha = float(node.attribute("alpha", float, 0.01))
    if not np.isfinite(alpha):
        node.refuse("alpha", f"alpha is {alpha}, expected a finite number")
    return alpha


def _elu(node: Node) -> State:
    if node.attribute("alpha", float, 1.0) != 1.0:
        node.refuse("alpha", "only alpha = 1 is supported")
    return _unary("elu")(node)


def _qlinear_unary(function: str) -> Rule:
    def rule(node: Node) -> State:
        x, out = node.described(0), node.parameters(3, 4)
        alpha = _alpha(node) if function == "leaky_relu" else None
        return Activation(_function_op(node, x, function, out, alpha), False, out.unsigned)

    return rule


# Functions of two elements


def _binary_op(node: Node, kind: type[BinaryOp], a: Activation, b: Activation, out: Quantization) -> SSAValue:
    shape = broadcast_shapes(a.shape, b.shape)
    assert shape is not None
    properties: dict[str, Attribute] = {"clamp": integers(FULL_RANGE), **unsigned_property(out)}
    if first_is_repeated(a.shape, b.shape):
        properties["swapped"] = UnitAttr()
    return node.add(kind.create(operands=[a.value, b.value], properties=properties, result_types=[quantized_type(shape, out)]))


def first_is_repeated(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether each value of the first operand meets many neighbours of the second, for which ONNX Runtime exchanges the two."""
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b), strict=True)
    larger = [pair for pair in pairs if pair != (1, 1)]
    return bool(larger) and larger[-1][0] < larger[-1][1]


def _check_broadcast(node: Node, a: Activation, b: Activation) -> tuple[int, ...]:
    shape = broadcast_shapes(a.shape, b.shape)
    if shape is None:
        node.refuse("shape", f"shapes {list(a.shape)} and {list(b.shape)} do not broadcast")
    return shape


def _binary(kind: type[BinaryOp]) -> Rule:
    def rule(node: Node) -> State:
        a, b = node.quantized(0), node.quantized(1)
        return Pending(node, _check_broadcast(node, a, b), lambda out: _binary_op(node, kind, a, b, out))

    return rule


def _qlinear_binary(kind: type[BinaryOp]) -> Rule:
    def rule(node: Node) -> State:
        a, b, out = node.described(0), node.described(3), node.parameters(6, 7)
        _check_broadcast(node, a, b)
        return Activation(_binary_op(node, kind, a, b, out), False, out.unsigned)

    return rule


# Softmax


def _softmax_op(node: Node, x: Activation, axis: int, out: Quantization, flattens: bool) -> SSAValue:
    value, shape = x.value, x.shape
    over_channels = len(shape) == 4 and axis == 1 and not flattens
    if over_channels:
        value = channels_last(node, value)
    elif flattens:
        matrix = (int(np.prod(shape[:axis])), int(np.prod(shape[axis:])))
        value = node.add(ReshapeOp.create(operands=[value], result_types=[quantized_type(matrix, x.quantization)]))
    kind = quantized_type(tensor_of(value).shape, out)
    plan = scaled_softmax(kind.data.shape[-1], x.quantization.scale, out.scale, out.zero_point)
    if not plan.factor * max(plan.table) <= float(np.finfo(np.float32).max):
        node.refuse("y_scale", f"with the output scale {out.scale:g} ONNX Runtime's softmax overflows", "give the output the scale 1/256")
    properties: dict[str, Attribute] = {"beta": FloatAttr(1.0, f32)}
    made = node.add(SoftmaxOp.create(operands=[value], properties=properties, result_types=[kind]))
    if over_channels:
        return channels_first(node, made)
    return node.add(ReshapeOp.create(operands=[made], result_types=[quantized_type(shape, out)])) if flattens else made


def _softmax_axis(node: Node, x: Activation, opset: int) -> tuple[int, bool]:
    """The axis, and whether all axes from there on are one (up to opset 12)."""
    rank = len(x.shape)
    axis = axis_of(node, node.integer("axis", -1 if opset >= 13 else 1), rank)
    flattens = opset < 13 and axis != rank - 1
    if not flattens and axis != rank - 1 and not (rank == 4 and axis == 1):
        node.refuse(
            "axis", f"Softmax over axis {axis} of {list(x.shape)} is not supported", "use the last axis, or the channels of an image"
        )
    return axis, flattens


def _softmax(node: Node) -> State:
    x = node.quantized(0)
    axis, flattens = _softmax_axis(node, x, node.graph.opset)
    return Pending(node, x.shape, lambda out: _softmax_op(node, x, axis, out, flattens))


def _qlinear_softmax(node: Node) -> State:
    x, out = node.described(0), node.parameters(3, 4)
    axis, flattens = _softmax_axis(node, x, node.integer("opset", 13))
    return Activation(_softmax_op(node, x, axis, out, flattens), False, out.unsigned)


def _cast(node: Node) -> State:
    x = node.movable(0)
    if node.integer("to", 0) != 1 or not x.real:
        node.refuse("to", "a cast of what is computed at run time is not supported", QUANTIZE_HINT)
    return x


ELEMENTWISE_RULES: Mapping[str, Rule] = {
    "Abs": _unary("abs"),
    "Add": _binary(AddOp),
    "Cast": _cast,
    "Clip": _bound,
    "DequantizeLinear": _dequantize_linear,
    "Elu": _elu,
    "HardSwish": _unary("hard_swish"),
    "LeakyRelu": _unary("leaky_relu"),
    "Mul": _binary(MulOp),
    "QuantizeLinear": _quantize_linear,
    "Relu": _bound,
    "Sigmoid": _unary("logistic"),
    "Softmax": _softmax,
    "Tanh": _unary("tanh"),
    "com.microsoft.DequantizeLinear": _dequantize_linear,
    "com.microsoft.QLinearAdd": _qlinear_binary(AddOp),
    "com.microsoft.QLinearLeakyRelu": _qlinear_unary("leaky_relu"),
    "com.microsoft.QLinearMul": _qlinear_binary(MulOp),
    "com.microsoft.QLinearSigmoid": _qlinear_unary("logistic"),
    "com.microsoft.QLinearSoftmax": _qlinear_softmax,
    "com.microsoft.QuantizeLinear": _quantize_linear,
}
