"""Bias correction (Nagel et al., ICCV 2019, section 4.2): takes out the mean error that rounded weights add to each output channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from tinyc.quantize.graph import Graph, attributes_of, constant_input
from tinyc.quantize.observe import Observed


def rounded_weights(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """`weights` as int8 with one symmetric scale for each row of axis 0 would represent them."""
    rows = weights.reshape(len(weights), -1)
    scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    return np.asarray((np.rint(rows / scale) * scale).reshape(weights.shape), np.float32)


def correct_biases(graph: Graph, observed: Mapping[str, Observed]) -> int:
    """Adds (weights - rounded weights) * E[input] to the bias of every layer with constant weights; returns how many.

    E[input] is the mean of each input channel over the calibration data; that it is smaller where a window hangs over padding is neglected.
    """
    corrected = 0
    for node in graph.nodes:
        weights = constant_input(graph, node, 1) if node.op_type in ("Conv", "Gemm") else None
        change = None if weights is None else _change(node, weights, observed[node.input[0]].channel_means)
        if change is None:
            continue
        bias = constant_input(graph, node, 2)
        if bias is None and len(node.input) > 2:
            continue
        values = change if bias is None else bias.astype(np.float64) + change
        name = graph.add_constant(f"{node.name}.bias.corrected", values.astype(np.float32))
        source, kernel = node.input[0], node.input[1]
        del node.input[:]
        node.input.extend([source, kernel, name])
        corrected += 1
    graph.prune()
    return corrected


def _change(node: onnx.NodeProto, weights: NDArray[np.float32], means: NDArray[np.float64]) -> NDArray[np.float64] | None:
    error = weights.astype(np.float64) - rounded_weights(weights)
    attributes = attributes_of(node)
    if node.op_type == "Gemm":
        return np.asarray(error @ means) if attributes.get("transB", 0) == 1 and len(means) == weights.shape[1] else None
    groups = attributes.get("group", 1)
    channels = weights.shape[1]
    if len(means) != channels * groups:
        return None
    first = np.arange(len(weights)) // (len(weights) // groups) * channels
    inputs = means[first[:, None] + np.arange(channels)[None, :]]
    return np.asarray((error.reshape(len(weights), channels, -1).sum(axis=2) * inputs).sum(axis=1))
