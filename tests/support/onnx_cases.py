"""Random one-op ONNX models of every supported op, for comparison with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from support.onnx_builder import GraphBuilder, one_op

Array = npt.NDArray[Any]
Feeds = dict[str, Array]
Case = tuple[onnx.ModelProto, Feeds]


@dataclass(frozen=True)
class Draw:
    """Random numbers for one case with tensors of `dtype`, int8 or uint8."""

    random: np.random.Generator
    dtype: type

    def integer(self, low: int, high: int) -> int:
        """low to high - 1."""
        return int(self.random.integers(low, high))

    def scale(self) -> float:
        """A scale; half of them round, so that ties occur."""
        value = float(np.exp(self.random.uniform(-5, -1)))
        return float(np.float32(round(value * 500) / 500 + 0.002 if self.integer(0, 2) else value))

    def zero_point(self) -> int:
        """Any zero point."""
        low = -128 if self.dtype is np.int8 else 0
        return self.integer(low, low + 256)

    def values(self, *shape: int) -> Array:
        """Any values."""
        low = -128 if self.dtype is np.int8 else 0
        return self.random.integers(low, low + 256, shape).astype(self.dtype)

    def image(self) -> tuple[int, int, int, int]:
        """A small image."""
        return 1, self.integer(1, 12), self.integer(2, 9), self.integer(2, 9)


def _binary(op: str) -> Callable[[Draw], Case]:
    def case(draw: Draw) -> Case:
        image = draw.image()
        _, channels, height, width = image
        shapes = [
            image,
            (1, channels, 1, 1),
            (channels, 1, 1),
            (1,),
            (1, 1, height, width),
            (1, channels, 1, width),
            (1, channels, height, 1),
        ]
        pair = [image, shapes[draw.integer(0, len(shapes))]]
        if draw.integer(0, 2):
            pair.reverse()
        first, second = draw.scale(), draw.scale()
        out = first * second * 60 if op == "Mul" else (first + second) * 0.7
        inputs = [((first, draw.zero_point()), pair[0]), ((second, draw.zero_point()), pair[1])]
        model = one_op(op, inputs, (out, draw.zero_point()), draw.dtype)
        return model, {"x0": draw.values(*pair[0]), "x1": draw.values(*pair[1])}

    return case


def _unary(op: str, **attributes: Any) -> Callable[[Draw], Case]:
    def case(draw: Draw) -> Case:
        shape, scale = draw.image(), draw.scale()
        out = (scale * draw.random.uniform(0.3, 1.3), draw.zero_point())
        return one_op(op, [((scale, draw.zero_point()), shape)], out, draw.dtype, **attributes), {"x0": draw.values(*shape)}

    return case


def _clip(draw: Draw) -> Case:
    shape, scale = draw.image(), draw.scale()
    bounds = {"low": np.float32(draw.random.uniform(-1, 0)), "high": np.float32(draw.random.uniform(0, 3))}
    same = ((scale, draw.zero_point()), shape)
    out = same[0] if draw.integer(0, 2) else (scale * 1.1, draw.zero_point())
    return one_op("Clip", [same], out, draw.dtype, bounds), {"x0": draw.values(*shape)}


def _pool(op: str) -> Callable[[Draw], Case]:
    def case(draw: Draw) -> Case:
        shape, scale, zero_point = draw.image(), draw.scale(), draw.zero_point()
        kernel = [draw.integer(1, shape[2] + 1), draw.integer(1, shape[3] + 1)]
        pads = [draw.integer(0, (kernel[0] + 1) // 2), draw.integer(0, (kernel[1] + 1) // 2)] * 2
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": [draw.integer(1, 3), draw.integer(1, 3)], "pads": pads}
        if op == "AveragePool":
            attributes["count_include_pad"] = draw.integer(0, 2)
        else:
            attributes["ceil_mode"] = draw.integer(0, 2)
        out = (scale, zero_point) if draw.integer(0, 2) else (scale * 0.8, draw.zero_point())
        return one_op(op, [((scale, zero_point), shape)], out, draw.dtype, **attributes), {"x0": draw.values(*shape)}

    return case


def _softmax(draw: Draw) -> Case:
    shape, low = (1, *(draw.integer(2, 12) for _ in range(3))), -128 if draw.dtype is np.int8 else 0
    axis = (1, 2, 3, -1)[draw.integer(0, 4)]
    inputs = [((draw.scale(), draw.zero_point()), shape)]
    return one_op("Softmax", inputs, (1 / 256, low), draw.dtype, axis=axis), {"x0": draw.values(*shape)}


def _concat(draw: Draw) -> Case:
    shape = draw.image()
    shapes = [(1, draw.integer(1, 6), *shape[2:]) for _ in range(draw.integer(2, 4))]
    first = (draw.scale(), draw.zero_point())
    inputs = [(first if draw.integer(0, 2) else (draw.scale(), draw.zero_point()), each) for each in shapes]
    out = first if draw.integer(0, 2) else (draw.scale(), draw.zero_point())
    feeds = {f"x{index}": draw.values(*each) for index, each in enumerate(shapes)}
    return one_op("Concat", inputs, out, draw.dtype, axis=1), feeds


def _resize(draw: Draw) -> Case:
    shape, same = draw.image(), (draw.scale(), draw.zero_point())
    factors = np.array([1, 1, draw.integer(1, 4), draw.integer(1, 4)], np.float32)
    modes = [("asymmetric", "floor"), ("half_pixel", "round_prefer_floor")]
    coordinates, rounding = modes[draw.integer(0, 2)]
    attributes = {"mode": "nearest", "coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    model = one_op("Resize", [(same, shape)], same, draw.dtype, {"roi": None, "scales": factors}, **attributes)
    return model, {"x0": draw.values(*shape)}


def _moved(op: str, extra: Mapping[str, Any], channels: int = 6, **attributes: Any) -> Callable[[Draw], Case]:
    def case(draw: Draw) -> Case:
        shape, same = (1, channels, 4, 4), (draw.scale(), draw.zero_point())
        return one_op(op, [(same, shape)], same, draw.dtype, extra, **attributes), {"x0": draw.values(*shape)}

    return case


def _bounded_sum(draw: Draw) -> Case:
    """A sum behind which a Clip or a Relu follows that the quantisation mostly does not imply."""
    shape, first, second = draw.image(), draw.scale(), draw.scale()
    graph = GraphBuilder(draw.dtype)
    inputs = []
    for index, scale in enumerate((first, second)):
        graph.input(f"x{index}", shape, draw.dtype)
        inputs.append(graph.dequantize(f"x{index}", (scale, draw.zero_point())))
    total = graph.node(("Add", "Sub")[draw.integer(0, 2)], inputs, "total")
    if draw.integer(0, 2):
        limited = graph.node("Relu", [total], "limited")
    else:
        bounds = [
            graph.constant("low", np.float32(draw.random.uniform(-1, 0))),
            graph.constant("high", np.float32(draw.random.uniform(0, 3))),
        ]
        limited = graph.node("Clip", [total, *bounds], "limited")
    low = -128 if draw.dtype is np.int8 else 0
    out = ((first + second) * 0.7, draw.zero_point() if draw.integer(0, 3) else low)
    graph.output(graph.quantize(limited, out), draw.dtype)
    return graph.model(), {"x0": draw.values(*shape), "x1": draw.values(*shape)}


def _bounded_input(draw: Draw) -> Case:
    """A Relu or Clip on a float32 input."""
    graph, shape = GraphBuilder(draw.dtype), draw.image()
    graph.input("x", shape)
    if draw.integer(0, 2):
        limited = graph.node("Relu", ["x"], "limited")
    else:
        limited = graph.node("Clip", ["x", graph.constant("low", np.float32(-0.4)), graph.constant("high", np.float32(1.3))], "limited")
    graph.output(graph.quantize(limited, (draw.scale() / 8, draw.zero_point())), draw.dtype)
    return graph.model(), {"x": draw.random.normal(0, 2, shape).astype(np.float32)}


def _signal_pool(op: str) -> Callable[[Draw], Case]:
    def case(draw: Draw) -> Case:
        shape, same = (1, draw.integer(1, 6), draw.integer(4, 20)), (draw.scale(), draw.zero_point())
        attributes = {"kernel_shape": [draw.integer(1, 5)], "strides": [draw.integer(1, 3)]}
        return one_op(op, [(same, shape)], same, draw.dtype, **attributes), {"x0": draw.values(*shape)}

    return case


def _batched_product(draw: Draw) -> Case:
    """MatMul with weights of one dimension or more than two."""
    rows, depth, columns = draw.integer(1, 5), draw.integer(1, 12), draw.integer(1, 6)
    shapes = [
        ((2, rows, depth), (2, depth, columns)),
        ((1, 3, rows, depth), (3, depth, columns)),
        ((rows, depth), (2, depth, columns)),
        ((2, 1, rows, depth), (3, depth, columns)),
        ((1, rows, depth), (depth,)),
    ]
    shape, weights = shapes[draw.integer(0, len(shapes))]
    graph, random, scale = GraphBuilder(draw.dtype), draw.random, draw.scale()
    graph.input("x", shape, draw.dtype)
    inputs = [graph.dequantize("x", (scale, draw.zero_point()))]
    inputs.append(graph.weights("w", random.integers(-127, 128, weights).astype(np.int8), np.float32(0.01).reshape(()), 0))
    out = (float(np.float32(scale * 0.01 * np.sqrt(depth) * 60)), draw.zero_point())
    graph.output(graph.quantize(graph.node("MatMul", inputs, "result"), out), draw.dtype)
    return graph.model(), {"x": draw.values(*shape)}


def _weighted(op: str, any_zero_point: bool = False) -> Callable[[Draw], Case]:
    def case(draw: Draw) -> Case:
        graph, random = GraphBuilder(draw.dtype), draw.random
        scale, zero_point = draw.scale(), draw.zero_point()
        attributes: dict[str, Any] = {}
        if op == "Conv":
            shape: tuple[int, ...] = draw.image()
            channels = shape[1]
            groups = 1 if any_zero_point else (1, channels)[draw.integer(0, 2)]
            outputs = groups * draw.integer(1, 5)
            kernel = [draw.integer(1, min(4, shape[2] + 1)), draw.integer(1, min(4, shape[3] + 1))]
            weights, axis, depth = (outputs, channels // groups, *kernel), 0, channels // groups * kernel[0] * kernel[1]
            attributes = {"group": groups, "strides": [draw.integer(1, 3), draw.integer(1, 3)]}
            if draw.integer(0, 3):
                attributes["pads"] = [draw.integer(0, 2) for _ in range(4)]
            else:
                attributes["auto_pad"] = ("SAME_UPPER", "SAME_LOWER", "VALID")[draw.integer(0, 3)]
        else:
            depth, outputs, shape = draw.integer(1, 30), draw.integer(1, 20), (draw.integer(1, 4), 0)
            shape = (shape[0], depth)
            turned = op == "Gemm" and bool(draw.integer(0, 2))
            weights, axis = ((outputs, depth), 0) if turned else ((depth, outputs), 1)
            attributes = {"transB": int(turned)} if op == "Gemm" else {}
        scales = random.uniform(0.001, 0.02, outputs if draw.integer(0, 2) else 1).astype(np.float32)
        scales = scales if scales.size > 1 else scales.reshape(())
        graph.input("x", shape, draw.dtype)
        inputs = [graph.dequantize("x", (scale, zero_point))]
        if any_zero_point:
            inputs.append(_weights_with_zero_point(draw, graph, weights, float(scales.reshape(-1)[0])))
            scales = scales.reshape(-1)[0]
        else:
            inputs.append(graph.weights("w", random.integers(-127, 128, weights).astype(np.int8), scales, axis))
        if op != "MatMul" and draw.integer(0, 2):
            inputs.append(graph.bias("b", random.integers(-3000, 3000, outputs), np.float32(scale) * scales))
        out = (float(np.float32(scale * scales.mean() * np.sqrt(depth) * 60)), draw.zero_point())
        graph.output(graph.quantize(graph.node(op, inputs, "result", **attributes), out), draw.dtype)
        return graph.model(), {"x": draw.values(*shape)}

    return case


def _weights_with_zero_point(draw: Draw, graph: GraphBuilder, shape: tuple[int, ...], scale: float) -> str:
    """Weights of the activations' type, with one scale and any zero point."""
    inputs = [graph.constant("w", draw.values(*shape)), *graph.parameters("w", (scale, draw.zero_point()))]
    return graph.node("DequantizeLinear", inputs, "w_real")


CASES: dict[str, Callable[[Draw], Case]] = {
    "Abs": _unary("Abs"),
    "Add": _binary("Add"),
    "AveragePool": _pool("AveragePool"),
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _weighted("Conv"),
    "DepthToSpace": _moved("DepthToSpace", {}, 8, blocksize=2),
    "Elu": _unary("Elu"),
    "Elu with alpha": _unary("Elu", alpha=0.7),
    "Add or Sub, then bounds": _bounded_sum,
    "AveragePool of a signal": _signal_pool("AveragePool"),
    "Bounds on a float32 input": _bounded_input,
    "Conv, any zero point": _weighted("Conv", True),
    "Gemm, any zero point": _weighted("Gemm", True),
    "HardSigmoid": _unary("HardSigmoid"),
    "HardSigmoid with parameters": _unary("HardSigmoid", alpha=1 / 6, beta=0.45),
    "MatMul in batches": _batched_product,
    "MatMul, any zero point": _weighted("MatMul", True),
    "MaxPool of a signal": _signal_pool("MaxPool"),
    "Sub": _binary("Sub"),
    "DepthToSpace CRD": _moved("DepthToSpace", {}, 8, blocksize=2, mode="CRD"),
    "Resize with axes": _moved("Resize", {"roi": None, "scales": np.array([3, 2], np.float32)}, mode="nearest", axes=[3, 2], opset=18),
    "Flatten": _moved("Flatten", {}, axis=1),
    "Gemm": _weighted("Gemm"),
    "GlobalAveragePool": _unary("GlobalAveragePool"),
    "HardSwish": _unary("HardSwish"),
    "Identity": _unary("Identity"),
    "LeakyRelu": _unary("LeakyRelu", alpha=0.1),
    "MatMul": _weighted("MatMul"),
    "MaxPool": _pool("MaxPool"),
    "Mul": _binary("Mul"),
    "Pad": _moved("Pad", {"pads": np.array([0, 0, 1, 2, 0, 0, 0, 3])}),
    "Relu": _unary("Relu"),
    "Reshape": _moved("Reshape", {"shape": np.array([0, -1])}),
    "Resize": _resize,
    "Sigmoid": _unary("Sigmoid"),
    "Slice": _moved("Slice", {"starts": np.array([1, 3]), "ends": np.array([5, -9]), "axes": np.array([1, 2]), "steps": np.array([2, -1])}),
    "Softmax": _softmax,
    "SpaceToDepth": _moved("SpaceToDepth", {}, blocksize=2),
    "Squeeze": _moved("Squeeze", {"axes": np.array([0])}),
    "Tanh": _unary("Tanh"),
    "Transpose": _moved("Transpose", {}, perm=[0, 2, 3, 1]),
    "Unsqueeze": _moved("Unsqueeze", {"axes": np.array([4])}),
}
