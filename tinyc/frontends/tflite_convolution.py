"""Convolutions that become several ops: grouped ones, and transposed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tflite
from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import Attribute, Operation, SSAValue

from tinyc.frontends.tflite_node import Node, Rule
from tinyc.frontends.tflite_operands import image, make, padding_of, weights_and_bias
from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import constant_of, integers, tensor_of
from tinyc.ir.nn_movement import ConcatOp, DepthToSpaceOp, SliceOp, integer
from tinyc.ir.nn_shape import ConstantOp
from tinyc.ir.nn_window import Conv2DOp, DepthwiseConv2DOp, window_properties
from tinyc.ir.tensor_type import Tensor, TensorType

MAX_GROUPS = 256
MAX_TRANSPOSED_STRIDE = 16
"""A transposed convolution is computed with stride * stride copies of its channels."""


def _data(value: SSAValue) -> npt.NDArray[np.int_]:
    data = constant_of(value)
    assert data is not None
    return data.array


def _constant(node: Node, values: npt.NDArray[np.int_]) -> SSAValue:
    data = DenseAttr.of(np.ascontiguousarray(values))
    return node.add(ConstantOp.create(properties={"value": data}, result_types=[TensorType(Tensor(values.shape, data.data.element))]))


def grouped_convolution(node: Node, groups: int, operands: list[SSAValue], properties: Mapping[str, Attribute]) -> Operation:
    """Slices, a convolution of each, a concatenation. With one channel a group it is a depthwise convolution."""
    weights, out, source = _data(operands[0]), node.output_type().data, node.value(0)
    if groups > MAX_GROUPS and weights.shape[3] > 1:
        node.refuse("weights", f"{groups} groups, at most {MAX_GROUPS} are supported", "use fewer groups, or a depthwise convolution")
    if weights.shape[3] == 1:
        return make(DepthwiseConv2DOp, node, [source, _constant(node, weights.transpose(3, 1, 2, 0)), *operands[1:]], properties)
    scales = properties["weight_scales"]
    assert isinstance(scales, DenseAttr)
    tensor, width, outputs = tensor_of(source), weights.shape[3], weights.shape[0] // groups
    results = []
    for group in range(groups):
        own = slice(group * outputs, (group + 1) * outputs)
        part = Tensor((*tensor.shape[:3], width), tensor.element, tensor.scale, tensor.zero_point)
        columns = {"begin": (0, 0, 0, group * width), "size": part.shape, "step": (1, 1, 1, 1)}
        cut = SliceOp.create(
            operands=[source], properties={name: integers(values) for name, values in columns.items()}, result_types=[TensorType(part)]
        )
        constants = [_constant(node, _data(operand)[own]) for operand in operands]
        group_scales = DenseAttr.of(scales.array[own]) if scales.array.size > 1 else scales
        kind = TensorType(Tensor((*out.shape[:3], outputs), out.element, out.scale, out.zero_point))
        convolution = Conv2DOp.create(
            operands=[node.add(cut), *constants], properties={**properties, "weight_scales": group_scales}, result_types=[kind]
        )
        results.append(node.add(convolution))
    return make(ConcatOp, node, results, {"axis": integer(3)})


@dataclass(frozen=True)
class Phases:
    """One axis of a transposed convolution as a plain one with stride 1, whose results are interleaved in `stride` phases.

    Output position y, moved by `offset`, is phase `(y + offset) % stride` at place `q = (y + offset) // stride`, and reads the inputs
    `q - before` to `q - before + taps - 1`; input q - before + t meets kernel element `first + phase - stride * t`, if there is one.
    `places` plain outputs are computed, with `after` elements of padding behind the input.
    """

    stride: int
    offset: int
    before: int
    after: int
    taps: int
    places: int
    first: int


def phases(size: int, output: int, kernel: int, stride: int, cut: int) -> Phases:
    """The least plain window for an axis; `cut` elements of the full result are left out in front (TFLite's padding)."""
    found = []
    for offset in range(stride):
        reach = cut - offset
        # Place q + j meets kernel element phase + reach - stride * j, which lies in the kernel for these j.
        low, high = -((kernel - 1 - reach) // stride), (stride - 1 + reach) // stride
        places = -(-(output + offset) // stride)
        after = places - 1 + high - (size - 1)
        if after < 0:
            places, after = places - after, 0
        found.append((high - low + 1, offset, Phases(stride, offset, -low, after, high - low + 1, places, reach - stride * low)))
    return min(found, key=lambda entry: entry[:2])[2]


def phase_weights(weights: npt.NDArray[np.int_], rows: Phases, columns: Phases) -> npt.NDArray[np.int_]:
    """Weights (stride * stride * O, taps, taps, I) of the plain convolution from those (O, H, W, I) of the transposed one."""
    outputs, height, width, inputs = weights.shape
    plain = np.zeros((rows.stride, columns.stride, outputs, rows.taps, columns.taps, inputs), weights.dtype)
    for y in range(rows.stride):
        for x in range(columns.stride):
            for i in range(rows.taps):
                for j in range(columns.taps):
                    row, column = rows.first + y - rows.stride * i, columns.first + x - columns.stride * j
                    if 0 <= row < height and 0 <= column < width:
                        plain[y, x, :, i, j] = weights[:, row, column]
    return plain.reshape(-1, rows.taps, columns.taps, inputs)


def _transpose_conv(node: Node) -> Operation:
    """A plain convolution with a group of channels for each phase, depth_to_space, and a slice where something hangs over."""
    options = node.options(tflite.TransposeConvOptions, tflite.BuiltinOptions.TransposeConvOptions)
    weights, shape, out = node.tensor(1).shape, image(node, 2), node.output_type().data
    stride = (options.StrideH(), options.StrideW())
    if len(weights) != 4 or weights[3] != shape[3] or min(weights) < 1:
        node.refuse("weights", f"weights {list(weights)} do not fit an input with {shape[3]} channels")
    if max(stride) > MAX_TRANSPOSED_STRIDE:
        node.refuse("stride", f"stride {list(stride)}, at most {MAX_TRANSPOSED_STRIDE} is supported", "resize first, then convolve")
    if min(stride) < 1 or len(out.shape) != 4 or (out.shape[0], out.shape[3]) != (1, weights[0]):
        node.refuse("shape", f"stride {list(stride)} or the output shape {list(out.shape)} make no sense")
    if node.integers(0, "output_shape").tolist() != list(out.shape):
        node.refuse("output_shape", f"the node asks for {node.integers(0, 'output_shape').tolist()}, its output has {list(out.shape)}")
    clamp = node.clamp(options.FusedActivationFunction())
    operands, scales = weights_and_bias(node, weights[0], 0, bias_position=3)
    axes = []
    for axis in (1, 2):
        # SAME and VALID speak of the convolution from output to input, of which this is the transpose.
        cut, _ = padding_of(out.shape[axis], shape[axis], weights[axis], stride[axis - 1], 1, options.Padding())
        axes.append(phases(shape[axis], out.shape[axis], weights[axis], stride[axis - 1], cut))
    rows, columns = axes
    copies = stride[0] * stride[1]
    constants = [_constant(node, phase_weights(_data(operands[0]), rows, columns))]
    constants += [_constant(node, np.tile(_data(bias), copies)) for bias in operands[1:]]
    pads = (rows.before, columns.before, rows.after, columns.after)
    scale_values = scales.array if scales.array.size == 1 else np.tile(scales.array, copies)
    properties: dict[str, Attribute] = {**window_properties((1, 1), pads, clamp), "dilations": integers((1, 1))}
    properties["weight_scales"] = DenseAttr.of(scale_values)
    properties |= node.activation(options.FusedActivationFunction())
    if options.Padding() == tflite.Padding.SAME and (weights[1] < stride[0] or weights[2] < stride[1]):
        # XNNPACK leaves these to LiteRT's own kernel.
        properties["fixed_point"] = UnitAttr()
    kind = Tensor((1, rows.places, columns.places, weights[0] * copies), "i8", out.scale, out.zero_point)
    value = node.value(2)
    plain = Conv2DOp.create(operands=[value, *constants], properties=properties, result_types=[TensorType(kind)])
    whole = Tensor((1, rows.places * stride[0], columns.places * stride[1], weights[0]), "i8", out.scale, out.zero_point)
    if copies == 1 and whole.shape == out.shape:
        return plain
    spread: Operation = plain
    if copies > 1:
        block = {"block": integers(stride)}
        spread = DepthToSpaceOp.create(operands=[node.add(plain)], properties=block, result_types=[TensorType(whole)])
    if whole.shape == out.shape:
        return spread
    begin = (0, rows.offset, columns.offset, 0)
    window = {"begin": integers(begin), "size": integers(out.shape), "step": integers((1, 1, 1, 1))}
    return make(SliceOp, node, [node.add(spread)], window)


CONVOLUTION_RULES: Mapping[str, Rule] = {"TRANSPOSE_CONV": _transpose_conv}
