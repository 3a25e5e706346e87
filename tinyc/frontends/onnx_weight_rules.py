"""Import rules of what multiplies by constant weights: Conv, Gemm, MatMul, and their QOperator forms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from xdsl.ir import Attribute, Operation, SSAValue

from tinyc.frontends.onnx_layout import channels_first, channels_last
from tinyc.frontends.onnx_node import (
    QUANTIZE_HINT,
    Activation,
    Known,
    KnownQuantized,
    Node,
    Quantization,
    Rule,
    State,
    as_int8,
    waiting,
)
from tinyc.frontends.onnx_window import FULL_RANGE, Emit, result_types, window
from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import integers, tensor_of
from tinyc.ir.nn_elementwise import broadcast_shapes
from tinyc.ir.nn_movement import ConcatOp, SliceOp, integer
from tinyc.ir.nn_shape import FullyConnectedOp, ReshapeOp
from tinyc.ir.nn_window import Conv2DOp, DepthwiseConv2DOp, window_properties
from tinyc.ir.tensor_type import TensorType

_BIAS_TOLERANCE = 1e-3
"""Relative difference of a bias's scale to input scale * weight scale that float32 arithmetic in an exporter explains."""
_NO_BIAS = 99
"""The number of an input that no node has."""
_MAX_MATRICES = 64
"""Batched weights become one product for each matrix."""


def _bias(node: Node, position: int, input_scale: float, weight_scales: npt.NDArray[np.float32], channels: int) -> list[SSAValue]:
    """The bias as an int32 constant with the scale input scale * weight scale, if there is one."""
    if not node.has(position):
        return []
    state, scales = node.state(position), np.float32(input_scale) * weight_scales
    if isinstance(state, KnownQuantized):
        if state.array.dtype != np.int32 or np.any(state.zero_points != 0):
            node.refuse("bias", "a quantised bias must be int32 with zero point 0")
        if not np.allclose(state.scales, scales, rtol=_BIAS_TOLERANCE, atol=0):
            node.refuse(
                "bias", "the scale of the bias must be input scale * weight scale", "quantise the bias as ONNX Runtime's quantizer does"
            )
        values = state.array
    elif isinstance(state, Known) and state.array.dtype == np.int32:
        values = state.array
    elif isinstance(state, Known) and state.array.dtype == np.float32:
        with np.errstate(divide="ignore", invalid="ignore"):
            exact = state.array / scales
        if not np.isfinite(exact).all() or np.abs(exact).max(initial=0) >= 2**31:
            node.refuse("bias", "the bias does not fit int32 with the scale input scale * weight scale", QUANTIZE_HINT)
        values = np.rint(exact).astype(np.int32)
    else:
        node.refuse("bias", "the bias must be constant int32, or float32", QUANTIZE_HINT)
    if values.size == 1:
        values = np.broadcast_to(values.reshape(-1), (channels,))
    if values.size != channels:
        node.refuse("bias", f"{values.size} values for {channels} output channels")
    return [node.constant_op(values.reshape(-1))]


def _signed_parts(node: Node, weights: KnownQuantized, channel_axis: int) -> list[npt.NDArray[np.int8]]:
    """The weights less their zero points as a sum of int8 arrays: one, where all differences fit int8. Refuses what are no weights."""
    channels = weights.array.shape[channel_axis]
    if weights.array.dtype != np.int8:
        node.refuse("weights", "weights must be int8 or uint8", "quantise the weights to int8")
    if not (weights.scales > 0).all():
        node.refuse("weights", "a weight scale is not positive")
    if weights.scales.size not in (1, channels):
        node.refuse("weights", f"{weights.scales.size} weight scales for {channels} output channels")
    if weights.scales.size > 1 and weights.axis != channel_axis:
        node.refuse("weights", f"scales run along dimension {weights.axis}, expected {channel_axis}")
    shape = [1] * weights.array.ndim
    shape[channel_axis] = weights.zero_points.size
    rest = weights.array.astype(np.int16) - weights.zero_points.reshape(shape).astype(np.int16)
    parts: list[npt.NDArray[np.int8]] = []
    while not parts or rest.any():
        parts.append(np.clip(rest, -128, 127).astype(np.int8))
        rest = rest - parts[-1]
    return parts


def _beside(node: Node, value: SSAValue, copies: int) -> SSAValue:
    """`copies` of a tensor side by side along the last axis: what weights that are a sum of several arrays are multiplied by."""
    if copies == 1:
        return value
    tensor = tensor_of(value)
    axis = len(tensor.shape) - 1
    kind = TensorType(replace(tensor, shape=(*tensor.shape[:-1], tensor.shape[-1] * copies)))
    return node.add(ConcatOp.create(operands=[value] * copies, properties={"axis": integer(axis)}, result_types=[kind]))


def _convolution(node: Node, x: Activation, weights: KnownQuantized, bias: int) -> tuple[tuple[int, ...], Emit]:
    """Result shape, and what makes the ops for an output quantisation."""
    parts = _signed_parts(node, weights, 0)
    shape, data, rank = x.shape, parts[0], len(x.shape) - 2
    if rank not in (1, 2) or data.ndim != rank + 2 or shape[0] != 1:
        node.refuse("shape", f"expects an image [1, C, H, W] or a signal [1, C, L], got {list(shape)} and weights {list(data.shape)}")
    if rank == 1:
        parts = [part[:, :, np.newaxis] for part in parts]
        data = parts[0]
    groups, channels = node.integer("group", 1), data.shape[0]
    if groups < 1 or data.shape[1] * groups != shape[1] or channels % groups:
        node.refuse("group", f"{groups} groups and weights {list(weights.array.shape)} do not fit an input with {shape[1]} channels")
    if groups > 1 and len(parts) > 1:
        node.refuse("weights", "weights in groups must fit int8 without their zero point", "quantise weights symmetrically, as int8")
    kernel = (data.shape[2], data.shape[3])
    declared = node.attribute("kernel_shape", list, None)
    if declared is not None and tuple(declared) != weights.array.shape[2:]:
        node.refuse("kernel_shape", f"{declared}, but the weights have {list(weights.array.shape[2:])}")
    size = (1, shape[2]) if rank == 1 else (shape[2], shape[3])
    cut = window(node, size, kernel, rank)
    properties: dict[str, Attribute] = {**window_properties(cut.stride, cut.pads, FULL_RANGE), "dilations": integers(cut.dilation)}
    reach = [(kernel[axis] - 1) * cut.dilation[axis] + 1 for axis in (0, 1)]
    places = [(size[axis] + cut.pads[axis] + cut.pads[axis + 2] - reach[axis]) // cut.stride[axis] + 1 for axis in (0, 1)]
    if min(places) < 1:
        node.refuse("kernel_shape", f"a window of {kernel[0]}x{kernel[1]} does not fit an image of {size[0]}x{size[1]}")
    image = (1, places[0], places[1], channels)

    def emit(out: Quantization) -> SSAValue:
        value = x.value
        if rank == 1:
            value = node.add(ReshapeOp.create(operands=[value], result_types=result_types(x.quantization, (1, shape[1], 1, shape[2]))))
        value = channels_last(node, value)
        biases = _bias(node, bias, x.quantization.scale, weights.scales, channels)
        made = {**properties, "weight_scales": DenseAttr.of(weights.scales)}
        if data.shape[1] == 1 and groups > 1:
            constant = node.constant_op(data.transpose(1, 2, 3, 0))
            op: Operation = DepthwiseConv2DOp.create(
                operands=[value, constant, *biases], properties=made, result_types=result_types(out, image)
            )
            result = node.add(op)
        elif groups == 1:
            constant = node.constant_op(np.concatenate(parts, axis=1).transpose(0, 2, 3, 1))
            value = _beside(node, value, len(parts))
            result = node.add(Conv2DOp.create(operands=[value, constant, *biases], properties=made, result_types=result_types(out, image)))
        else:
            result = _grouped(node, value, data.transpose(0, 2, 3, 1), bias, x, weights, made, groups, out, image)
        result = channels_first(node, result)
        if rank == 1:
            result = node.add(ReshapeOp.create(operands=[result], result_types=result_types(out, (1, channels, places[1]))))
        return result

    return ((1, channels, places[1]) if rank == 1 else (1, channels, *places)), emit


def _grouped(
    node: Node,
    value: SSAValue,
    data: npt.NDArray[np.int8],
    bias: int,
    x: Activation,
    weights: KnownQuantized,
    properties: Mapping[str, Attribute],
    groups: int,
    out: Quantization,
    image: tuple[int, ...],
) -> SSAValue:
    """Slices, a convolution of each, a concatenation; all channels last."""
    tensor, outputs, width = tensor_of(value), data.shape[0] // groups, data.shape[3]
    results = []
    whole = _bias(node, bias, x.quantization.scale, weights.scales, data.shape[0])
    for group in range(groups):
        own = slice(group * outputs, (group + 1) * outputs)
        part = (*tensor.shape[:3], width)
        columns = {"begin": integers((0, 0, 0, group * width)), "size": integers(part), "step": integers((1, 1, 1, 1))}
        piece = node.add(SliceOp.create(operands=[value], properties=columns, result_types=result_types(x.quantization, part)))
        constants = [node.constant_op(data[own])]
        for constant in whole:
            owner = constant.owner
            assert isinstance(owner, Operation)
            values = owner.properties["value"]
            assert isinstance(values, DenseAttr)
            constants.append(node.constant_op(values.array[own]))
        scales = weights.scales[own] if weights.scales.size > 1 else weights.scales
        made = {**properties, "weight_scales": DenseAttr.of(scales)}
        results.append(
            node.add(Conv2DOp.create(operands=[piece, *constants], properties=made, result_types=result_types(out, (*image[:3], outputs))))
        )
    return node.add(ConcatOp.create(operands=results, properties={"axis": integer(3)}, result_types=result_types(out, image)))


def _matrix(node: Node, x: Activation, weights: KnownQuantized, transposed: bool, bias: int) -> tuple[tuple[int, ...], Emit]:
    """x (..., K) times weights (K, N), or (N, K) where `transposed`."""
    if weights.array.ndim != 2:
        node.refuse("weights", f"weights must have two dimensions, have {list(weights.array.shape)}")
    parts = [part if transposed else part.T for part in _signed_parts(node, weights, 0 if transposed else 1)]
    channels, depth = parts[0].shape
    if not x.shape or x.shape[-1] != depth:
        node.refuse("shape", f"an input {list(x.shape)} does not fit weights {list(weights.array.shape)}")

    def emit(out: Quantization) -> SSAValue:
        biases = _bias(node, bias, x.quantization.scale, weights.scales, channels)
        return _product(node, x.value, parts, weights.scales, biases, out)

    return (*x.shape[:-1], channels), emit


def _product(
    node: Node,
    value: SSAValue,
    parts: list[npt.NDArray[np.int8]],
    scales: npt.NDArray[np.float32],
    biases: list[SSAValue],
    out: Quantization,
) -> SSAValue:
    """`value` (..., K) times the sum of `parts` (N, K)."""
    shape = (*tensor_of(value).shape[:-1], parts[0].shape[0])
    operands = [_beside(node, value, len(parts)), node.constant_op(np.concatenate(parts, axis=1)), *biases]
    properties = {"clamp": integers(FULL_RANGE), "weight_scales": DenseAttr.of(scales)}
    return node.add(FullyConnectedOp.create(operands=operands, properties=properties, result_types=result_types(out, shape)))


def _matrices(node: Node, x: Activation, weights: KnownQuantized) -> tuple[tuple[int, ...], Emit]:
    """numpy's matmul of x and constant weights: of two dimensions, of one, or a matrix for each position of the leading dimensions."""
    data = weights.array
    if data.ndim == 2 and len(x.shape) > 1:
        return _matrix(node, x, weights, False, _NO_BIAS)
    if weights.scales.size != 1 or not data.ndim or not x.shape:
        node.refuse("weights", f"weights {list(data.shape)} with {weights.scales.size} scales are not supported", "use one scale")
    left = (1, *x.shape) if len(x.shape) == 1 else x.shape
    right = data[:, np.newaxis] if data.ndim == 1 else data
    batches = broadcast_shapes(left[:-2], right.shape[:-2])
    if left[-1] != right.shape[-2] or batches is None:
        node.refuse("shape", f"an input {list(x.shape)} does not fit weights {list(data.shape)}")
    count, (rows, depth), columns = math.prod(batches), left[-2:], right.shape[-1]
    if count > _MAX_MATRICES:
        node.refuse("weights", f"{count} matrices of weights, at most {_MAX_MATRICES} are supported")
    parts = _signed_parts(node, replace(weights, array=right), right.ndim - 1)
    own = np.broadcast_to(np.arange(math.prod(left[:-2])).reshape(left[:-2]), batches).reshape(-1)
    shape = (*batches, *([rows] if len(x.shape) > 1 else []), *([columns] if data.ndim > 1 else []))

    def emit(out: Quantization) -> SSAValue:
        def reshaped(value: SSAValue, kind: Quantization, wanted: tuple[int, ...]) -> SSAValue:
            return node.add(ReshapeOp.create(operands=[value], result_types=result_types(kind, wanted)))

        flat = reshaped(x.value, x.quantization, (math.prod(left[:-1]), depth))
        products = []
        for position, index in zip(np.ndindex(*batches), own, strict=True):
            begin = {"begin": integers((int(index) * rows, 0)), "size": integers((rows, depth)), "step": integers((1, 1))}
            piece = flat
            if len(own) > 1:
                kind = result_types(x.quantization, (rows, depth))
                piece = node.add(SliceOp.create(operands=[flat], properties=begin, result_types=kind))
            matrices = [np.broadcast_to(part, (*batches, depth, columns))[position].T for part in parts]
            products.append(_product(node, piece, matrices, weights.scales, [], out))
        kind = result_types(out, (count * rows, columns))
        joined = node.add(ConcatOp.create(operands=products, properties={"axis": integer(0)}, result_types=kind))
        return reshaped(joined, out, shape)

    return shape, emit


def _real_weights(node: Node, position: int, x: Activation) -> KnownQuantized:
    state = node.state(position)
    if isinstance(state, KnownQuantized):
        if state.unsigned and not x.unsigned:
            node.approximate("it has uint8 weights of int8 activations", "quantise the weights to int8")
        return state
    if isinstance(state, Known):
        node.refuse("weights", f"the weights are {state.array.dtype}, not quantised", QUANTIZE_HINT)
    node.refuse("weights", "the weights must be constant", "products of two tensors that are computed at run time are not supported")


def _raw_weights(node: Node, position: int, axis: int) -> KnownQuantized:
    """Weights of a QOperator node, whose scale and zero point are the two inputs behind them."""
    data, unsigned = as_int8(node, node.constant(position, "weights"))
    scales, zero_points, _ = node.channel_parameters(position + 1, position + 2, unsigned)
    return KnownQuantized(data, scales, zero_points, axis, unsigned)


def _conv(node: Node) -> State:
    x = node.real(0)
    if x.apart == "Pad" and _takes_pad(node):
        x = replace(x, apart="")
    return waiting(node, *_convolution(node, x, _real_weights(node, 1, x), 2), (x,))


def _takes_pad(node: Node) -> bool:
    """Whether ONNX Runtime makes the Pad in front of a convolution part of it: zeros around an image that nothing else reads."""
    name = node.info.inputs[0]
    pad = next(other for other in node.graph.nodes if name in other.outputs)
    if pad.op != "Pad" or node.graph.uses[name] > 1 or node.attribute("auto_pad", str, "NOTSET") != "NOTSET":
        return False
    counts, value = node.graph.constants.get(pad.inputs[1]), node.graph.constants.get(pad.inputs[2]) if len(pad.inputs) > 2 else None
    is_zero = len(pad.inputs) < 3 or not pad.inputs[2] or (value is not None and not value.any())
    spatial = counts is not None and len(pad.inputs) < 4 and not counts.reshape(2, -1)[:, :2].any()
    return is_zero and spatial and pad.attributes.get("mode", "constant") == "constant"


def _qlinear_conv(node: Node) -> State:
    out = node.parameters(6, 7)
    _, emit = _convolution(node, node.described(0), _raw_weights(node, 3, 0), 8)
    return Activation(emit(out), False, out.unsigned)


def _gemm(node: Node) -> State:
    if node.attribute("alpha", float, 1.0) != 1.0 or (node.has(2) and node.attribute("beta", float, 1.0) != 1.0):
        node.refuse("alpha", "only alpha = beta = 1 is supported")
    x = node.real(0)
    if node.integer("transA", 0) or len(x.shape) != 2:
        node.refuse("transA", f"expects an input [rows, columns], not transposed, got {list(x.shape)}")
    return waiting(node, *_matrix(node, x, _real_weights(node, 1, x), bool(node.integer("transB", 0)), 2), (x,))


def _qgemm(node: Node) -> State:
    if node.attribute("alpha", float, 1.0) != 1.0 or node.integer("transA", 0):
        node.refuse("alpha", "only alpha = 1 and transA = 0 are supported")
    if not node.has(7):
        node.refuse("y_scale", "the output is float32", "give QGemm an output scale and zero point")
    transposed, x, out = bool(node.integer("transB", 0)), node.described(0), node.parameters(7, 8)
    _, emit = _matrix(node, x, _raw_weights(node, 3, 0 if transposed else 1), transposed, 6)
    return Activation(emit(out), False, out.unsigned)


def _matmul(node: Node) -> State:
    x = node.real(0)
    return waiting(node, *_matrices(node, x, _real_weights(node, 1, x)), (x,))


def _qlinear_matmul(node: Node) -> State:
    x, out = node.described(0), node.parameters(6, 7)
    _, emit = _matrices(node, x, _raw_weights(node, 3, 1))
    return Activation(emit(out), False, out.unsigned)


WEIGHT_RULES: Mapping[str, Rule] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "com.microsoft.QGemm": _qgemm,
}
