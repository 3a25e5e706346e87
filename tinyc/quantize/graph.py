"""An ONNX graph that rewrites can work on: nodes in order, constants as arrays, and who makes and reads a tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

Array = NDArray[Any]


@dataclass
class Graph:
    """The body of a model, mutable: `nodes` is in topological order, `constants` holds the initializers' values by name."""

    name: str
    nodes: list[onnx.NodeProto]
    constants: dict[str, Array]
    inputs: list[onnx.ValueInfoProto]
    outputs: list[onnx.ValueInfoProto]
    opset: int

    def model(self) -> onnx.ModelProto:
        """The graph as a model; constants that nothing reads are left out."""
        used = {name for node in self.nodes for name in node.input} | {value.name for value in self.outputs}
        return helper.make_model(
            helper.make_graph(
                self.nodes,
                self.name,
                self.inputs,
                self.outputs,
                [numpy_helper.from_array(values, name) for name, values in self.constants.items() if name in used],
            ),
            opset_imports=[helper.make_opsetid("", self.opset)],
            # What the opset needs at least, so that older run-times read the file.
            ir_version=helper.find_min_ir_version_for([helper.make_opsetid("", self.opset)]),
            producer_name="tinyc",
        )

    def producers(self) -> dict[str, onnx.NodeProto]:
        """Node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.output if name}

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """Nodes that read the tensor `name`."""
        return [node for node in self.nodes if name in node.input]

    def uses(self) -> Counter[str]:
        """How often each tensor is read, by nodes and as an output of the graph."""
        return Counter([name for node in self.nodes for name in node.input] + [value.name for value in self.outputs])

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor that shape inference reaches and finds static, constants included."""
        inferred = shape_inference.infer_shapes(self.model(), data_prop=True).graph
        known = {
            value.name: tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
            for value in [*inferred.value_info, *inferred.output, *inferred.input]
            if value.type.tensor_type.HasField("shape")
            and all(dimension.HasField("dim_value") for dimension in value.type.tensor_type.shape.dim)
        }
        return known | {name: values.shape for name, values in self.constants.items()}

    def add_constant(self, name: str, values: Array) -> str:
        """Stores `values` under a free name that begins with `name`, and returns it."""
        taken = {tensor for node in self.nodes for tensor in (*node.input, *node.output)} | set(self.constants)
        chosen, number = name, 1
        while chosen in taken:
            chosen, number = f"{name}_{number}", number + 1
        self.constants[chosen] = np.asarray(values)
        return chosen

    def replace(self, node: onnx.NodeProto, replacement: Iterable[onnx.NodeProto]) -> None:
        """Puts `replacement` where `node` is."""
        index = next(index for index, candidate in enumerate(self.nodes) if candidate is node)
        self.nodes[index : index + 1] = list(replacement)

    def bypass(self, node: onnx.NodeProto) -> None:
        """Removes a node with one output; its readers read its first input instead. The graph's outputs keep their names."""
        source, result = node.input[0], node.output[0]
        self.nodes = [candidate for candidate in self.nodes if candidate is not node]
        if all(value.name != result for value in self.outputs):
            self.rename(result, source)
            return
        producer = self.producers().get(source)
        if producer is None or any(value.name == source for value in self.outputs):
            # An input or constant that is also an output: something must carry the output's name.
            self.nodes.append(helper.make_node("Identity", [source], [result], name=node.name))
            return
        producer.output[list(producer.output).index(source)] = result
        self.rename(source, result)

    def rename(self, old: str, new: str) -> None:
        """Makes all readers of `old` read `new`."""
        for node in self.nodes:
            for index, name in enumerate(node.input):
                if name == old:
                    node.input[index] = new

    def prune(self) -> None:
        """Removes nodes whose results nothing uses."""
        needed, kept = {value.name for value in self.outputs}, []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: values for name, values in self.constants.items() if name in needed}


def attributes_of(node: onnx.NodeProto) -> Mapping[str, Any]:
    """Attributes as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def set_attribute(node: onnx.NodeProto, name: str, value: object) -> None:
    """Sets or replaces one attribute."""
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def constant_input(graph: Graph, node: onnx.NodeProto, index: int) -> Array | None:
    """The constant that input `index` of `node` reads; None where the input is absent or computed."""
    return graph.constants.get(node.input[index]) if index < len(node.input) else None
