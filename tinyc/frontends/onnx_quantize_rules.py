"""Import rules of QuantizeLinear and DequantizeLinear, and how a computation that has waited for its scale gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import SSAValue

from tinyc.frontends.onnx_node import (
    SHIFT,
    Activation,
    Array,
    Known,
    KnownQuantized,
    Node,
    Pending,
    Quantization,
    Rule,
    State,
    quantized_type,
)
from tinyc.frontends.onnx_parts import dequantized_by_parts, is_in_parts, quantized_by_parts, scales_of
from tinyc.frontends.onnx_window import FULL_RANGE
from tinyc.ir.nn_base import integers
from tinyc.ir.nn_elementwise import ClampOp, QuantizeOp
from tinyc.ir.nn_unary import UnaryOp


def requantized(node: Node, x: Activation, out: Quantization) -> SSAValue:
    """The tensor with the scale and zero point of `out`."""
    own = x.quantization
    if (own.scale, own.zero_point) == (out.scale, out.zero_point):
        return x.value
    properties = {"function": StringAttr("requantize")}
    return node.add(UnaryOp.create(operands=[x.value], properties=properties, result_types=[quantized_type(x.shape, out)]))


def quantized(node: Node, x: Activation, out: Quantization) -> SSAValue:
    """A float32 tensor as an int8 one."""
    return node.add(QuantizeOp.create(operands=[x.value], result_types=[quantized_type(x.shape, out)]))


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
    if node.integer("output_dtype", 0) not in (0, 2, 3):
        node.refuse("output_dtype", f"type {node.integer('output_dtype', 0)} is not supported", "quantise to int8 or uint8")
    default = {3: False}.get(node.integer("output_dtype", 0), True)
    if isinstance(state, Known):
        return _quantized_constant(node, state, default)
    if is_in_parts(node) and isinstance(state, Activation):
        x = node.movable(0)
        if x.tensor.element == "f32":
            return quantized_by_parts(node, x, default)
    out = node.parameters(1, 2, default)
    if isinstance(state, Pending):
        return Activation(bounded(node, _emitted(node, state, out), state.bounds, out), False, out.unsigned)
    x = node.movable(0)
    if x.tensor.element == "f32":
        return Activation(quantized(node, x, out), False, out.unsigned)
    return Activation(requantized(node, x, out), False, out.unsigned)


_EPSILON = float(np.finfo(np.float32).eps)


def implied(bounds: tuple[float | None, float | None], out: Quantization) -> bool:
    """Whether no value outside `bounds` has a representation in `out`, by the test with which ONNX Runtime removes Clip."""
    lowest, highest = (np.float32(end - out.zero_point) * np.float32(out.scale) for end in FULL_RANGE)
    lower, upper = bounds
    return bool((lower is None or np.float32(lower) - lowest <= _EPSILON) and (upper is None or highest - np.float32(upper) <= _EPSILON))


def _emitted(node: Node, state: Pending, out: Quantization) -> SSAValue:
    """The result of what has waited, computed as ONNX Runtime does.

    What that does in float32, in an order of additions that is unknown, is refused, or computed in integers if the user allows it.
    """
    shared = state.shared or node.graph.uses[node.info.inputs[0]] > 1
    if state.unsigned == out.unsigned and not shared and not state.apart and implied(state.bounds, out):
        return state.emit(out)
    if state.emit_real is not None:
        return state.emit_real(out)
    if shared:
        reason, hint = "several nodes read its float32 result", "quantise it once, and let all read what DequantizeLinear makes of that"
    elif state.apart:
        reason = f"it does not move QuantizeLinear and DequantizeLinear over {state.apart}, which stands beside the layer"
        hint = f"put QuantizeLinear and DequantizeLinear between the layer and {state.apart}"
    elif state.unsigned != out.unsigned:
        reason, hint = "its operands and result are not all int8 or all uint8", "quantise all activations to int8"
    else:
        reason = f"an activation with bounds {_shown(state.bounds)} follows, which its scale and zero point do not imply"
        hint = "quantise so that the range ends at the bounds (after ReLU: zero point -128), as tinyc quantize does"
    state.node.approximate(reason, hint)
    return state.emit(out)


def _shown(bounds: tuple[float | None, float | None]) -> str:
    return " and ".join("none" if bound is None else f"{bound:g}" for bound in bounds)


def _quantized_constant(node: Node, state: Known, default: bool) -> State:
    """Weights that the file quantises itself."""
    if state.array.dtype != np.float32:
        node.refuse("type", f"a constant to quantise must be float32, is {state.array.dtype}")
    found = scales_of(node, state.array.shape, default)
    (scales, zero_points), unsigned = found.spread(state.array.shape), found.unsigned
    scaled = np.clip(state.array / scales, np.float32(-1024), np.float32(1024))
    values = np.clip(np.rint(scaled) + zero_points, -128, 127).reshape(state.array.shape)
    return Known((values + SHIFT).astype(np.uint8) if unsigned else values.astype(np.int8))


def _dequantize_linear(node: Node) -> State:
    state = node.state(0)
    if isinstance(state, Known):
        return _dequantized_constant(node, state)
    x = node.quantized(0)
    if x.real:
        node.refuse("inputs", "the input is float32")
    if is_in_parts(node):
        return dequantized_by_parts(node, x)
    parameters = node.parameters(1, 2, x.unsigned)
    return replace(node.reinterpreted(x, parameters), real=True)


def _dequantized_constant(node: Node, state: Known) -> State:
    values: Array = state.array
    if values.dtype not in (np.int8, np.uint8, np.int32):
        node.refuse("type", f"quantised {values.dtype} is not supported", "quantise to int8")
    unsigned = bool(values.dtype == np.uint8)
    if unsigned:
        values = (values.astype(np.int16) - SHIFT).astype(np.int8)
    found = scales_of(node, values.shape, unsigned)
    scales, zero_points = found.spread(values.shape)
    if found.block:
        # Nothing multiplies by such weights; as numbers they are known all the same.
        return Known((values.astype(np.int64) - zero_points).astype(np.float32) * scales)
    return KnownQuantized(values, scales.reshape(-1), zero_points.reshape(-1), found.axis, unsigned)


QUANTIZE_RULES: Mapping[str, Rule] = {
    "DequantizeLinear": _dequantize_linear,
    "QuantizeLinear": _quantize_linear,
    "com.microsoft.DequantizeLinear": _dequantize_linear,
    "com.microsoft.QuantizeLinear": _quantize_linear,
}
