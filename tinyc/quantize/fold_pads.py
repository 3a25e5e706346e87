"""Folds a Pad with zeros over rows and columns into the convolution or average pool behind it."""

from __future__ import annotations

import onnx

from tinyc.quantize.graph import Array, Graph, attributes_of, constant_input, set_attribute


def fold_pads(graph: Graph) -> None:
    """Removes each Pad whose only readers can pad themselves."""
    for node in list(graph.nodes):
        if node.op_type != "Pad":
            continue
        around = _spatial_zero_pads(graph, node)
        readers = graph.readers(node.output[0])
        is_output = any(value.name == node.output[0] for value in graph.outputs)
        if around is None or is_output or not all(_can_pad(graph, reader, node.output[0]) for reader in readers):
            continue
        for reader in readers:
            own = list(attributes_of(reader).get("pads", (0, 0, 0, 0)))
            set_attribute(reader, "pads", [one + other for one, other in zip(own, around, strict=True)])
        graph.bypass(node)
    graph.prune()


def _spatial_zero_pads(graph: Graph, node: onnx.NodeProto) -> list[int] | None:
    pads, value, axes = (constant_input(graph, node, index) for index in (1, 2, 3))
    computed = any(index < len(node.input) and node.input[index] and node.input[index] not in graph.constants for index in (1, 2, 3))
    if computed or pads is None or attributes_of(node).get("mode", b"constant") != b"constant":
        return None
    if value is not None and float(value.reshape(-1)[0]) != 0.0:
        return None
    full = _all_axes(pads, axes)
    # Order: begin of n, c, h, w, then end of n, c, h, w.
    if full is None or any(full[index] for index in (0, 1, 4, 5)) or any(amount < 0 for amount in full):
        return None
    return [full[2], full[3], full[6], full[7]]


def _all_axes(pads: Array, axes: Array | None) -> list[int] | None:
    amounts = [int(amount) for amount in pads.reshape(-1)]
    if axes is None:
        return amounts if len(amounts) == 8 else None
    chosen = [int(axis) % 4 for axis in axes.reshape(-1)]
    full = [0] * 8
    for position, axis in enumerate(chosen):
        full[axis], full[axis + 4] = amounts[position], amounts[position + len(chosen)]
    return full


def _can_pad(graph: Graph, reader: onnx.NodeProto, name: str) -> bool:
    attributes = attributes_of(reader)
    if reader.input[0] != name or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return False
    if reader.op_type == "Conv":
        weights = constant_input(graph, reader, 1)
        return weights is not None and weights.ndim == 4
    # The pool must count the zeros, and must not have counted its own padding otherwise.
    counts = attributes.get("count_include_pad", 0) == 1
    return reader.op_type == "AveragePool" and (counts and not attributes.get("ceil_mode", 0))
