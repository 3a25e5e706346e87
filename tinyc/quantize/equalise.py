"""Cross-layer equalisation (Nagel et al., ICCV 2019, arXiv 1906.04721, section 4.1).

Between two layers a channel can be scaled down in the first and up in the second without changing the network, if what lies between is
linear or ReLU. Scales are chosen so that both layers' weight ranges of the channel are equal; large and small channels then share the 256
levels of the activation between them better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tinyc.quantize.graph import Array, Graph, attributes_of, constant_input
from tinyc.quantize.observe import Observed

_ROUNDS = 20
_SETTLED = 1e-3


@dataclass(frozen=True)
class Pair:
    """Two layers with one channel-wise path between them."""

    first: onnx.NodeProto
    second: onnx.NodeProto


def release_clips(graph: Graph, observed: Mapping[str, Observed]) -> tuple[int, int]:
    """Turns each Clip from 0 to a bound that calibration never reached into a Relu, which scales; returns how many, and how many stay.

    Equalisation needs ReLU, as its authors replace ReLU6; this keeps to the clips that do nothing on the data.
    """
    released, clips = 0, [node for node in graph.nodes if node.op_type == "Clip"]
    for node in clips:
        lower, upper = constant_input(graph, node, 1), constant_input(graph, node, 2)
        if lower is None or upper is None or float(lower.reshape(-1)[0]) != 0.0:
            continue
        if observed[node.output[0]].maximum < float(upper.reshape(-1)[0]):
            graph.replace(node, [helper.make_node("Relu", [node.input[0]], list(node.output), name=node.name)])
            released += 1
    return released, len(clips) - released


def equalise(graph: Graph) -> int:
    """Equalises all pairs until the scales settle; returns the number of pairs."""
    pairs = find_pairs(graph)
    for pair in pairs:
        for layer in (pair.first, pair.second):
            _own_constants(graph, layer)
    for _ in range(_ROUNDS):
        if max((_equalise_pair(graph, pair) for pair in pairs), default=0.0) < _SETTLED:
            break
    graph.prune()
    return len(pairs)


def find_pairs(graph: Graph) -> list[Pair]:
    """Convolutions and fully connected layers that follow each other, alone or with a ReLU between them."""
    uses, producers = graph.uses(), graph.producers()
    pairs = []
    for second in graph.nodes:
        if not _is_layer(graph, second):
            continue
        name = second.input[0]
        middle = producers.get(name)
        if middle is not None and middle.op_type == "Relu" and uses[name] == 1:
            name = middle.input[0]
        first = producers.get(name)
        if (
            first is not None
            and _is_layer(graph, first)
            and uses[name] == 1
            and uses[second.input[0]] == 1
            and first.op_type == second.op_type
        ):
            pairs.append(Pair(first, second))
    return pairs


def _is_layer(graph: Graph, node: onnx.NodeProto) -> bool:
    weights = constant_input(graph, node, 1)
    if weights is None or (len(node.input) > 2 and constant_input(graph, node, 2) is None):
        return False
    if node.op_type == "Gemm":
        return attributes_of(node).get("transB", 0) == 1 and not attributes_of(node).get("transA", 0)
    if node.op_type != "Conv" or weights.ndim != 4:
        return False
    groups = attributes_of(node).get("group", 1)
    return bool(groups == 1 or (groups == weights.shape[0] and weights.shape[1] == 1))


def _own_constants(graph: Graph, node: onnx.NodeProto) -> None:
    """Copies weights and bias, because another layer may read the same constants."""
    for index in range(1, len(node.input)):
        node.input[index] = graph.add_constant(f"{node.input[index]}.equalised", graph.constants[node.input[index]].copy())


def _largest(weights: Array, axis: int) -> NDArray[np.float64]:
    others = tuple(other for other in range(weights.ndim) if other != axis)
    return np.asarray(np.abs(weights).max(axis=others), np.float64)


def _equalise_pair(graph: Graph, pair: Pair) -> float:
    """Scales one pair; returns the largest relative change of a scale."""
    before, after = graph.constants[pair.first.input[1]], graph.constants[pair.second.input[1]]
    depthwise = pair.second.op_type == "Conv" and attributes_of(pair.second).get("group", 1) > 1
    axis = 0 if depthwise else 1
    outgoing, incoming = _largest(before, 0), _largest(after, axis)
    usable = (outgoing > 0) & (incoming > 0)
    scale = np.where(usable, np.sqrt(outgoing * incoming) / np.where(usable, incoming, 1.0), 1.0).astype(np.float32)
    graph.constants[pair.first.input[1]] = before / scale.reshape(-1, *[1] * (before.ndim - 1))
    if len(pair.first.input) > 2:
        graph.constants[pair.first.input[2]] = graph.constants[pair.first.input[2]] / scale
    across = [1] * after.ndim
    across[axis] = -1
    graph.constants[pair.second.input[1]] = after * scale.reshape(across)
    return float(np.abs(scale - 1).max())
