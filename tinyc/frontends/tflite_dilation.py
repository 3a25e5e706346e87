"""Dilated convolutions as TensorFlow's converter writes them: SPACE_TO_BATCH_ND, a convolution with stride 1, BATCH_TO_SPACE_ND.

With blocks of d pixels, the three compute the convolution of each of the d * d sub-images, which is the convolution with dilation d. The
first op's padding is padding of the whole, the last one's crops take some of it away again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import tflite

from tinyc.frontends.tflite_operands import padding_of
from tinyc.frontends.tflite_reader import FoldedDilation, Graph, OperatorInfo, TensorInfo

_OPTIONS = {
    "CONV_2D": (tflite.Conv2DOptions, tflite.BuiltinOptions.Conv2DOptions),
    "DEPTHWISE_CONV_2D": (tflite.DepthwiseConv2DOptions, tflite.BuiltinOptions.DepthwiseConv2DOptions),
}


def fold_dilation(graph: Graph) -> Graph:
    """`graph` with every such group replaced by one convolution that carries its dilation."""
    uses = Counter(index for operator in graph.operators for index in operator.inputs)
    uses.update(graph.outputs)
    producer = {index: operator for operator in graph.operators for index in operator.outputs}
    replaced: dict[int, OperatorInfo] = {}
    gone: set[int] = set()
    for last in graph.operators:
        middle = producer.get(last.inputs[0]) if last.op == "BATCH_TO_SPACE_ND" and last.inputs else None
        if middle is None or middle.op not in _OPTIONS or len(middle.inputs) < 2 or len(middle.outputs) != 1:
            continue
        first = producer.get(middle.inputs[0])
        if first is None or first.op != "SPACE_TO_BATCH_ND" or uses[middle.inputs[0]] != 1 or uses[last.inputs[0]] != 1:
            continue
        dilation = _dilation(graph, first, middle, last)
        if dilation is not None:
            inputs = (first.inputs[0], *middle.inputs[1:])
            replaced[last.index] = replace(middle, index=last.index, inputs=inputs, outputs=last.outputs, dilation=dilation)
            gone |= {first.index, middle.index}
    operators = tuple(replaced.get(operator.index, operator) for operator in graph.operators if operator.index not in gone)
    return replace(graph, operators=operators)


def _pairs(graph: Graph, operator: OperatorInfo) -> tuple[tuple[int, int], tuple[tuple[int, int], ...]] | None:
    """Block (height, width) and the paddings or crops of both axes, or None where they are not constants for an image."""
    if len(operator.inputs) != 3 or len(operator.outputs) != 1 or min(operator.inputs) < 0:
        return None
    block, pads = graph.tensors[operator.inputs[1]].data, graph.tensors[operator.inputs[2]].data
    if block is None or pads is None or block.shape != (2,) or pads.shape != (2, 2) or block.min() < 1 or pads.min() < 0:
        return None
    return (int(block[0]), int(block[1])), tuple((int(before), int(after)) for before, after in pads)


def _same_quantization(a: TensorInfo, b: TensorInfo) -> bool:
    return a.element == b.element and a.scales.tolist() == b.scales.tolist() and a.zero_points.tolist() == b.zero_points.tolist()


def _dilation(graph: Graph, first: OperatorInfo, middle: OperatorInfo, last: OperatorInfo) -> FoldedDilation | None:
    """Dilation and padding of the whole group, or None where it is no dilated convolution."""
    split, joined = _pairs(graph, first), _pairs(graph, last)
    kind, expected = _OPTIONS[middle.op]
    found, table = middle.options
    if split is None or joined is None or split[0] != joined[0] or table is None or found != expected:
        return None
    tensors = graph.tensors
    options = kind()
    options.Init(table.Bytes, table.Pos)
    plain = (options.StrideH(), options.StrideW(), options.DilationHFactor(), options.DilationWFactor()) == (1, 1, 1, 1)
    weights, inner, outer = (tensors[index].shape for index in (middle.inputs[1], middle.inputs[0], middle.outputs[0]))
    if not plain or not len(weights) == len(inner) == len(outer) == 4:
        return None
    same_before = _same_quantization(tensors[first.inputs[0]], tensors[middle.inputs[0]])
    if not same_before or not _same_quantization(tensors[middle.outputs[0]], tensors[last.outputs[0]]):
        return None
    sides = []
    for axis in (0, 1):
        own = padding_of(inner[1 + axis], outer[1 + axis], weights[1 + axis], 1, 1, options.Padding())
        sides.append([split[1][axis][side] + split[0][axis] * own[side] - joined[1][axis][side] for side in (0, 1)])
    (top, bottom), (left, right) = sides
    return FoldedDilation(split[0], (top, left, bottom, right)) if min(top, bottom, left, right) >= 0 else None
