"""Small ONNX models for tests: one op between DequantizeLinear and QuantizeLinear, and a network of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
Parameters = tuple[float, int]
"""Scale and zero point."""

ELEMENTS = {np.dtype(np.int8): TensorProto.INT8, np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.float32): TensorProto.FLOAT}
DOMAINS = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]


class GraphBuilder:
    """Collects nodes, constants and the boundary of one graph."""

    def __init__(self, dtype: type = np.int8) -> None:
        self.dtype = np.dtype(dtype)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def constant(self, name: str, values: Any) -> str:
        """A named constant; its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, op: str, inputs: Sequence[str], name: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output that is called like it."""
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def input(self, name: str, shape: Sequence[int | str], dtype: Any = np.float32) -> str:
        """A graph input."""
        self.inputs.append(helper.make_tensor_value_info(name, ELEMENTS[np.dtype(dtype)], list(shape)))
        return name

    def output(self, name: str, dtype: Any = np.float32) -> None:
        """A graph output of unknown shape."""
        self.outputs.append(helper.make_tensor_value_info(name, ELEMENTS[np.dtype(dtype)], None))

    def parameters(self, name: str, parameters: Parameters) -> list[str]:
        """Scale and zero point as constants."""
        scale, zero_point = parameters
        return [self.constant(f"{name}_scale", np.float32(scale)), self.constant(f"{name}_zero", np.array(zero_point, self.dtype))]

    def quantize(self, source: str, parameters: Parameters) -> str:
        """QuantizeLinear."""
        return self.node("QuantizeLinear", [source, *self.parameters(f"{source}_q", parameters)], f"{source}_quantized")

    def dequantize(self, source: str, parameters: Parameters) -> str:
        """DequantizeLinear."""
        return self.node("DequantizeLinear", [source, *self.parameters(f"{source}_d", parameters)], f"{source}_real")

    def fake(self, source: str, parameters: Parameters) -> str:
        """QuantizeLinear and DequantizeLinear."""
        return self.dequantize(self.quantize(source, parameters), parameters)

    def weights(self, name: str, values: Array, scales: Array, axis: int) -> str:
        """int8 weights behind a DequantizeLinear; one scale, or one for each position along `axis`."""
        zero = np.zeros(scales.shape, np.int8)
        inputs = [
            self.constant(name, values),
            self.constant(f"{name}_scale", scales.astype(np.float32)),
            self.constant(f"{name}_zero", zero),
        ]
        return self.node("DequantizeLinear", inputs, f"{name}_real", axis=axis)

    def bias(self, name: str, values: Array, scales: Array) -> str:
        """int32 bias behind a DequantizeLinear."""
        zero = np.zeros(scales.shape, np.int32)
        inputs = [self.constant(name, values.astype(np.int32)), self.constant(f"{name}_scale", scales.astype(np.float32))]
        return self.node("DequantizeLinear", [*inputs, self.constant(f"{name}_zero", zero)], f"{name}_real", axis=0)

    def model(self, opset: int = 17) -> onnx.ModelProto:
        """The model."""
        graph = helper.make_graph(self.nodes, "graph", self.inputs, self.outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)])
        model.ir_version = 8
        return model


def one_op(
    op: str,
    inputs: Sequence[tuple[Parameters, Sequence[int]]],
    output: Parameters,
    dtype: type = np.int8,
    extra: Mapping[str, Any] | None = None,
    opset: int = 17,
    **attributes: Any,
) -> onnx.ModelProto:
    """Quantised inputs x0, ..., the op on their real values and on the constants `extra`, quantised output y."""
    graph = GraphBuilder(dtype)
    names = []
    for index, (parameters, shape) in enumerate(inputs):
        graph.input(f"x{index}", shape, dtype)
        names.append(graph.dequantize(f"x{index}", parameters))
    names += ["" if values is None else graph.constant(name, values) for name, values in (extra or {}).items()]
    quantized = graph.quantize(graph.node(op, names, "result", **attributes), output)
    graph.output(quantized, dtype)
    return graph.model(opset)


def run_onnxruntime(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """Outputs of ONNX Runtime's CPU provider with int8 arithmetic; uint8 ones as int8, 128 lower."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [as_int8(np.asarray(array)) for array in session.run(None, dict(feeds))]


def as_int8(values: Array) -> Array:
    """uint8 as int8, 128 lower; other arrays as they are."""
    return (values.astype(np.int16) - 128).astype(np.int8) if values.dtype == np.uint8 else values
