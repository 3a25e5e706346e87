"""Folds ReLU and Clip into the quantisation of the result that they act on.

Values outside the range that 8 bits cover saturate. Where the range ends at the bound of the activation, saturating *is* the activation,
and the node disappears.
"""

from __future__ import annotations

import onnx

from tinyc.quantize.graph import Graph, constant_input

_REQUANTISING = frozenset({"Conv", "Gemm", "MatMul", "Add", "Sub", "Mul", "Concat", "GlobalAveragePool"})
"""Operators whose result has a scale of its own; the others pass on the scale of their input."""


def fold_activations(graph: Graph) -> None:
    """Removes each Relu and Clip whose bounds hold 0 and that alone reads the result of an operator with a scale of its own.

    The tensor keeps the name of the activation's result, so that ranges observed there apply.
    """
    for node in list(graph.nodes):
        producer = graph.producers().get(node.input[0])
        if producer is None or producer.op_type not in _REQUANTISING or not _keeps_zero(graph, node):
            continue
        if graph.uses()[node.input[0]] != 1:
            continue
        producer.output[0] = node.output[0]
        graph.nodes = [candidate for candidate in graph.nodes if candidate is not node]
    graph.prune()


def _keeps_zero(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type == "Relu":
        return True
    if node.op_type != "Clip":
        return False
    given = [index for index in (1, 2) if index < len(node.input) and node.input[index]]
    bounds = {index: constant_input(graph, node, index) for index in given}
    lower, upper = bounds.get(1), bounds.get(2)
    if any(values is None for values in bounds.values()):
        return False
    return (lower is None or float(lower.reshape(-1)[0]) <= 0) and (upper is None or float(upper.reshape(-1)[0]) >= 0)
