"""What import rules of several files share: making ops, images, windows, and constant weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite
from xdsl.ir import Attribute, Operation, SSAValue

from tinyc.frontends.tflite_node import Node
from tinyc.ir.dense import DenseAttr
from tinyc.ir.tensor_type import Tensor, TensorType


def make(kind: type[Operation], node: Node, operands: Sequence[SSAValue], properties: Mapping[str, Attribute]) -> Operation:
    """An op whose result is the node's only output."""
    return kind.create(operands=list(operands), properties=dict(properties), result_types=[node.output_type()])


def image(node: Node, position: int = 0) -> tuple[int, ...]:
    """Shape of an input that must be an image."""
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


def window_pads(
    node: Node, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], padding: int
) -> tuple[int, int, int, int]:
    """Padding at top, left, bottom and right. Refuses kernels, strides and dilations below 1."""
    source, output = image(node), node.output_tensor().shape
    if len(output) != 4 or min(*kernel, *stride, *dilation) < 1:
        node.refuse("options", f"kernel {kernel}, stride {stride} or dilation {dilation} make no sense")
    if padding == tflite.Padding.SAME:
        same = -(-source[1] // stride[0]), -(-source[2] // stride[1])
        if output[1:3] != same:
            reason = f"the output is {output[1]} x {output[2]}, SAME padding and stride {stride} give {same[0]} x {same[1]}"
            node.refuse("shape", reason, "the file is damaged or from an unknown converter")
    top, bottom = padding_of(source[1], output[1], kernel[0], stride[0], dilation[0], padding)
    left, right = padding_of(source[2], output[2], kernel[1], stride[1], dilation[1], padding)
    return top, left, bottom, right


@dataclass(frozen=True)
class Window:
    """Stride and dilation (vertical, horizontal), padding (top, left, bottom, right)."""

    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int, int, int]


def convolution_window(node: Node, options: Any, kernel: tuple[int, int]) -> Window:
    """The window of a CONV_2D or DEPTHWISE_CONV_2D, dilated by its options or by the ops that stood around it."""
    folded = node.operator.dilation
    if folded is not None:
        image(node)
        return Window((1, 1), folded.block, folded.pads)
    stride, dilation = (options.StrideH(), options.StrideW()), (options.DilationHFactor(), options.DilationWFactor())
    return Window(stride, dilation, window_pads(node, kernel, stride, dilation, options.Padding()))


def weights_and_bias(node: Node, channels: int, channel_axis: int, bias_position: int = 2) -> tuple[list[SSAValue], DenseAttr]:
    """Operands weights (input 1) and, if present, bias; and the weight scales. Refuses what is not constant symmetric int8."""
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
        # uint8 weights were shifted by 128 when they were read.
        shift = 128 if info.unsigned else 0
        found = sorted({int(zero_point) + shift for zero_point in info.zero_points})
        reason = f"the zero point of {info.type_name.lower()} weights must be {shift}, is {', '.join(map(str, found[:4]))}"
        node.refuse("weights", reason, "quantise weights symmetrically")
    operands = [node.constant(info, TensorType(Tensor(info.shape, "i8")))]
    if node.has_input(bias_position):
        bias = node.tensor(bias_position)
        if bias.data is None or bias.element != "i32" or bias.shape != (channels,):
            node.refuse("bias", f"bias must be {channels} constant int32 values, {bias.name} is {bias.type_name} {list(bias.shape)}")
        # The bias's own scales are not read: they are input scale * weight scale by definition, and some files carry odd ones.
        operands.append(node.constant(bias, TensorType(Tensor(bias.shape, "i32"))))
    return operands, DenseAttr.of(np.atleast_1d(info.scales))
