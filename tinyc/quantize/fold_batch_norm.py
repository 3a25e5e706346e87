"""Folds batch normalisation into the convolution or fully connected layer before or behind it.

At inference a batch normalisation is y = factor * x + offset for each channel. Behind a layer both fold into its weights and bias. In
front of a layer the factor always folds; the offset folds too, unless the layer pads: padding is 0 in its input, not `offset`, so that the
sum over a border window would be wrong. What cannot fold becomes a 1x1 depthwise convolution, which the compiler has a kernel for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tinyc.quantize.graph import Graph, attributes_of, constant_input, set_attribute

Values = NDArray[np.float64]


@dataclass(frozen=True)
class ChannelMap:
    """y = factor * x + offset for each channel, float64."""

    factor: Values
    offset: Values


def batch_norm_map(scale: Values, shift: Values, mean: Values, variance: Values, epsilon: float) -> ChannelMap:
    """The channel map of a batch normalisation with running statistics."""
    factor = scale / np.sqrt(variance + epsilon)
    return ChannelMap(factor, shift - mean * factor)


def fold_batch_norms(graph: Graph) -> None:
    """Folds every batch normalisation (and every multiplication or addition of one constant for each channel) of `graph`."""
    for node in list(graph.nodes):
        channel_map = _channel_map(graph, node)
        if channel_map is not None and _fold_backward(graph, node, channel_map):
            graph.bypass(node)
    for node in list(graph.nodes):
        channel_map = _channel_map(graph, node)
        if channel_map is None:
            continue
        if _fold_forward(graph, node, channel_map):
            graph.bypass(node)
        elif node.op_type == "BatchNormalization":
            _make_depthwise(graph, node, channel_map)
    graph.prune()


def _channel_map(graph: Graph, node: onnx.NodeProto) -> ChannelMap | None:
    if node.op_type == "BatchNormalization":
        scale, shift, mean, variance = (constant_input(graph, node, index) for index in range(1, 5))
        if scale is None or shift is None or mean is None or variance is None:
            return None
        epsilon = attributes_of(node).get("epsilon", 1e-5)
        wide = [values.astype(np.float64) for values in (scale, shift, mean, variance)]
        return batch_norm_map(wide[0], wide[1], wide[2], wide[3], epsilon)
    if node.op_type not in ("Mul", "Add") or (node.input[0] in graph.constants) == (node.input[1] in graph.constants):
        return None
    constant = graph.constants[node.input[0] if node.input[0] in graph.constants else node.input[1]]
    if node.input[0] in graph.constants:
        # Both operators commute; everything below reads the tensor from the first input.
        node.input[0], node.input[1] = node.input[1], node.input[0]
    producer = graph.producers().get(node.input[0])
    channels = _output_channels(graph, producer) if producer is not None else None
    if producer is None or channels is None:
        return None
    rank = 4 if producer.op_type == "Conv" else 2
    axis = constant.ndim - (rank - 1)
    if constant.size != 1 and not (axis in (0, 1) and constant.shape[axis] == constant.size == channels):
        return None
    values = np.broadcast_to(constant.astype(np.float64).reshape(-1), (channels,))
    return ChannelMap(values, np.zeros(channels)) if node.op_type == "Mul" else ChannelMap(np.ones(channels), values)


def _output_channels(graph: Graph, node: onnx.NodeProto) -> int | None:
    weights = constant_input(graph, node, 1)
    if weights is None or (node.op_type == "Conv" and weights.ndim != 4):
        return None
    if node.op_type == "Conv":
        return int(weights.shape[0])
    return int(weights.shape[0 if attributes_of(node).get("transB", 0) else 1]) if node.op_type == "Gemm" else None


def _fold_backward(graph: Graph, node: onnx.NodeProto, channel_map: ChannelMap) -> bool:
    layer = graph.producers().get(node.input[0])
    if layer is None or _output_channels(graph, layer) is None or graph.uses()[node.input[0]] != 1:
        return False
    if not _has_constant_bias(graph, layer):
        return False
    weights = graph.constants[layer.input[1]].astype(np.float64)
    if layer.op_type == "Conv":
        scaled = weights * channel_map.factor.reshape(-1, 1, 1, 1)
    else:
        transposed = attributes_of(layer).get("transB", 0)
        scaled = weights * (channel_map.factor[:, None] if transposed else channel_map.factor[None, :])
    bias = _bias(graph, layer, len(channel_map.factor)) * channel_map.factor + channel_map.offset
    _set_weights(graph, layer, scaled, bias)
    return True


def _fold_forward(graph: Graph, node: onnx.NodeProto, channel_map: ChannelMap) -> bool:
    if graph.uses()[node.output[0]] != 1 or not (readers := graph.readers(node.output[0])):
        return False
    layer = readers[0]
    channels = _output_channels(graph, layer)
    if channels is None or layer.input[0] != node.output[0] or not _has_constant_bias(graph, layer):
        return False
    attributes = attributes_of(layer)
    weights = graph.constants[layer.input[1]].astype(np.float64)
    if layer.op_type == "Conv":
        padded = any(attributes.get("pads", ())) or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
        if padded and channel_map.offset.any():
            return False
        groups = attributes.get("group", 1)
        # Input channel of [output, k] is k within the output's group.
        first = np.arange(channels) // (channels // groups) * weights.shape[1]
        inputs = first[:, None] + np.arange(weights.shape[1])[None, :]
        scaled = weights * channel_map.factor[inputs][:, :, None, None]
        added = (weights.sum(axis=(2, 3)) * channel_map.offset[inputs]).sum(axis=1)
    elif attributes.get("transA", 0) or len(channel_map.factor) != weights.shape[1 if attributes.get("transB", 0) else 0]:
        return False
    else:
        by_output = weights if attributes.get("transB", 0) else weights.T
        by_output = by_output * attributes.get("alpha", 1.0)
        set_attribute(layer, "alpha", 1.0)
        added = by_output @ channel_map.offset
        scaled = by_output * channel_map.factor[None, :]
        scaled = scaled if attributes.get("transB", 0) else scaled.T
    _set_weights(graph, layer, scaled, _bias(graph, layer, channels) + added)
    return True


def _has_constant_bias(graph: Graph, layer: onnx.NodeProto) -> bool:
    """Whether the bias is absent or constant, and can be changed without changing another layer's."""
    return len(layer.input) < 3 or not layer.input[2] or layer.input[2] in graph.constants


def _bias(graph: Graph, layer: onnx.NodeProto, channels: int) -> Values:
    bias = constant_input(graph, layer, 2)
    if bias is None:
        return np.zeros(channels)
    factor = attributes_of(layer).get("beta", 1.0) if layer.op_type == "Gemm" else 1.0
    return np.broadcast_to(bias.astype(np.float64).reshape(-1), (channels,)) * factor


def _set_weights(graph: Graph, layer: onnx.NodeProto, weights: Values, bias: Values) -> None:
    """New constants, because another layer may share the old ones."""
    name = graph.add_constant(f"{layer.input[1]}.folded", weights.astype(np.float32))
    bias_name = graph.add_constant(f"{layer.name}.bias.folded", bias.astype(np.float32))
    source = layer.input[0]
    del layer.input[:]
    layer.input.extend([source, name, bias_name])
    if layer.op_type == "Gemm":
        set_attribute(layer, "beta", 1.0)


def _make_depthwise(graph: Graph, node: onnx.NodeProto, channel_map: ChannelMap) -> None:
    if len(graph.shapes().get(node.input[0], ())) != 4:
        return
    channels = len(channel_map.factor)
    weights = graph.add_constant(f"{node.name}.factor", channel_map.factor.astype(np.float32).reshape(-1, 1, 1, 1))
    bias = graph.add_constant(f"{node.name}.offset", channel_map.offset.astype(np.float32))
    convolution = helper.make_node(
        "Conv", [node.input[0], weights, bias], [node.output[0]], name=node.name, kernel_shape=[1, 1], group=channels
    )
    graph.replace(node, [convolution])
