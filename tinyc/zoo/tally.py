"""What a network costs, counted from its ONNX graph: multiply-adds of one inference and parameters."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx
from onnx import shape_inference

_WEIGHTED = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Tally:
    """`macs` are multiply-adds of convolutions and fully connected layers, as papers count them (no biases, additions or pooling).

    `parameters` are trainable values: weights, biases, and scale and offset of each batch normalisation (not its running statistics).
    """

    macs: int
    parameters: int


def tally(model: onnx.ModelProto) -> Tally:
    """Counts a float model with a static shape. Raises KeyError where shape inference does not reach a weighted layer."""
    inferred = shape_inference.infer_shapes(model, strict_mode=True)
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in [*inferred.graph.value_info, *inferred.graph.output]
    }
    sizes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    macs, trainable = 0, set[str]()
    for node in model.graph.node:
        if node.op_type in _WEIGHTED:
            # Each output value sums over one filter: all axes of the weights but the output channels.
            channels = shapes[node.output[0]][1]
            macs += prod(shapes[node.output[0]]) * (prod(sizes[node.input[1]]) // channels)
            trainable.update(name for name in node.input[1:] if name in sizes)
        elif node.op_type == "BatchNormalization":
            trainable.update(node.input[1:3])
    return Tally(macs, sum(prod(sizes[name]) for name in trainable))
