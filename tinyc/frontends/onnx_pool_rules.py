"""Import rules of pools and means, and of the QOperator forms of pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import BoolAttr
from xdsl.ir import SSAValue

from tinyc.frontends.onnx_layout import channels_first, channels_last
from tinyc.frontends.onnx_node import Activation, Node, Quantization, Rule, State, axis_of, quantized_type, waiting
from tinyc.frontends.onnx_window import FULL_RANGE, Emit, Window, result_types, unsigned_property, window
from tinyc.ir.nn_base import integers, tensor_of
from tinyc.ir.nn_shape import MeanOp, PadOp, ReshapeOp
from tinyc.ir.nn_window import AveragePool2DOp, MaxPool2DOp, window_properties
from tinyc.ir.tensor_type import TensorType


def _require_image(node: Node, x: Activation) -> None:
    if len(x.shape) != 4 or x.shape[0] != 1:
        node.refuse("shape", f"expects an image of shape [1, C, H, W], got {list(x.shape)}")


def _reshaped(node: Node, value: SSAValue, shape: tuple[int, ...]) -> SSAValue:
    tensor = tensor_of(value)
    if tensor.shape == shape:
        return value
    return node.add(ReshapeOp.create(operands=[value], result_types=[TensorType(replace(tensor, shape=shape))]))


@dataclass(frozen=True)
class _Pool:
    """A pool over an image, or over a signal as an image of one row: size, window, and places that it stops at."""

    rank: int
    channels: int
    size: tuple[int, int]
    cut: Window
    places: tuple[int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result in the file."""
        return (1, self.channels, *self.places[2 - self.rank :])

    def image(self, node: Node, x: Activation) -> SSAValue:
        """The input, channels last."""
        return channels_last(node, _reshaped(node, x.value, (1, self.channels, *self.size)))

    def result(self, node: Node, value: SSAValue) -> SSAValue:
        """The result as the file has it."""
        return _reshaped(node, channels_first(node, value), self.shape)


def _pool(node: Node, x: Activation) -> _Pool:
    rank = len(x.shape) - 2
    if rank not in (1, 2) or x.shape[0] != 1:
        node.refuse("shape", f"expects an image [1, C, H, W] or a signal [1, C, L], got {list(x.shape)}")
    listed = node.attribute("kernel_shape", list, [])
    if len(listed) != rank or min(listed) < 1:
        node.refuse("kernel_shape", f"expected {rank} positive integers, found {listed}")
    kernel, size = ((1, listed[0]), (1, x.shape[2])) if rank == 1 else ((listed[0], listed[1]), (x.shape[2], x.shape[3]))
    cut = window(node, size, kernel, rank)
    if cut.dilation != (1, 1):
        node.refuse("dilations", "dilated pools are not supported")
    places = [(size[axis] + cut.pads[axis] + cut.pads[axis + 2] - kernel[axis]) // cut.stride[axis] + 1 for axis in (0, 1)]
    if min(places) < 1:
        node.refuse("kernel_shape", f"a window of {kernel[0]}x{kernel[1]} does not fit {list(x.shape)}")
    return _Pool(rank, x.shape[1], size, cut, (places[0], places[1]))


def _max_pool(node: Node) -> State:
    x = node.quantized(0)
    if len([name for name in node.info.outputs if name]) > 1:
        node.refuse("outputs", "the indices of maxima are not supported")
    pool = _pool(node, x)
    properties = {**window_properties(pool.cut.stride, pool.cut.pads, FULL_RANGE), "kernel": integers(pool.cut.kernel)}
    kind = result_types(x.quantization, (1, *pool.places, pool.channels))
    result = node.add(MaxPool2DOp.create(operands=[pool.image(node, x)], properties=properties, result_types=kind))
    return replace(x, value=pool.result(node, result))


def _averages(node: Node, x: Activation, is_last: bool) -> tuple[tuple[int, ...], Emit]:
    if is_last:
        node.refuse("channels_last", "QLinearAveragePool in channels-last order is not supported", "export before ONNX Runtime optimises")
    pool = _pool(node, x)
    cut = pool.cut
    counts_pads = bool(node.integer("count_include_pad", 0)) and any(cut.pads)
    if counts_pads and node.integer("ceil_mode", 0):
        node.refuse("ceil_mode", "ceil_mode together with count_include_pad is not supported")

    def emit(out: Quantization) -> SSAValue:
        value, pads = pool.image(node, x), cut.pads
        if cut.kernel == pool.size and not any(pads):
            # ONNX Runtime computes these as global averages, which are rounded in another way.
            return pool.result(node, _mean(node, value, out))
        if counts_pads:
            # Padding that counts is data: zeros, which the zero point stands for.
            before, after = (0, pads[0], pads[1], 0), (0, pads[2], pads[3], 0)
            shape = [size + a + b for size, a, b in zip(tensor_of(value).shape, before, after, strict=True)]
            padding = {"before": integers(before), "after": integers(after)}
            value = node.add(PadOp.create(operands=[value], properties=padding, result_types=result_types(x.quantization, tuple(shape))))
            pads = (0, 0, 0, 0)
        properties = {**window_properties(cut.stride, pads, FULL_RANGE), "kernel": integers(cut.kernel), **unsigned_property(out)}
        kind = result_types(out, (1, *pool.places, pool.channels))
        return pool.result(node, node.add(AveragePool2DOp.create(operands=[value], properties=properties, result_types=kind)))

    return pool.shape, emit


def _mean(node: Node, image: SSAValue, out: Quantization) -> SSAValue:
    """The mean over rows and columns of an image, channels last."""
    properties = {"axes": integers((1, 2)), "keep_dims": BoolAttr.from_bool(True)}
    kind = result_types(out, (1, 1, 1, tensor_of(image).shape[3]))
    return node.add(MeanOp.create(operands=[image], properties=properties, result_types=kind))


def _average_pool(node: Node) -> State:
    return waiting(node, *_averages(node, node.real(0), False), (node.real(0),))


def _qlinear_average_pool(node: Node) -> State:
    out = node.parameters(3, 4)
    _, emit = _averages(node, node.described(0), bool(node.integer("channels_last", 0)))
    return Activation(emit(out), False, out.unsigned)


def _global_average(node: Node, x: Activation, is_last: bool) -> tuple[tuple[int, ...], Emit]:
    _require_image(node, x)
    shape = x.shape

    def emit(out: Quantization) -> SSAValue:
        if is_last:
            return _mean(node, x.value, out)
        return channels_first(node, _mean(node, channels_last(node, x.value), out))

    return (1, 1, 1, shape[3]) if is_last else (1, shape[1], 1, 1), emit


def _global_average_pool(node: Node) -> State:
    return waiting(node, *_global_average(node, node.real(0), False), (node.real(0),))


def _qlinear_global_average_pool(node: Node) -> State:
    out = node.parameters(3, 4)
    _, emit = _global_average(node, node.described(0), bool(node.integer("channels_last", 0)))
    return Activation(emit(out), False, out.unsigned)


def _reduce_mean(node: Node) -> State:
    x = node.real(0)
    listed = node.integers(1, "axes") if node.has(1) else node.attribute("axes", list, [])
    if not listed and node.integer("noop_with_empty_axes", 0):
        return x
    node.approximate(
        "a mean, in an order of additions that nothing specifies",
        "use GlobalAveragePool, which has an 8-bit form; tinyc quantize makes it of a float model's means over rows and columns",
    )
    axes = sorted({axis_of(node, axis, len(x.shape)) for axis in listed} or range(len(x.shape)))
    if not axes:
        node.refuse("shape", "the mean of a scalar is not supported", "take the node out")
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    shape = kept if node.integer("keepdims", 1) else tuple(size for axis, size in enumerate(x.shape) if axis not in axes)

    def emit(out: Quantization) -> SSAValue:
        properties = {"axes": integers(axes), "keep_dims": BoolAttr.from_bool(True)}
        made = node.add(MeanOp.create(operands=[x.value], properties=properties, result_types=[quantized_type(kept, out)]))
        return _reshaped(node, made, shape)

    return waiting(node, shape, emit, (x,))


POOL_RULES: Mapping[str, Rule] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "MaxPool": _max_pool,
    "ReduceMean": _reduce_mean,
    "com.microsoft.QLinearAveragePool": _qlinear_average_pool,
    "com.microsoft.QLinearGlobalAveragePool": _qlinear_global_average_pool,
}
