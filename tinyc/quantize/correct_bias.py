"""Bias correction (Nagel et al., ICCV 2019, section 4.2): takes out the mean error that rounded weights add to each output channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from tinyc.quantize.graph import Graph, attributes_of, constant_input
from tinyc.quantize.observe import Observed

Values = NDArray[np.float64]
Shapes = Mapping[str, tuple[int, ...]]


def rounded_weights(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """`weights` as int8 with one symmetric scale for each row of axis 0 would represent them."""
    rows = weights.reshape(len(weights), -1)
    scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    return np.asarray((np.rint(rows / scale) * scale).reshape(weights.shape), np.float32)


def correct_biases(graph: Graph, observed: Mapping[str, Observed]) -> int:
    """Adds (weights - rounded weights) * E[input] to the bias of every layer with constant weights; returns how many.

    E[input] is the mean of each input channel over the calibration data, times the share of windows in which a tap does not lie on padding:
    with 7x7 filters on images of 7x7, most taps mostly do.
    """
    corrected, shapes = 0, graph.shapes()
    for node in graph.nodes:
        weights = constant_input(graph, node, 1) if node.op_type in ("Conv", "Gemm") else None
        change = None if weights is None else _change(node, weights, observed[node.input[0]].channel_means, shapes)
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


def _change(node: onnx.NodeProto, weights: NDArray[np.float32], means: Values, shapes: Shapes) -> Values | None:
    error = weights.astype(np.float64) - rounded_weights(weights)
    attributes = attributes_of(node)
    if node.op_type == "Gemm":
        return np.asarray(error @ means) if attributes.get("transB", 0) == 1 and len(means) == weights.shape[1] else None
    groups = attributes.get("group", 1)
    channels = weights.shape[1]
    if len(means) != channels * groups:
        return None
    for axis in range(2, weights.ndim):
        share = _inside(node, axis - 2, weights.shape[axis], shapes[node.input[0]][axis], shapes[node.output[0]][axis])
        error = error * share.reshape([-1 if other == axis else 1 for other in range(weights.ndim)])
    first = np.arange(len(weights)) // (len(weights) // groups) * channels
    inputs = means[first[:, None] + np.arange(channels)[None, :]]
    return np.asarray((error.reshape(len(weights), channels, -1).sum(axis=2) * inputs).sum(axis=1))


def _inside(node: onnx.NodeProto, axis: int, taps: int, length: int, results: int) -> Values:
    """For each tap along one spatial axis, the share of the `results` windows in which it lies on the `length` inputs, not on padding."""
    attributes = attributes_of(node)
    stride, dilation = (attributes[name][axis] if name in attributes else 1 for name in ("strides", "dilations"))
    automatic = attributes.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        total = max((results - 1) * stride + (taps - 1) * dilation + 1 - length, 0)
        before = (total + (automatic == b"SAME_LOWER")) // 2
    else:
        before = attributes["pads"][axis] if "pads" in attributes else 0
    positions = np.arange(results)[None, :] * stride + np.arange(taps)[:, None] * dilation - before
    return np.asarray(((positions >= 0) & (positions < length)).mean(axis=1), np.float64)
