"""What the import rules of sliding windows and matrix products share: the geometry of a window, and the type of a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import Attribute, SSAValue

from tinyc.frontends.onnx_node import Node, Quantization, quantized_type

FULL_RANGE = (-128, 127)
"""Bounds of a result that nothing limits."""

Emit = Callable[[Quantization], SSAValue]
"""Makes the ops of a computation for a quantisation of its result."""


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


def result_types(quantization: Quantization, shape: tuple[int, ...]) -> list[Attribute]:
    """The result types of an op with one int8 result."""
    return [quantized_type(shape, quantization)]


def unsigned_property(out: Quantization) -> dict[str, Attribute]:
    """The property `unsigned` of an op whose tensors are uint8 in the file."""
    return {"unsigned": UnitAttr()} if out.unsigned else {}
