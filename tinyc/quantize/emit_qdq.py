"""Writes the quantised network as ONNX with QuantizeLinear and DequantizeLinear pairs, by ONNX Runtime's quantiser.

Weights are int8 with one symmetric scale for each output channel, biases int32 with scale input * weight, activations int8 with one scale
and zero point. The ranges come from here; which tensor gets which pair is ONNX Runtime's convention, which its own kernels recognise.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import onnx

from tinyc.quantize.choose_range import Range
from tinyc.quantize.graph import Graph
from tinyc.quantize.run_float import require_onnxruntime

_FIXED_RANGES = {"Softmax": Range(0.0, 255 / 256), "Sigmoid": Range(0.0, 255 / 256), "Tanh": Range(-1.0, 127 / 128)}
"""Ranges that the operator itself fixes: scales are powers of two, as TFLite prescribes for the same operators."""


def with_fixed_ranges(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """`ranges` with those of Softmax, Sigmoid and Tanh results set to what the operator can return."""
    fixed = {node.output[0]: _FIXED_RANGES[node.op_type] for node in graph.nodes if node.op_type in _FIXED_RANGES}
    return {**ranges, **fixed}


def emit_qdq(graph: Graph, ranges: Mapping[str, Range]) -> onnx.ModelProto:
    """The quantised model; `ranges` covers every activation. Raises ToolError where ONNX Runtime is missing."""
    require_onnxruntime()
    from onnxruntime.quantization import QDQQuantizer, QuantType, TensorData, TensorsData
    from onnxruntime.quantization.calibrate import CalibrationMethod

    data = {
        name: TensorData(lowest=np.array(chosen.lowest, np.float32), highest=np.array(chosen.highest, np.float32))
        for name, chosen in with_fixed_ranges(graph, ranges).items()
    }
    model = onnx.shape_inference.infer_shapes(graph.model())
    overrides = {node.output[0]: [_scale_override(_FIXED_RANGES[node.op_type])] for node in graph.nodes if node.op_type in _FIXED_RANGES}
    options = {
        "WeightSymmetric": True,
        "ActivationSymmetric": False,
        # MaxPool, Reshape and their like are 8-bit even where they come first.
        "ForceQuantizeNoInputCheck": True,
        # Those that can be removed are gone; the rest must stay.
        "QDQKeepRemovableActivations": True,
        "TensorQuantOverrides": overrides,
    }
    with _quiet():
        quantiser = QDQQuantizer(
            model, True, False, QuantType.QInt8, QuantType.QInt8, TensorsData(CalibrationMethod.MinMax, data), [], [],
            sorted({node.op_type for node in graph.nodes}), options,
        )  # fmt: skip
        for value in graph.inputs:
            # Otherwise a Relu on the input itself would stay in float.
            quantiser.quantize_activation_tensor(value.name)
        quantiser.quantize_model()
    quantiser.model.topological_sort()
    result: onnx.ModelProto = quantiser.model.model
    result.producer_name = "tinyc"
    del result.graph.value_info[:]
    onnx.checker.check_model(result)
    return result


def _scale_override(fixed: Range) -> dict[str, object]:
    scale = (fixed.highest - fixed.lowest) / 255
    return {"scale": np.array(scale, np.float32), "zero_point": np.array(round(-128 - fixed.lowest / scale), np.int8)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the quantiser's advice to its own users (pre-process the model, ...) off the terminal."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
