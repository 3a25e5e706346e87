"""Float ONNX models of a few nodes, and how tests run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinyc.quantize.graph import Graph
from tinyc.quantize.post_training import prepare
from tinyc.quantize.read_float import read_float_model

Node = onnx.NodeProto
node = helper.make_node


def make_model(
    nodes: Sequence[Node],
    constants: Mapping[str, np.ndarray] | None = None,
    shape: Sequence[int | str] = (1, 4, 6, 6),
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    functions: Sequence[onnx.FunctionProto] = (),
    rank: int | None = None,
) -> onnx.ModelProto:
    """A model with the input `x`; outputs have `rank` axes, by default as many as the input."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        # The checker wants a rank; the sizes may stay free.
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * (rank or len(shape))) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *[helper.make_opsetid(function.domain, 1) for function in functions]]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=list(functions))


def random_constants(**shapes: Sequence[int]) -> dict[str, np.ndarray]:
    """Normal float32 values by name; names that begin with `var` are positive."""
    random = np.random.RandomState(0)
    values = {name: random.normal(0, 1, tuple(shape)).astype(np.float32) for name, shape in shapes.items()}
    return {name: np.abs(array) + np.float32(0.1) if name.startswith("var") else array for name, array in values.items()}


def save(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """The model as a file."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def prepared(model: onnx.ModelProto, folder: Path) -> Graph:
    """The graph of `model` as the quantiser sees it."""
    return prepare(read_float_model(save(model, folder)), "model.onnx")


def run(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs in ONNX Runtime, every node executed as it stands."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def assert_same_function(model: onnx.ModelProto, graph: Graph, shape: Sequence[int] = (1, 4, 6, 6)) -> None:
    """The graph computes what the model computes, up to float rounding."""
    random = np.random.RandomState(1)
    for _ in range(3):
        feeds = {"x": random.normal(0, 2, tuple(shape)).astype(np.float32)}
        for expected, found in zip(run(model, feeds), run(graph.model(), feeds), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def operators(graph: Graph) -> list[str]:
    """Operator names in order."""
    return [one.op_type for one in graph.nodes]
