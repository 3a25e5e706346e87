"""Random one-op ONNX models that ONNX Runtime computes in float32, for each of the reasons that docs/onnx.md lists; and a whole network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from support.onnx_builder import ELEMENTS, GraphBuilder, one_op
from support.onnx_cases import CASES, Case, Draw

WITHOUT_FLOAT_FORM = ("AveragePool", "Conv", "Gemm", "GlobalAveragePool", "MatMul", "MatMul in batches", "Mul", "Softmax")
"""Cases of ops whose float32 form cannot be followed."""
FLOAT_OPS = (*WITHOUT_FLOAT_FORM, "ReduceMean")


def _quantizer(model: onnx.ModelProto) -> onnx.NodeProto:
    found = model.graph.node[-1]
    assert found.op_type == "QuantizeLinear"
    return found


def _constant(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def with_bounds(model: onnx.ModelProto, draw: Draw) -> None:
    """Puts a ReLU behind the op, and has the quantisation reach below 0."""
    quantizer = _quantizer(model)
    low = -128 if draw.dtype is np.int8 else 0
    zero_point = np.array(low + draw.integer(20, 200), draw.dtype)
    _constant(model, quantizer.input[2]).CopyFrom(numpy_helper.from_array(zero_point, quantizer.input[2]))
    model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("Relu", [quantizer.input[0]], ["limited"], name="limited"))
    quantizer.input[0] = "limited"


def with_two_readers(model: onnx.ModelProto, draw: Draw) -> None:
    """Has a second node quantise the op's result, with another scale."""
    quantizer = _quantizer(model)
    scale = numpy_helper.to_array(_constant(model, quantizer.input[1])) * np.float32(1.3)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(scale), "second_scale"))
    inputs = [quantizer.input[0], "second_scale", quantizer.input[2]]
    model.graph.node.append(helper.make_node("QuantizeLinear", inputs, ["second"], name="second"))
    model.graph.output.append(helper.make_tensor_value_info("second", ELEMENTS[np.dtype(draw.dtype)], None))


def with_two_types(model: onnx.ModelProto, draw: Draw) -> None:
    """Quantises the op's result to uint8 where its operands are int8, and the other way round."""
    quantizer = _quantizer(model)
    zero_point = int(numpy_helper.to_array(_constant(model, quantizer.input[2])))
    other, shift = (np.uint8, 128) if draw.dtype is np.int8 else (np.int8, -128)
    changed = numpy_helper.from_array(np.array(zero_point + shift, other), quantizer.input[2])
    _constant(model, quantizer.input[2]).CopyFrom(changed)
    model.graph.output[0].type.tensor_type.elem_type = ELEMENTS[np.dtype(other)]


REASONS: dict[str, Callable[[onnx.ModelProto, Draw], None]] = {
    "bounds": with_bounds,
    "two readers": with_two_readers,
    "two types": with_two_types,
}


def _mean(draw: Draw) -> Case:
    shape, scale = draw.image(), draw.scale()
    axes = [[2, 3], [-1], [1], [0, 2], [1, 2, 3]][draw.integer(0, 5)]
    out = (scale * 0.8, draw.zero_point())
    model = one_op("ReduceMean", [((scale, draw.zero_point()), shape)], out, draw.dtype, axes=axes, keepdims=draw.integer(0, 2))
    return model, {"x0": draw.values(*shape)}


def float_layer(op: str, reason: str, draw: Draw) -> Case:
    """A model of one op of FLOAT_OPS that ONNX Runtime computes in float32, and inputs for it."""
    model, feeds = _mean(draw) if op == "ReduceMean" else CASES[op](draw)
    REASONS[reason](model, draw)
    return model, feeds


def float_network(seed: int = 0) -> onnx.ModelProto:
    """A small float32 CNN: convolutions with ReLU, a residual sum, a mean, a matrix product."""
    graph, random = GraphBuilder(), np.random.default_rng(seed)

    def layer(op: str, source: str, shape: tuple[int, ...], name: str, **attributes: int | list[int]) -> str:
        spread = 1 / np.sqrt(np.prod(shape[1:]))
        weights = graph.constant(f"{name}_w", random.normal(0, spread, shape).astype(np.float32))
        bias = graph.constant(f"{name}_b", random.normal(0, 0.1, shape[0]).astype(np.float32))
        return graph.node(op, [source, weights, bias], name, **attributes)

    graph.input("image", [1, 3, 16, 16])
    first = graph.node("Relu", [layer("Conv", "image", (8, 3, 3, 3), "first", strides=[2, 2], pads=[1, 1, 1, 1])], "first_relu")
    depthwise = graph.node("Relu", [layer("Conv", first, (8, 1, 3, 3), "depthwise", group=8, pads=[1, 1, 1, 1])], "depthwise_relu")
    total = graph.node("Relu", [graph.node("Add", [first, layer("Conv", depthwise, (8, 8, 1, 1), "pointwise")], "total")], "total_relu")
    last = graph.node("Relu", [layer("Conv", total, (12, 8, 3, 3), "last", strides=[2, 2])], "last_relu")
    mean = graph.node("GlobalAveragePool", [last], "mean")
    graph.output(layer("Gemm", graph.node("Flatten", [mean], "flat"), (10, 12), "result", transB=1))
    return graph.model()


def symmetric_network(folder: Path, seed: int = 0, before_relu: bool = False) -> Path:
    """A file with `float_network`, quantised by ONNX Runtime's quantize_static to int8 with zero points of 0 everywhere.

    With `before_relu` results are quantised before and behind a ReLU, as quantize_static does by itself; otherwise behind it only, as
    TensorRT's tools do.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            random = np.random.default_rng(seed)
            self.feeds: Iterator[dict[str, np.ndarray]] = iter(
                [{"image": random.normal(0, 1, (1, 3, 16, 16)).astype(np.float32)} for _ in range(8)]
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    options: dict[str, object] = {"ActivationSymmetric": True}
    if not before_relu:
        options["OpTypesToExcludeOutputQuantization"] = ["Conv", "Add"]
    source, result = folder / "float.onnx", folder / "symmetric.onnx"
    source.write_bytes(float_network(seed).SerializeToString())
    quantize_static(
        str(source),
        str(result),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options=options,
    )
    return result
