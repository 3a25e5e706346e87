"""Import rules of what slides a window over an image or multiplies by a matrix: Conv, Gemm, MatMul, pools, and their QOperator forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import BoolAttr, UnitAttr
from xdsl.ir import Attribute, Operation, SSAValue

from tinyc.frontends.onnx_layout import channels_first, channels_last
from tinyc.frontends.onnx_node import (
    QUANTIZE_HINT,
    Activation,
    Known,
    KnownQuantized,
    Node,
    Pending,
    Quantization,
    Rule,
    State,
    as_int8,
    quantized_type,
)
from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import integers, tensor_of
from tinyc.ir.nn_movement import ConcatOp, SliceOp, integer
from tinyc.ir.nn_shape import FullyConnectedOp, MeanOp, PadOp, ReshapeOp
from tinyc.ir.nn_window import AveragePool2DOp, Conv2DOp, DepthwiseConv2DOp, MaxPool2DOp, window_properties

FULL_RANGE = (-128, 127)

_Emit = Callable[[Quantization], SSAValue]
_BIAS_TOLERANCE = 1e-3
"""Relative difference of a bias's scale to input scale * weight scale that float32 arithmetic in an exporter explains."""


@dataclass(frozen=True)
class Window:
    """A window over height and width: kernel, stride, dilation, and padding at top, left, bottom, right."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int, int, int]


def _pair(node: Node, name: str, rank: int) -> tuple[int, int]:
    values = node.attribute(name, list, [1] * rank)
    if len(values) != rank or min(values) < 1:
        node.refuse(name, f"expected {rank} positive integers, found {values}")
    return (1, values[0]) if rank == 1 else (values[0], values[1])


def window(node: Node, size: tuple[int, int], kernel: tuple[int, int], rank: int) -> Window:
    """The window of a node over an image of `size`; `rank` is 1 for signals, whose height is 1."""
    stride, dilation = _pair(node, "strides", rank), _pair(node, "dilations", rank)
    reach = [(kernel[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
    automatic = node.attribute("auto_pad", str, "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        total = [max(0, (-(-size[axis] // stride[axis]) - 1) * stride[axis] + reach[axis] - size[axis]) for axis in (0, 1)]
        less, more = [amount // 2 for amount in total], [amount - amount // 2 for amount in total]
        before, after = (less, more) if automatic == "SAME_UPPER" else (more, less)
    elif automatic == "VALID":
        before, after = [0, 0], [0, 0]
    elif automatic == "NOTSET":
        pads = node.attribute("pads", list, [0] * 2 * rank)
        if len(pads) != 2 * rank or min(pads) < 0:
            node.refuse("pads", f"expected {2 * rank} integers, none negative, found {pads}")
        before, after = ([0, pads[0]], [0, pads[1]]) if rank == 1 else (pads[:2], pads[2:])
    else:
        node.refuse("auto_pad", f"{automatic} is unknown")
    if node.integer("ceil_mode", 0):
        for axis in (0, 1):
            span = size[axis] + before[axis] + after[axis] - reach[axis]
            outputs = -(-span // stride[axis]) + 1
            if (outputs - 1) * stride[axis] >= size[axis] + before[axis]:
                outputs -= 1
            after[axis] = max(after[axis], (outputs - 1) * stride[axis] + reach[axis] - size[axis] - before[axis])
    return Window(kernel, stride, dilation, (before[0], before[1], after[0], after[1]))


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
    if values.size != channels:
        node.refuse("bias", f"{values.size} values for {channels} output channels")
    return [node.constant_op(values.reshape(-1))]


def _check_weights(node: Node, weights: KnownQuantized, channel_axis: int) -> None:
    channels = weights.array.shape[channel_axis]
    if weights.array.dtype != np.int8:
        node.refuse("weights", "weights must be int8 or uint8", "quantise the weights to int8")
    if np.any(weights.zero_points != 0):
        shift = 128 if weights.unsigned else 0
        found = sorted({int(zero_point) + shift for zero_point in weights.zero_points})[:4]
        kind = "uint8" if weights.unsigned else "int8"
        node.refuse(
            "weights",
            f"the zero point of {kind} weights must be {shift}, is {', '.join(map(str, found))}",
            "quantise weights symmetrically",
        )
    if not (weights.scales > 0).all():
        node.refuse("weights", "a weight scale is not positive")
    if weights.scales.size not in (1, channels):
        node.refuse("weights", f"{weights.scales.size} weight scales for {channels} output channels")
    if weights.scales.size > 1 and weights.axis != channel_axis:
        node.refuse("weights", f"scales run along dimension {weights.axis}, expected {channel_axis}")


def _result(quantization: Quantization, shape: tuple[int, ...]) -> list[Attribute]:
    return [quantized_type(shape, quantization)]


def _convolution(node: Node, x: Activation, weights: KnownQuantized, bias: int) -> tuple[tuple[int, ...], _Emit]:
    """Result shape, and what makes the ops for an output quantisation."""
    _check_weights(node, weights, 0)
    shape, data, rank = x.shape, weights.array, len(x.shape) - 2
    if rank not in (1, 2) or data.ndim != rank + 2 or shape[0] != 1:
        node.refuse("shape", f"expects an image [1, C, H, W] or a signal [1, C, L], got {list(shape)} and weights {list(data.shape)}")
    if rank == 1:
        data = data[:, :, np.newaxis]
    groups, channels = node.integer("group", 1), data.shape[0]
    if groups < 1 or data.shape[1] * groups != shape[1] or channels % groups:
        node.refuse("group", f"{groups} groups and weights {list(weights.array.shape)} do not fit an input with {shape[1]} channels")
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
            value = node.add(ReshapeOp.create(operands=[value], result_types=_result(x.quantization, (1, shape[1], 1, shape[2]))))
        value = channels_last(node, value)
        biases = _bias(node, bias, x.quantization.scale, weights.scales, channels)
        made = {**properties, "weight_scales": DenseAttr.of(weights.scales)}
        if data.shape[1] == 1 and groups > 1:
            constant = node.constant_op(data.transpose(1, 2, 3, 0))
            op: Operation = DepthwiseConv2DOp.create(operands=[value, constant, *biases], properties=made, result_types=_result(out, image))
            result = node.add(op)
        elif groups == 1:
            constant = node.constant_op(data.transpose(0, 2, 3, 1))
            result = node.add(Conv2DOp.create(operands=[value, constant, *biases], properties=made, result_types=_result(out, image)))
        else:
            result = _grouped(node, value, data.transpose(0, 2, 3, 1), bias, x, weights, made, groups, out, image)
        result = channels_first(node, result)
        if rank == 1:
            result = node.add(ReshapeOp.create(operands=[result], result_types=_result(out, (1, channels, places[1]))))
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
        piece = node.add(SliceOp.create(operands=[value], properties=columns, result_types=_result(x.quantization, part)))
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
            node.add(Conv2DOp.create(operands=[piece, *constants], properties=made, result_types=_result(out, (*image[:3], outputs))))
        )
    return node.add(ConcatOp.create(operands=results, properties={"axis": integer(3)}, result_types=_result(out, image)))


def _matrix(
    node: Node, x: Activation, weights: KnownQuantized, transposed: bool, bias: int, batches: tuple[int, ...]
) -> tuple[tuple[int, ...], _Emit]:
    """x (..., K) times weights (K, N), or (N, K) where `transposed`."""
    if weights.array.ndim != 2:
        node.refuse("weights", f"weights must have two dimensions, have {list(weights.array.shape)}")
    _check_weights(node, weights, 0 if transposed else 1)
    data = weights.array if transposed else weights.array.T
    if x.shape[-1] != data.shape[1]:
        node.refuse("shape", f"an input {list(x.shape)} does not fit weights {list(weights.array.shape)}")
    shape = (*batches, data.shape[0])

    def emit(out: Quantization) -> SSAValue:
        operands = [x.value, node.constant_op(data), *_bias(node, bias, x.quantization.scale, weights.scales, data.shape[0])]
        properties = {"clamp": integers(FULL_RANGE), "weight_scales": DenseAttr.of(weights.scales)}
        return node.add(FullyConnectedOp.create(operands=operands, properties=properties, result_types=_result(out, shape)))

    return shape, emit


def _real_weights(node: Node, position: int) -> KnownQuantized:
    state = node.state(position)
    if isinstance(state, KnownQuantized):
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
    return Pending(node, *_convolution(node, node.quantized(0), _real_weights(node, 1), 2))


def _qlinear_conv(node: Node) -> State:
    out = node.parameters(6, 7)
    _, emit = _convolution(node, node.described(0), _raw_weights(node, 3, 0), 8)
    return Activation(emit(out), False, out.unsigned)


def _gemm(node: Node) -> State:
    if node.attribute("alpha", float, 1.0) != 1.0 or (node.has(2) and node.attribute("beta", float, 1.0) != 1.0):
        node.refuse("alpha", "only alpha = beta = 1 is supported")
    x = node.quantized(0)
    if node.integer("transA", 0) or len(x.shape) != 2:
        node.refuse("transA", f"expects an input [rows, columns], not transposed, got {list(x.shape)}")
    return Pending(node, *_matrix(node, x, _real_weights(node, 1), bool(node.integer("transB", 0)), 2, x.shape[:-1]))


def _qgemm(node: Node) -> State:
    if node.attribute("alpha", float, 1.0) != 1.0 or node.integer("transA", 0):
        node.refuse("alpha", "only alpha = 1 and transA = 0 are supported")
    if not node.has(7):
        node.refuse("y_scale", "the output is float32", "give QGemm an output scale and zero point")
    transposed, x, out = bool(node.integer("transB", 0)), node.described(0), node.parameters(7, 8)
    _, emit = _matrix(node, x, _raw_weights(node, 3, 0 if transposed else 1), transposed, 6, x.shape[:-1])
    return Activation(emit(out), False, out.unsigned)


def _matmul(node: Node) -> State:
    x = node.quantized(0)
    return Pending(node, *_matrix(node, x, _real_weights(node, 1), False, 99, x.shape[:-1]))


def _qlinear_matmul(node: Node) -> State:
    x, out = node.described(0), node.parameters(6, 7)
    _, emit = _matrix(node, x, _raw_weights(node, 3, 1), False, 99, x.shape[:-1])
    return Activation(emit(out), False, out.unsigned)


def _image(node: Node, x: Activation) -> tuple[int, ...]:
    if len(x.shape) != 4 or x.shape[0] != 1:
        node.refuse("shape", f"expects an image of shape [1, C, H, W], got {list(x.shape)}")
    return x.shape


def _pool_window(node: Node, x: Activation) -> tuple[Window, tuple[int, int]]:
    shape, kernel = _image(node, x), node.attribute("kernel_shape", list, [])
    if len(kernel) != 2 or min(kernel) < 1:
        node.refuse("kernel_shape", f"expected two positive integers, found {kernel}")
    cut = window(node, (shape[2], shape[3]), (kernel[0], kernel[1]), 2)
    if cut.dilation != (1, 1):
        node.refuse("dilations", "dilated pools are not supported")
    places = [(shape[axis + 2] + cut.pads[axis] + cut.pads[axis + 2] - kernel[axis]) // cut.stride[axis] + 1 for axis in (0, 1)]
    if min(places) < 1:
        node.refuse("kernel_shape", f"a window of {kernel[0]}x{kernel[1]} does not fit {list(shape)}")
    return cut, (places[0], places[1])


def _max_pool(node: Node) -> State:
    x = node.quantized(0)
    if len([name for name in node.info.outputs if name]) > 1:
        node.refuse("outputs", "the indices of maxima are not supported")
    cut, places = _pool_window(node, x)
    properties = {**window_properties(cut.stride, cut.pads, FULL_RANGE), "kernel": integers(cut.kernel)}
    result = MaxPool2DOp.create(
        operands=[channels_last(node, x.value)], properties=properties, result_types=_result(x.quantization, (1, *places, x.shape[1]))
    )
    return Activation(channels_first(node, node.add(result)), x.real, x.unsigned)


def _averages(node: Node, x: Activation, is_last: bool) -> tuple[tuple[int, ...], _Emit]:
    if is_last:
        node.refuse("channels_last", "QLinearAveragePool in channels-last order is not supported", "export before ONNX Runtime optimises")
    cut, places = _pool_window(node, x)
    if cut.kernel == x.shape[2:] and not any(cut.pads):
        # ONNX Runtime computes these as global averages, which are rounded in another way.
        return _global_average(node, x, False)
    counts_pads = bool(node.integer("count_include_pad", 0)) and any(cut.pads)
    if counts_pads and node.integer("ceil_mode", 0):
        node.refuse("ceil_mode", "ceil_mode together with count_include_pad is not supported")

    def emit(out: Quantization) -> SSAValue:
        value, pads = channels_last(node, x.value), cut.pads
        if counts_pads:
            # Padding that counts is data: zeros, which the zero point stands for.
            before, after = (0, pads[0], pads[1], 0), (0, pads[2], pads[3], 0)
            shape = [size + a + b for size, a, b in zip(tensor_of(value).shape, before, after, strict=True)]
            padding = {"before": integers(before), "after": integers(after)}
            value = node.add(PadOp.create(operands=[value], properties=padding, result_types=_result(x.quantization, tuple(shape))))
            pads = (0, 0, 0, 0)
        properties = {**window_properties(cut.stride, pads, FULL_RANGE), "kernel": integers(cut.kernel), **unsigned_property(out)}
        kind = _result(out, (1, *places, x.shape[1]))
        return channels_first(node, node.add(AveragePool2DOp.create(operands=[value], properties=properties, result_types=kind)))

    return (1, x.shape[1], *places), emit


def unsigned_property(out: Quantization) -> dict[str, Attribute]:
    """The property `unsigned` of an op whose tensors are uint8 in the file."""
    return {"unsigned": UnitAttr()} if out.unsigned else {}


def _average_pool(node: Node) -> State:
    return Pending(node, *_averages(node, node.quantized(0), False))


def _qlinear_average_pool(node: Node) -> State:
    out = node.parameters(3, 4)
    _, emit = _averages(node, node.described(0), bool(node.integer("channels_last", 0)))
    return Activation(emit(out), False, out.unsigned)


def _global_average(node: Node, x: Activation, is_last: bool) -> tuple[tuple[int, ...], _Emit]:
    shape = _image(node, x)
    result = (1, 1, 1, shape[3]) if is_last else (1, shape[1], 1, 1)

    def emit(out: Quantization) -> SSAValue:
        value = x.value if is_last else channels_last(node, x.value)
        properties = {"axes": integers((1, 2)), "keep_dims": BoolAttr.from_bool(True)}
        kind = _result(out, (1, 1, 1, tensor_of(value).shape[3]))
        made = node.add(MeanOp.create(operands=[value], properties=properties, result_types=kind))
        return made if is_last else channels_first(node, made)

    return result, emit


def _global_average_pool(node: Node) -> State:
    return Pending(node, *_global_average(node, node.quantized(0), False))


def _qlinear_global_average_pool(node: Node) -> State:
    out = node.parameters(3, 4)
    _, emit = _global_average(node, node.described(0), bool(node.integer("channels_last", 0)))
    return Activation(emit(out), False, out.unsigned)


def _reduce_mean(node: Node) -> State:
    x = node.quantized(0)
    rank = len(x.shape)
    listed = node.integers(1, "axes") if node.has(1) else node.attribute("axes", list, list(range(rank)))
    axes = sorted({axis + rank if axis < 0 else axis for axis in listed})
    if not axes or axes[0] < 0 or axes[-1] >= rank:
        node.refuse("axes", f"axes {listed} are not axes of a tensor with {rank} dimensions")
    keep = bool(node.integer("keepdims", 1))
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    shape = kept if keep else tuple(size for axis, size in enumerate(x.shape) if axis not in axes)

    def emit(out: Quantization) -> SSAValue:
        is_image = rank == 4 and x.shape[0] == 1 and axes == [2, 3]
        value = channels_last(node, x.value) if is_image else x.value
        properties = {"axes": integers((1, 2) if is_image else axes), "keep_dims": BoolAttr.from_bool(True)}
        kind = _result(out, (1, 1, 1, x.shape[1]) if is_image else kept)
        made = node.add(MeanOp.create(operands=[value], properties=properties, result_types=kind))
        made = channels_first(node, made) if is_image else made
        return made if keep else node.add(ReshapeOp.create(operands=[made], result_types=_result(out, shape)))

    return Pending(node, shape, emit)


WINDOW_RULES: Mapping[str, Rule] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "ReduceMean": _reduce_mean,
    "com.microsoft.QGemm": _qgemm,
    "com.microsoft.QLinearAveragePool": _qlinear_average_pool,
    "com.microsoft.QLinearGlobalAveragePool": _qlinear_global_average_pool,
}
