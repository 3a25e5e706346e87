"""Between ONNX's order of dimensions, channels first, and that of the `nn` dialect's image ops, channels last.

Import rules of image ops put a transpose in front and one behind; the pass channels-last then moves those through the network.
"""

from __future__ import annotations

from dataclasses import replace

from xdsl.ir import SSAValue

from tinyc.frontends.onnx_node import Node
from tinyc.ir.nn_base import integers, tensor_of
from tinyc.ir.nn_shape import TransposeOp, permuted
from tinyc.ir.tensor_type import TensorType

TO_CHANNELS_LAST = (0, 2, 3, 1)
TO_CHANNELS_FIRST = (0, 3, 1, 2)


def transpose(node: Node, value: SSAValue, permutation: tuple[int, ...]) -> SSAValue:
    """`value` with its dimensions in the order of `permutation`; the value before where the inverse transpose made it."""
    if list(permutation) == list(range(len(permutation))):
        return value
    owner = value.owner
    if isinstance(owner, TransposeOp):
        before = owner.permutation_list()
        if all(before[axis] == position for position, axis in enumerate(permutation)):
            return owner.input
    tensor = tensor_of(value)
    kind = TensorType(replace(tensor, shape=permuted(tensor.shape, permutation)))
    return node.add(TransposeOp.create(operands=[value], properties={"permutation": integers(permutation)}, result_types=[kind]))


def channels_last(node: Node, value: SSAValue) -> SSAValue:
    """An image (1, C, H, W) as (1, H, W, C)."""
    return transpose(node, value, TO_CHANNELS_LAST)


def channels_first(node: Node, value: SSAValue) -> SSAValue:
    """An image (1, H, W, C) as (1, C, H, W)."""
    return transpose(node, value, TO_CHANNELS_FIRST)
