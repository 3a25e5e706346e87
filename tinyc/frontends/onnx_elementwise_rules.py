"""Import rules of what works element by element, with their QOperator forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from xdsl.dialects.builtin import FloatAttr, StringAttr, UnitAttr, f32
from xdsl.ir import Attribute, SSAValue

from tinyc.frontends.onnx_layout import transpose
from tinyc.frontends.onnx_node import (
    QUANTIZE_HINT,
    SHIFT,
    Activation,
    KnownQuantized,
    Node,
    Pending,
    Quantization,
    Rule,
    State,
    axis_of,
    quantized_type,
    waiting,
)
from tinyc.frontends.onnx_quantize_rules import quantized, requantized
from tinyc.frontends.onnx_window import FULL_RANGE, unsigned_property
from tinyc.ir.nn_base import integers, tensor_of
from tinyc.ir.nn_elementwise import AddOp, BinaryOp, ClampOp, MulOp, SoftmaxOp, SubOp, broadcast_shapes
from tinyc.ir.nn_shape import ReshapeOp
from tinyc.ir.nn_unary import UnaryOp
from tinyc.numerics.softmax import scaled_softmax

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
        shared = state.shared or node.graph.uses[node.info.inputs[0]] > 1
        return replace(state, bounds=_tighter(state.bounds, bounds), shared=shared, apart=state.apart or state.moved)
    if isinstance(state, Activation) and state.tensor.element == "f32":
        return _tabulated(node, state.shape, lambda out: quantized(node, state, out), bounds)
    x = node.quantized(0)
    if not x.real:
        return _bounded_numbers(node, x, bounds)
    return _tabulated(node, x.shape, lambda out: requantized(node, x, out), bounds)


def _bounded_numbers(node: Node, x: Activation, bounds: tuple[float | None, float | None]) -> Activation:
    """8-bit numbers that stand for themselves, limited to `bounds` in the file's type."""
    shift = SHIFT if x.unsigned else 0
    lower, upper = (missing if bound is None else bound - shift for bound, missing in zip(bounds, FULL_RANGE, strict=True))
    # Where the bounds exclude each other, the upper one wins.
    clamp = [int(np.clip(bound, *FULL_RANGE)) for bound in (min(lower, upper), upper)]
    if tuple(clamp) == FULL_RANGE:
        return x
    return replace(
        x, value=node.add(ClampOp.create(operands=[x.value], properties={"clamp": integers(clamp)}, result_types=[x.value.type]))
    )


def _tabulated(
    node: Node, shape: tuple[int, ...], emit: Callable[[Quantization], SSAValue], bounds: tuple[float | None, float | None] = (None, None)
) -> Pending:
    """A computation whose results are the same in integers and in float32: each depends on one value."""
    return Pending(node, shape, emit, emit, None, bounds)


# Functions of one element


def _function_op(node: Node, x: Activation, function: str, out: Quantization, parameters: Mapping[str, float]) -> SSAValue:
    numbers = {name: FloatAttr(value, f32) for name, value in parameters.items()}
    properties: dict[str, Attribute] = {"function": StringAttr(function), **numbers}
    return node.add(UnaryOp.create(operands=[x.value], properties=properties, result_types=[quantized_type(x.shape, out)]))


def _unary(function: str) -> Rule:
    def rule(node: Node) -> State:
        x, parameters = node.real(0), _parameters(node, function)
        return _tabulated(node, x.shape, lambda out: _function_op(node, x, function, out, parameters))

    return rule


_PARAMETERS: Mapping[str, Mapping[str, float]] = {
    "elu": {"alpha": 1.0},
    "hard_sigmoid": {"alpha": 0.2, "beta": 0.5},
    "leaky_relu": {"alpha": 0.01},
}
"""Attributes of functions, with the values that ONNX gives them where they are left out."""


def _parameters(node: Node, function: str) -> dict[str, float]:
    found = {name: float(node.attribute(name, float, value)) for name, value in _PARAMETERS.get(function, {}).items()}
    for name, value in found.items():
        if not np.isfinite(value):
            node.refuse(name, f"{name} is {value}, expected a finite number")
    return found


def _qlinear_unary(function: str) -> Rule:
    def rule(node: Node) -> State:
        x, out = node.described(0), node.parameters(3, 4)
        return Activation(_function_op(node, x, function, out, _parameters(node, function)), False, out.unsigned)

    return rule


# Functions of two elements


def _binary_op(node: Node, kind: type[BinaryOp], a: Activation, b: Activation, out: Quantization, real: bool = False) -> SSAValue:
    """The op in integers, or in `real` numbers: of dequantised operands, and then quantised."""
    shape = broadcast_shapes(a.shape, b.shape)
    assert shape is not None
    properties: dict[str, Attribute] = {"clamp": integers(FULL_RANGE), **unsigned_property(out)}
    if real:
        properties = {"clamp": integers(FULL_RANGE), "dequantized": UnitAttr()}
    elif first_is_repeated(a.shape, b.shape):
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
        a, b = node.real(0), node.real(1)
        pending = waiting(node, _check_broadcast(node, a, b), lambda out: _binary_op(node, kind, a, b, out), (a, b))
        if kind is MulOp:
            return pending

        def emit_real(out: Quantization) -> SSAValue:
            return _binary_op(node, kind, a, b, out, real=True)

        # ONNX Runtime has no 8-bit subtraction.
        return replace(pending, emit_real=emit_real, emit=emit_real if kind is SubOp else pending.emit)

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
    order = (*(other for other in range(len(shape)) if other != axis), axis)
    if flattens:
        matrix = (math.prod(shape[:axis]), math.prod(shape[axis:]))
        value = node.add(ReshapeOp.create(operands=[value], result_types=[quantized_type(matrix, x.quantization)]))
    else:
        value = transpose(node, value, order)
    kind = quantized_type(tensor_of(value).shape, out)
    plan = scaled_softmax(kind.data.shape[-1], x.quantization.scale, out.scale, out.zero_point)
    if not plan.factor * max(plan.table) <= float(np.finfo(np.float32).max):
        node.refuse("y_scale", f"with the output scale {out.scale:g} ONNX Runtime's softmax overflows", "give the output the scale 1/256")
    properties: dict[str, Attribute] = {"beta": FloatAttr(1.0, f32)}
    made = node.add(SoftmaxOp.create(operands=[value], properties=properties, result_types=[kind]))
    if flattens:
        return node.add(ReshapeOp.create(operands=[made], result_types=[quantized_type(shape, out)]))
    return transpose(node, made, tuple(order.index(position) for position in range(len(shape))))


def _softmax_axis(node: Node, x: Activation, opset: int) -> tuple[int, bool]:
    """The axis, and whether all axes from there on are one (up to opset 12)."""
    axis = axis_of(node, node.integer("axis", -1 if opset >= 13 else 1), len(x.shape))
    return axis, opset < 13 and axis != len(x.shape) - 1


def _softmax(node: Node) -> State:
    x = node.real(0)
    axis, flattens = _softmax_axis(node, x, node.graph.opset)
    return waiting(node, x.shape, lambda out: _softmax_op(node, x, axis, out, flattens), (x,))


def _qlinear_softmax(node: Node) -> State:
    x, out = node.described(0), node.parameters(3, 4)
    axis, flattens = _softmax_axis(node, x, node.integer("opset", 13))
    return Activation(_softmax_op(node, x, axis, out, flattens), False, out.unsigned)


def _cast(node: Node) -> State:
    state = node.state(0)
    if isinstance(state, Pending) and node.integer("to", 0) == 1:
        # ONNX Runtime takes the node out: what reads its result reads its input.
        return replace(state, shared=state.shared or node.graph.uses[node.info.inputs[0]] > 1)
    x = node.movable(0)
    if node.integer("to", 0) != 1 or not x.real:
        node.refuse("to", "a cast of what is computed at run time is not supported", QUANTIZE_HINT)
    return x


ELEMENTWISE_RULES: Mapping[str, Rule] = {
    "Abs": _unary("abs"),
    "Add": _binary(AddOp),
    "Cast": _cast,
    "Clip": _bound,
    "Elu": _unary("elu"),
    "HardSigmoid": _unary("hard_sigmoid"),
    "HardSwish": _unary("hard_swish"),
    "LeakyRelu": _unary("leaky_relu"),
    "Mul": _binary(MulOp),
    "Relu": _bound,
    "Sigmoid": _unary("logistic"),
    "Softmax": _softmax,
    "Sub": _binary(SubOp),
    "Tanh": _unary("tanh"),
    "com.microsoft.QLinearAdd": _qlinear_binary(AddOp),
    "com.microsoft.QLinearLeakyRelu": _qlinear_unary("leaky_relu"),
    "com.microsoft.QLinearMul": _qlinear_binary(MulOp),
    "com.microsoft.QLinearSigmoid": _qlinear_unary("logistic"),
    "com.microsoft.QLinearSoftmax": _qlinear_softmax,
}
