"""Rewrites operators into the few that 8-bit arithmetic has rules for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import helper

from tinyc.quantize.graph import Graph, attributes_of, constant_input

Shapes = Mapping[str, tuple[int, ...]]


def simplify(graph: Graph) -> None:
    """Applies the rules below until none applies.

    ReduceMean over rows and columns becomes GlobalAveragePool, a maximum over them MaxPool; HardSigmoid behind a layer with weights becomes
    Mul, Add and Clip; MatMul with constant weights, and Add behind it, become Gemm; every Gemm has alpha, beta = 1 and transposed weights;
    division by and subtraction of a constant become Mul and Add; a Clip at 0 without upper bound becomes Relu.
    """
    changed = True
    while changed:
        shapes = graph.shapes()
        changed = any([rule(graph, node, shapes) for node in list(graph.nodes) if (rule := _RULES.get(node.op_type))])
    _join_biases(graph)
    graph.prune()


def _mean(graph: Graph, node: onnx.NodeProto, shapes: Shapes) -> bool:
    if not _reduces_image(graph, node, shapes):
        return False
    _replace_reduction(graph, node, lambda result: helper.make_node("GlobalAveragePool", [node.input[0]], [result], name=node.name))
    return True


def _maximum(graph: Graph, node: onnx.NodeProto, shapes: Shapes) -> bool:
    if node.op_type == "GlobalMaxPool" and len(shapes.get(node.input[0], ())) != 4:
        return False
    if node.op_type == "ReduceMax" and not _reduces_image(graph, node, shapes):
        return False
    size = list(shapes[node.input[0]][2:])
    _replace_reduction(
        graph, node, lambda result: helper.make_node("MaxPool", [node.input[0]], [result], name=node.name, kernel_shape=size)
    )
    return True


def _reduces_image(graph: Graph, node: onnx.NodeProto, shapes: Shapes) -> bool:
    """Whether the node reduces rows and columns of an image, and nothing else."""
    listed = constant_input(graph, node, 1)
    axes = attributes_of(node).get("axes") if listed is None else listed.reshape(-1).tolist()
    return axes is not None and len(shapes.get(node.input[0], ())) == 4 and sorted(int(axis) % 4 for axis in axes) == [2, 3]


def _replace_reduction(graph: Graph, node: onnx.NodeProto, pool: Callable[[str], onnx.NodeProto]) -> None:
    """Puts `pool`, a function of its result's name, for `node`, and a Flatten behind it where the node drops the reduced axes."""
    result = node.output[0]
    if attributes_of(node).get("keepdims", 1):
        graph.replace(node, [pool(result)])
        return
    pooled = f"{result}.pooled"
    graph.replace(node, [pool(pooled), helper.make_node("Flatten", [pooled], [result], name=f"{node.name}.flatten", axis=1)])


def _hard_sigmoid(graph: Graph, node: onnx.NodeProto, shapes: Shapes) -> bool:
    """Behind a convolution or Gemm only: there all three parts fold into weights, bias and range. Elsewhere one table is cheaper."""
    layer = graph.producers().get(node.input[0])
    if layer is None or layer.op_type not in ("Conv", "Gemm") or graph.uses()[node.input[0]] != 1:
        return False
    attributes, result = attributes_of(node), node.output[0]
    constants = {"alpha": attributes.get("alpha", 0.2), "beta": attributes.get("beta", 0.5), "zero": 0.0, "one": 1.0}
    names = {part: graph.add_constant(f"{node.name}.{part}", np.array(value, np.float32)) for part, value in constants.items()}
    scaled, shifted = f"{result}.scaled", f"{result}.shifted"
    nodes = [
        helper.make_node("Mul", [node.input[0], names["alpha"]], [scaled], name=f"{node.name}.scale"),
        helper.make_node("Add", [scaled, names["beta"]], [shifted], name=f"{node.name}.shift"),
        helper.make_node("Clip", [shifted, names["zero"], names["one"]], [result], name=f"{node.name}.clip"),
    ]
    graph.replace(node, nodes)
    return True


def _divide(graph: Graph, node: onnx.NodeProto, shapes: Shapes) -> bool:
    divisor = constant_input(graph, node, 1)
    if divisor is None or not divisor.all():
        return False
    name = graph.add_constant(f"{node.name}.reciprocal", (1 / divisor.astype(np.float64)).astype(np.float32))
    graph.replace(node, [helper.make_node("Mul", [node.input[0], name], list(node.output), name=node.name)])
    return True


def _subtract(graph: Graph, node: onnx.NodeProto, shapes: Shapes) -> bool:
    subtrahend = constant_input(graph, node, 1)
    if subtrahend is None:
        return False
    name = graph.add_constant(f"{node.name}.negative", -subtrahend)
    graph.replace(node, [helper.make_node("Add", [node.input[0], name], list(node.output), name=node.name)])
    return True


def _clip(graph: Graph, node: onnx.NodeProto, shapes: Shapes) -> bool:
    lower = constant_input(graph, node, 1)
    has_upper = len(node.input) > 2 and bool(node.input[2])
    if lower is None or float(lower.reshape(-1)[0]) != 0.0 or has_upper:
        return False
    graph.replace(node, [helper.make_node("Relu", [node.input[0]], list(node.output), name=node.name)])
    return True


def _matrix_product(graph: Graph, node: onnx.NodeProto, shapes: Shapes) -> bool:
    weights = constant_input(graph, node, 1)
    if weights is None or weights.ndim != 2 or len(shapes.get(node.input[0], ())) != 2:
        return False
    name = graph.add_constant(f"{node.input[1]}.transposed", np.ascontiguousarray(weights.T))
    graph.replace(node, [helper.make_node("Gemm", [node.input[0], name], list(node.output), name=node.name, transB=1)])
    return True


def _gemm(graph: Graph, node: onnx.NodeProto, shapes: Shapes) -> bool:
    attributes = attributes_of(node)
    weights, bias = constant_input(graph, node, 1), constant_input(graph, node, 2)
    alpha, beta, transposed = attributes.get("alpha", 1.0), attributes.get("beta", 1.0), attributes.get("transB", 0)
    has_bias = len(node.input) > 2 and bool(node.input[2])
    plain = alpha == 1.0 and beta == 1.0 and transposed == 1 and (bias is None or bias.ndim == 1)
    if (
        plain
        or weights is None
        or attributes.get("transA", 0)
        or (has_bias and (bias is None or bias.size not in (1, bias.shape[-1] if bias.ndim else 1)))
    ):
        return False
    rows = np.asarray((weights if transposed else weights.T) * np.float32(alpha), np.float32)
    inputs = [node.input[0], graph.add_constant(f"{node.input[1]}.rows", np.ascontiguousarray(rows))]
    if bias is not None:
        if bias.size not in (1, len(rows)):
            return False
        scaled = np.broadcast_to(bias.reshape(-1) * np.float32(beta), (rows.shape[0],)).astype(np.float32)
        inputs.append(graph.add_constant(f"{node.input[2]}.scaled", scaled))
    graph.replace(node, [helper.make_node("Gemm", inputs, list(node.output), name=node.name, transB=1)])
    return True


def _join_biases(graph: Graph) -> None:
    """Gives a Gemm without bias the constant vector that is added behind it."""
    for node in list(graph.nodes):
        if node.op_type != "Add":
            continue
        names = [name for name in node.input if name in graph.constants]
        sources = [name for name in node.input if name not in graph.constants]
        layer = graph.producers().get(sources[0]) if len(names) == len(sources) == 1 else None
        if layer is None or layer.op_type != "Gemm" or len(layer.input) != 2 or graph.uses()[sources[0]] != 1:
            continue
        bias, weights = graph.constants[names[0]], constant_input(graph, layer, 1)
        if weights is None or bias.size != weights.shape[0] or max(bias.shape, default=1) != bias.size:
            continue
        layer.input.append(graph.add_constant(f"{layer.name}.bias", bias.reshape(-1)))
        if node.input[0] != sources[0]:
            node.input[0], node.input[1] = node.input[1], node.input[0]
        graph.bypass(node)


_RULES: Mapping[str, Callable[[Graph, onnx.NodeProto, Shapes], bool]] = {
    "GlobalMaxPool": _maximum,
    "ReduceMax": _maximum,
    "ReduceMean": _mean,
    "HardSigmoid": _hard_sigmoid,
    "Div": _divide,
    "Sub": _subtract,
    "Clip": _clip,
    "MatMul": _matrix_product,
    "Gemm": _gemm,
}
