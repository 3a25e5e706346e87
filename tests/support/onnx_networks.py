"""A small quantised network in both of ONNX's forms, QDQ and QOperator, with the same constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from support.onnx_builder import GraphBuilder, Parameters

MICROSOFT = "com.microsoft"
IMAGE, FIRST, DEPTHWISE, SUM, POINTWISE, POOLED, JOINED, MEAN, RESULT = range(9)


def parameters(dtype: type) -> list[Parameters]:
    """Scales and zero points of the tensors, in the order of the names above."""
    real = [(0.05, 3), (0.04, -128), (0.06, 5), (0.08, -20), (6 / 255, -128), (0.02, -100), (0.05, 10), (0.03, -90), (0.1, 7)]
    shift = 0 if dtype is np.int8 else 128
    return [(scale, zero_point + shift) for scale, zero_point in real]


class _Form:
    """Adds layers to a graph, in one of the two forms; values are names of int8 tensors."""

    def __init__(self, qdq: bool, dtype: type, seed: int) -> None:
        self.graph, self.qdq, self.random = GraphBuilder(dtype), qdq, np.random.default_rng(seed)

    def weighted(
        self, op: str, source: str, given: Parameters, shape: tuple[int, ...], out: Parameters, name: str, **attributes: Any
    ) -> str:
        """Conv or Gemm with weights (outputs, ...)."""
        scales = self.random.uniform(0.002, 0.01, shape[0]).astype(np.float32)
        values = self.random.integers(-127, 128, shape).astype(np.int8)
        bias = self.random.integers(-2000, 2000, shape[0]).astype(np.int32)
        graph = self.graph
        if self.qdq:
            inputs = [graph.node("DequantizeLinear", [source, *graph.parameters(f"{name}_x", given)], f"{name}_real")]
            inputs.append(graph.weights(f"{name}_w", values, scales, 0))
            inputs.append(graph.bias(f"{name}_b", bias, np.float32(given[0]) * scales))
            return graph.quantize(graph.node(op, inputs, name, **attributes), out)
        inputs = [source, *graph.parameters(f"{name}_x", given), graph.constant(f"{name}_w", values)]
        inputs += [graph.constant(f"{name}_w_scale", scales), graph.constant(f"{name}_w_zero", np.zeros(shape[0], np.int8))]
        result, constant = graph.parameters(f"{name}_y", out), graph.constant(f"{name}_b", bias)
        if op == "Conv":
            return graph.node("QLinearConv", [*inputs, *result, constant], name, **attributes)
        return graph.node("QGemm", [*inputs, constant, *result], name, MICROSOFT, **attributes)

    def other(self, op: str, sources: list[tuple[str, Parameters]], out: Parameters, name: str, **attributes: Any) -> str:
        """An op without weights."""
        graph = self.graph
        if self.qdq:
            inputs = [
                graph.node("DequantizeLinear", [source, *graph.parameters(f"{name}_x{index}", given)], f"{name}_real{index}")
                for index, (source, given) in enumerate(sources)
            ]
            return graph.quantize(graph.node(op, inputs, name, **attributes), out)
        described = [
            part for index, (source, given) in enumerate(sources) for part in (source, *graph.parameters(f"{name}_x{index}", given))
        ]
        result = graph.parameters(f"{name}_y", out)
        order = [*result, *described] if op == "Concat" else [*described, *result]
        return graph.node(f"QLinear{op}", order, name, MICROSOFT, **attributes)

    def moved(self, op: str, source: str, given: Parameters, name: str, extra: tuple[str, ...] = (), **attributes: Any) -> str:
        """An op that keeps values as they are."""
        graph = self.graph
        if not self.qdq:
            return graph.node(op, [source, *extra], name, **attributes)
        real = graph.node("DequantizeLinear", [source, *graph.parameters(f"{name}_x", given)], f"{name}_real")
        return graph.quantize(graph.node(op, [real, *extra], name, **attributes), given)


def network(qdq: bool, dtype: type = np.int8, seed: int = 0, batch: int | str = 1, float_boundary: bool = True) -> onnx.ModelProto:
    """Convolutions (strided, depthwise, pointwise), a residual sum, a pool, a branch that is resized and joined, a mean, a matrix product.

    The boundary is float32, or the quantised type itself.
    """
    form, p = _Form(qdq, dtype, seed), parameters(dtype)
    graph = form.graph
    graph.input("image", [batch, 3, 16, 16], np.float32 if float_boundary else dtype)
    image = graph.quantize("image", p[IMAGE]) if float_boundary else "image"
    first = form.weighted("Conv", image, p[IMAGE], (8, 3, 3, 3), p[FIRST], "first", strides=[2, 2], pads=[1, 1, 1, 1])
    depthwise = form.weighted("Conv", first, p[FIRST], (8, 1, 3, 3), p[DEPTHWISE], "depthwise", group=8, pads=[1, 1, 1, 1])
    total = form.other("Add", [(first, p[FIRST]), (depthwise, p[DEPTHWISE])], p[SUM], "total")
    pointwise = form.weighted("Conv", total, p[SUM], (16, 8, 1, 1), p[POINTWISE], "pointwise")
    pooled = form.moved("MaxPool", pointwise, p[POINTWISE], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    grouped = form.weighted("Conv", pooled, p[POINTWISE], (8, 4, 3, 3), p[POOLED], "grouped", group=4, pads=[1, 1, 1, 1])
    scales = graph.constant("factors", np.array([1, 1, 2, 2], np.float32))
    modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    resized = form.moved("Resize", grouped, p[POOLED], "resized", ("", scales), **modes)
    joined = form.other("Concat", [(resized, p[POOLED]), (total, p[SUM])], p[JOINED], "joined", axis=1)
    mean = form.other("GlobalAveragePool", [(joined, p[JOINED])], p[MEAN], "mean")
    flat = form.moved("Reshape", mean, p[MEAN], "flat", (graph.constant("shape", np.array([0, -1])),))
    result = form.weighted("Gemm", flat, p[MEAN], (10, 16), p[RESULT], "result", transB=1)
    if float_boundary:
        graph.output(graph.dequantize(result, p[RESULT]))
    else:
        graph.output(result, dtype)
    return graph.model()
