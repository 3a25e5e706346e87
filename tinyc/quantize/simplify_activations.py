"""Recognises activations that exporters and users write in several nodes, or in ways of their own."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from tinyc.quantize.graph import Graph, attributes_of, constant_input

_TOLERANCE = 1e-4
"""Constants like 1/6 come in float32, and rounded by hand."""


def simplify_activations(graph: Graph) -> None:
    """Rewrites x * relu6(x + 3) / 6 as HardSwish, a bound by Max or Min as Clip, and PRelu with one slope as LeakyRelu."""
    for node in list(graph.nodes):
        if node.op_type in ("Max", "Min"):
            _bound(graph, node)
        elif node.op_type == "PRelu":
            _one_slope(graph, node)
    for node in list(graph.nodes):
        source = _hard_swish_source(graph, node)
        if source is not None:
            graph.replace(node, [helper.make_node("HardSwish", [source], list(node.output), name=node.name)])
    graph.prune()


def _bound(graph: Graph, node: onnx.NodeProto) -> None:
    bounds = [name for name in node.input if name in graph.constants and graph.constants[name].size == 1]
    sources = [name for name in node.input if name not in bounds]
    if len(bounds) != 1 or len(sources) != 1 or graph.constants[bounds[0]].dtype != np.float32:
        return
    bound = graph.add_constant(f"{node.name}.bound", graph.constants[bounds[0]].reshape(()))
    inputs = [sources[0], bound] if node.op_type == "Max" else [sources[0], "", bound]
    graph.replace(node, [helper.make_node("Clip", inputs, list(node.output), name=node.name)])


def _one_slope(graph: Graph, node: onnx.NodeProto) -> None:
    slopes = constant_input(graph, node, 1)
    if slopes is not None and slopes.size and (slopes == slopes.reshape(-1)[0]).all():
        alpha = float(slopes.reshape(-1)[0])
        graph.replace(node, [helper.make_node("LeakyRelu", [node.input[0]], list(node.output), name=node.name, alpha=alpha)])


def _hard_swish_source(graph: Graph, node: onnx.NodeProto) -> str | None:
    """The tensor x where `node` computes x * relu6(x + 3) / 6, in any of the usual orders."""
    inner, scale = _without_factor(graph, node)
    product = node if scale is None else graph.producers().get(inner)
    if product is None or product.op_type != "Mul" or len(product.input) != 2:
        return None
    for source, gate in (tuple(product.input), tuple(product.input)[::-1]):
        found, gate_scale = _gate_source(graph, gate)
        factors = [factor for factor in (scale, gate_scale) if factor is not None]
        if found == source and found not in graph.constants and len(factors) == 1 and abs(factors[0] * 6 - 1) < _TOLERANCE:
            return found
    return None


def _gate_source(graph: Graph, name: str) -> tuple[str | None, float | None]:
    """(x, factor) where `name` is factor * relu6(x + 3); (x, None) where there is no factor; (None, None) otherwise."""
    node = graph.producers().get(name)
    if node is None:
        return None, None
    if node.op_type == "HardSigmoid":
        attributes = attributes_of(node)
        fits = abs(attributes.get("alpha", 0.2) * 6 - 1) < _TOLERANCE and abs(attributes.get("beta", 0.5) - 0.5) < _TOLERANCE
        return (node.input[0], 1 / 6) if fits else (None, None)
    inner, factor = _without_factor(graph, node)
    clip = node if factor is None else graph.producers().get(inner)
    if clip is None or clip.op_type != "Clip" or (_scalar(graph, clip, 1), _scalar(graph, clip, 2)) != (0.0, 6.0):
        return None, None
    addition = graph.producers().get(clip.input[0])
    if addition is None or addition.op_type != "Add":
        return None, None
    for index in (0, 1):
        if _scalar(graph, addition, 1 - index) == 3.0:
            return addition.input[index], factor
    return None, None


def _without_factor(graph: Graph, node: onnx.NodeProto) -> tuple[str, float | None]:
    """(tensor, factor) where `node` multiplies by or divides by a constant number; the factor is None where it does not."""
    if node.op_type == "Div" and (divisor := _scalar(graph, node, 1)) is not None and divisor != 0:
        return node.input[0], 1 / divisor
    if node.op_type == "Mul":
        for index in (0, 1):
            if (factor := _scalar(graph, node, 1 - index)) is not None:
                return node.input[index], factor
    return node.input[0] if node.input else "", None


def _scalar(graph: Graph, node: onnx.NodeProto, index: int) -> float | None:
    values = constant_input(graph, node, index)
    return float(values.reshape(-1)[0]) if values is not None and values.size == 1 else None
