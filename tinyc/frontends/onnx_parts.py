"""Activations with a scale for each part: for each position along an axis, or for each block of neighbours.

A tensor of the `nn` dialect has one scale. Such an activation is therefore cut into parts, each quantised or dequantised by itself and put
together again. In 8 bits it is a tensor of plain numbers, with the scale 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from xdsl.ir import SSAValue

from tinyc.frontends.onnx_node import SHIFT, Activation, Node, Quantization, axis_of, quantized_type
from tinyc.ir.nn_base import integers, tensor_of
from tinyc.ir.nn_elementwise import DequantizeOp, QuantizeOp
from tinyc.ir.nn_movement import ConcatOp, SliceOp, integer
from tinyc.ir.nn_shape import ReshapeOp
from tinyc.ir.tensor_type import Tensor, TensorType

MAX_PARTS = 1024
"""More would be more code than a part for tinyc holds."""


@dataclass(frozen=True)
class Scales:
    """Scales and zero points (as int8) with as many dimensions as the data: 1, or one for each position or block of it.

    `unsigned`: the file has uint8. Blocks of `block` positions lie along `axis`; 0 where there are none.
    """

    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    unsigned: bool
    axis: int
    block: int

    def spread(self, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Arrays that broadcast to data of `shape`."""
        if not self.block:
            return self.scales, self.zero_points
        block_of = np.arange(shape[self.axis]) // self.block
        return self.scales.take(block_of, self.axis), self.zero_points.take(block_of, self.axis)

    def cuts(self, axis: int, size: int) -> list[tuple[int, int]]:
        """(begin, size) of the parts along one dimension of `size`."""
        if self.scales.shape[axis] == 1:
            return [(0, size)]
        step = self.block if axis == self.axis and self.block else 1
        return [(begin, min(step, size - begin)) for begin in range(0, size, step)]


def scales_of(node: Node, shape: tuple[int, ...], unsigned: bool) -> Scales:
    """What inputs 1 and 2 of a QuantizeLinear or DequantizeLinear of data of `shape` say; `unsigned` where the latter is left out."""
    block = node.integer("block_size", 0)
    scales, zero_points, found = (node.block_parameters if block else node.channel_parameters)(1, 2, unsigned)
    if not (scales > 0).all():
        node.refuse("scale", "a scale is not positive", "the model was damaged, or calibrated on constant data")
    if block:
        axis = axis_of(node, node.integer("axis", 1), len(shape))
        wanted = (*shape[:axis], -(-shape[axis] // block), *shape[axis + 1 :])
        if block < 0 or scales.shape != wanted:
            node.refuse("scale", f"scales {list(scales.shape)} for data {list(shape)} in blocks of {block} along dimension {axis}")
        return Scales(scales, zero_points, found, axis, block)
    spread, axis = [1] * len(shape), 0
    if scales.size > 1:
        axis = axis_of(node, node.integer("axis", 1), len(shape))
        if shape[axis] != scales.size:
            node.refuse("scale", f"{scales.size} scales for a dimension of {shape[axis]}")
        spread[axis] = scales.size
    return Scales(scales.reshape(spread), zero_points.reshape(spread), found, axis, 0)


def numbers(unsigned: bool) -> Quantization:
    """The quantisation of 8-bit values that stand for themselves."""
    return Quantization(1.0, -SHIFT if unsigned else 0, unsigned)


def quantized_by_parts(node: Node, x: Activation, default: bool) -> Activation:
    """A float32 activation in 8 bits; `default` says whether as uint8 where the file does not."""
    scales = scales_of(node, x.shape, default)
    plain = numbers(scales.unsigned)

    def convert(part: SSAValue, out: Quantization) -> SSAValue:
        shape = tensor_of(part).shape
        made = node.add(QuantizeOp.create(operands=[part], result_types=[quantized_type(shape, out)]))
        return node.add(ReshapeOp.create(operands=[made], result_types=[quantized_type(shape, plain)]))

    return Activation(_by_parts(node, x.value, scales, convert), False, scales.unsigned)


def dequantized_by_parts(node: Node, x: Activation) -> Activation:
    """8-bit numbers as the float32 ones that they stand for."""
    scales = scales_of(node, x.shape, x.unsigned)

    def convert(part: SSAValue, own: Quantization) -> SSAValue:
        shape = tensor_of(part).shape
        typed = node.add(ReshapeOp.create(operands=[part], result_types=[quantized_type(shape, own)]))
        return node.add(DequantizeOp.create(operands=[typed], result_types=[TensorType(Tensor(shape, "f32"))]))

    return Activation(_by_parts(node, x.value, scales, convert), True, x.unsigned)


def _by_parts(node: Node, value: SSAValue, scales: Scales, convert: Callable[[SSAValue, Quantization], SSAValue]) -> SSAValue:
    """`value` cut along every dimension that has scales of its own, each part converted, and all put together."""
    if scales.scales.size > MAX_PARTS:
        node.refuse("scale", f"an activation with {scales.scales.size} scales, at most {MAX_PARTS} are supported", "use one scale")

    def converted(piece: SSAValue, axis: int, index: tuple[int, ...]) -> SSAValue:
        shape = tensor_of(piece).shape
        if axis == len(shape):
            own = Quantization(float(scales.scales[index]), int(scales.zero_points[index]), scales.unsigned)
            return convert(piece, own)
        cuts = scales.cuts(axis, shape[axis])
        parts = [converted(_cut(node, piece, axis, *cut), axis + 1, (*index, position)) for position, cut in enumerate(cuts)]
        if len(parts) == 1:
            return parts[0]
        kind = TensorType(replace(tensor_of(parts[0]), shape=shape))
        return node.add(ConcatOp.create(operands=parts, properties={"axis": integer(axis)}, result_types=[kind]))

    return converted(value, 0, ())


def _cut(node: Node, value: SSAValue, axis: int, begin: int, size: int) -> SSAValue:
    tensor = tensor_of(value)
    if size == tensor.shape[axis]:
        return value
    shape = (*tensor.shape[:axis], size, *tensor.shape[axis + 1 :])
    begins = [begin if other == axis else 0 for other in range(len(shape))]
    columns = {"begin": integers(begins), "size": integers(shape), "step": integers([1] * len(shape))}
    return node.add(SliceOp.create(operands=[value], properties=columns, result_types=[TensorType(replace(tensor, shape=shape))]))


def is_in_parts(node: Node) -> bool:
    """Whether a QuantizeLinear or DequantizeLinear has more than one scale; refused elsewhere where they are not constant."""
    scales = node.known(1)
    return scales is not None and math.prod(scales.shape) > 1
