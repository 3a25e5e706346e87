"""Computes what depends on no input, shape arithmetic included, and removes nodes that do nothing at inference."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tinyc.errors import ModelError, printable
from tinyc.quantize.graph import Graph, attributes_of, constant_input
from tinyc.quantize.messages import first_line

_TRANSPARENT = frozenset({"Identity", "Dropout"})
_MAX_VALUES = 1 << 24


def fold_constants(graph: Graph) -> None:
    """Replaces constant nodes by constants (arrays of up to 16 M values) and drops Identity, Dropout and Casts to the own type."""
    changed = True
    while changed:
        shapes = graph.shapes()
        changed = False
        for node in list(graph.nodes):
            values = _evaluated(graph, node, shapes)
            if values is not None:
                graph.constants[node.output[0]] = values
                graph.nodes = [candidate for candidate in graph.nodes if candidate is not node]
                changed = True
            elif _does_nothing(graph, node, shapes):
                graph.bypass(node)
                changed = True
                # Names have moved; look at the shapes again.
                break
    graph.prune()


def _does_nothing(graph: Graph, node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    if any(graph.uses()[name] for name in node.output[1:]):
        # The mask of a Dropout is read.
        return False
    if node.op_type in _TRANSPARENT:
        is_boundary = node.input[0] not in graph.producers() and any(value.name == node.output[0] for value in graph.outputs)
        return not is_boundary
    if node.op_type == "Cast":
        # Float tensors are all there is besides shapes, and those are folded.
        return attributes_of(node)["to"] == onnx.TensorProto.FLOAT and node.input[0] in {value.name for value in graph.inputs}
    if node.op_type == "Pad":
        pads = constant_input(graph, node, 1)
        return pads is not None and not pads.any()
    if node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        return shapes.get(node.input[0]) is not None and shapes.get(node.input[0]) == shapes.get(node.output[0])
    return False


def _evaluated(
    graph: Graph, node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
    if len(node.output) != 1 or any(
        attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute
    ):
        return None
    if node.op_type == "Shape" and node.input[0] in shapes:
        attributes = attributes_of(node)
        return np.asarray(shapes[node.input[0]][attributes.get("start", 0) : attributes.get("end", None)], np.int64)
    if any(name and name not in graph.constants for name in node.input) or node.op_type.startswith("Random"):
        return None
    if np.prod(shapes.get(node.output[0], ()), dtype=np.int64) > _MAX_VALUES:
        return None
    feeds = {name: graph.constants[name] for name in node.input if name}
    declared = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape) for name, values in feeds.items()
    ]
    alone = helper.make_graph([node], "constant", declared, [onnx.ValueInfoProto(name=node.output[0])])
    model = helper.make_model(alone, opset_imports=[helper.make_opsetid("", graph.opset)])
    if node.op_type == "Constant" and (value := attributes_of(node).get("value")) is not None:
        return numpy_helper.to_array(value).copy()
    try:
        (result,) = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:  # The evaluator raises whatever numpy or its own code raises.
        raise ModelError(f"the constant {printable(node.name)} ({node.op_type}) cannot be computed: {first_line(error)}") from error
    return np.asarray(result)
