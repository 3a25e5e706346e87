"""Builds small TFLite flatbuffers from a description, and runs them with the live LiteRT interpreter.

A model is a list of `Tensor` and a list of `Op` that name them:

    model = build_model(
        [Tensor("x", (1, 4, 4, 2), scale=0.5, zero_point=3), Tensor("y", (1, 4, 4, 2), scale=0.25)],
        [Op("ADD", ["x", "x"], ["y"], options={"FusedActivationFunction": 0})],
        inputs=["x"],
        outputs=["y"],
    )
    (y,) = run_litert(model, [values])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

_TENSOR_TYPES = {
    "float32": tflite.TensorType.FLOAT32,
    "int8": tflite.TensorType.INT8,
    "uint8": tflite.TensorType.UINT8,
    "int16": tflite.TensorType.INT16,
    "int32": tflite.TensorType.INT32,
    "int64": tflite.TensorType.INT64,
    "bool": tflite.TensorType.BOOL,
}

_OPTIONS_OF = {
    "ABS": "AbsOptions",
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_TO_SPACE_ND": "BatchToSpaceNDOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "EXPAND_DIMS": "ExpandDimsOptions",
    "FILL": "FillOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "HARD_SWISH": "HardSwishOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "NEG": "NegOptions",
    "PACK": "PackOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "QUANTIZE": "QuantizeOptions",
    "REDUCE_MAX": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SHAPE": "ShapeOptions",
    "SLICE": "SliceOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_BATCH_ND": "SpaceToBatchNDOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "SPLIT": "SplitOptions",
    "SPLIT_V": "SplitVOptions",
    "SQUEEZE": "SqueezeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "TRANSPOSE": "TransposeOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "UNPACK": "UnpackOptions",
}

_OPERATOR_VERSIONS = {
    "ABS": 2,
    "ADD": 2,
    "ARG_MAX": 2,
    "AVERAGE_POOL_2D": 2,
    "BATCH_TO_SPACE_ND": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "DEQUANTIZE": 2,
    "FULLY_CONNECTED": 4,
    "LEAKY_RELU": 2,
    "LOGISTIC": 2,
    "MAXIMUM": 2,
    "MINIMUM": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "MIRROR_PAD": 2,
    "MUL": 2,
    "PAD": 2,
    "PADV2": 2,
    "QUANTIZE": 2,
    "REDUCE_MAX": 2,
    "RELU": 2,
    "RELU6": 2,
    "RESIZE_BILINEAR": 3,
    "RESIZE_NEAREST_NEIGHBOR": 3,
    "SLICE": 2,
    "SOFTMAX": 2,
    "SPACE_TO_BATCH_ND": 2,
    "SPACE_TO_DEPTH": 2,
    "SPLIT": 2,
    "SPLIT_V": 2,
    "STRIDED_SLICE": 2,
    "SUB": 2,
    "TANH": 2,
    "TRANSPOSE": 2,
    "TRANSPOSE_CONV": 3,
}

ACTIVATION_CODES = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3}
PADDING_CODES = {"same": 0, "valid": 1}


@dataclass(frozen=True)
class Tensor:
    """One tensor. `scale` is None (not quantised), a number (per tensor) or a sequence (per axis, along `quantized_dimension`)."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: float | Sequence[float] | None = None
    zero_point: int | Sequence[int] = 0
    quantized_dimension: int = 0
    data: npt.NDArray[Any] | None = None


@dataclass(frozen=True)
class Op:
    """One operator: its builtin name, names of operands (None for an absent one) and results, and option fields as in the schema."""

    code: str
    inputs: Sequence[str | None]
    outputs: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int | None = None
    """Operator version; None takes the lowest one that allows int8 operands."""


def _int_vector(builder: flatbuffers.Builder, values: Sequence[int], item_bytes: int = 4) -> int:
    builder.StartVector(item_bytes, len(values), item_bytes)
    for value in reversed(values):
        if item_bytes == 8:
            builder.PrependInt64(int(value))
        else:
            builder.PrependInt32(int(value))
    return int(builder.EndVector())


def _offset_vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _quantization(builder: flatbuffers.Builder, tensor: Tensor) -> int | None:
    if tensor.scale is None:
        return None
    scales = np.atleast_1d(np.asarray(tensor.scale, dtype=np.float32))
    zero_points = np.atleast_1d(np.asarray(tensor.zero_point, dtype=np.int64))
    if zero_points.size == 1:
        zero_points = np.repeat(zero_points, scales.size)
    builder.StartVector(4, scales.size, 4)
    for scale in scales[::-1]:
        builder.PrependFloat32(float(scale))
    scale_vector = builder.EndVector()
    zero_point_vector = _int_vector(builder, [int(zero_point) for zero_point in zero_points], 8)
    tflite.QuantizationParametersStart(builder)
    tflite.QuantizationParametersAddScale(builder, scale_vector)
    tflite.QuantizationParametersAddZeroPoint(builder, zero_point_vector)
    tflite.QuantizationParametersAddQuantizedDimension(builder, tensor.quantized_dimension)
    return int(tflite.QuantizationParametersEnd(builder))


def _tensor(builder: flatbuffers.Builder, tensor: Tensor, buffer: int) -> int:
    name = builder.CreateString(tensor.name)
    shape = _int_vector(builder, tensor.shape)
    quantization = _quantization(builder, tensor)
    tflite.TensorStart(builder)
    tflite.TensorAddName(builder, name)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, _TENSOR_TYPES[tensor.dtype])
    tflite.TensorAddBuffer(builder, buffer)
    if quantization is not None:
        tflite.TensorAddQuantization(builder, quantization)
    return int(tflite.TensorEnd(builder))


def _options(builder: flatbuffers.Builder, op: Op) -> tuple[int, int] | None:
    """(union type, offset) of the op's options, or None for an op that has none."""
    name = _OPTIONS_OF.get(op.code)
    if name is None:
        if op.options:
            raise ValueError(f"{op.code} has no options table in this builder")
        return None
    values = {key: _int_vector(builder, value) if isinstance(value, (list, tuple)) else value for key, value in op.options.items()}
    getattr(tflite, f"{name}Start")(builder)
    for key, value in values.items():
        getattr(tflite, f"{name}Add{key}")(builder, value)
    return getattr(tflite.BuiltinOptions, name), getattr(tflite, f"{name}End")(builder)


def _operator(builder: flatbuffers.Builder, op: Op, code_index: int, tensor_index: Mapping[str, int]) -> int:
    inputs = _int_vector(builder, [-1 if name is None else tensor_index[name] for name in op.inputs])
    outputs = _int_vector(builder, [tensor_index[name] for name in op.outputs])
    options = _options(builder, op)
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, code_index)
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    if options is not None:
        tflite.OperatorAddBuiltinOptionsType(builder, options[0])
        tflite.OperatorAddBuiltinOptions(builder, options[1])
    return int(tflite.OperatorEnd(builder))


def _operator_code(builder: flatbuffers.Builder, code: str, version: int) -> int:
    number = getattr(tflite.BuiltinOperator, code)
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(number, 127))
    tflite.OperatorCodeAddBuiltinCode(builder, number)
    tflite.OperatorCodeAddVersion(builder, version)
    return int(tflite.OperatorCodeEnd(builder))


def _buffers(builder: flatbuffers.Builder, tensors: Sequence[Tensor]) -> tuple[list[int], list[int]]:
    """Offsets of all buffers, and the buffer index of each tensor (0, the empty buffer, for tensors without data)."""
    tflite.BufferStart(builder)
    offsets = [int(tflite.BufferEnd(builder))]
    index_of_tensor = []
    for tensor in tensors:
        if tensor.data is None:
            index_of_tensor.append(0)
            continue
        data = np.ascontiguousarray(tensor.data, dtype=np.dtype(tensor.dtype))
        if data.size != int(np.prod(tensor.shape, dtype=np.int64)):
            raise ValueError(f"tensor {tensor.name}: {data.size} values for shape {tensor.shape}")
        vector = _aligned_bytes(builder, data.tobytes())
        tflite.BufferStart(builder)
        tflite.BufferAddData(builder, vector)
        offsets.append(int(tflite.BufferEnd(builder)))
        index_of_tensor.append(len(offsets) - 1)
    return offsets, index_of_tensor


def _aligned_bytes(builder: flatbuffers.Builder, content: bytes) -> int:
    """A byte vector whose content is aligned to 16 bytes: the interpreter reads buffers in place, and its kernels load whole vectors."""
    builder.StartVector(1, len(content), 16)
    builder.head = builder.Head() - len(content)
    builder.Bytes[builder.Head() : builder.Head() + len(content)] = content
    return int(builder.EndVector())


def build_model(tensors: Sequence[Tensor], ops: Sequence[Op], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The flatbuffer of a one-subgraph model."""
    builder = flatbuffers.Builder(1024)
    buffer_offsets, buffer_of_tensor = _buffers(builder, tensors)
    buffers = _offset_vector(builder, buffer_offsets)
    tensor_index = {tensor.name: index for index, tensor in enumerate(tensors)}
    if len(tensor_index) != len(tensors):
        raise ValueError("tensor names must be distinct")
    tensor_offsets = [_tensor(builder, tensor, buffer) for tensor, buffer in zip(tensors, buffer_of_tensor, strict=True)]
    tensor_vector = _offset_vector(builder, tensor_offsets)

    def version(op: Op) -> int:
        return op.version if op.version is not None else _OPERATOR_VERSIONS.get(op.code, 1)

    codes = list(dict.fromkeys((op.code, version(op)) for op in ops))
    code_vector = _offset_vector(builder, [_operator_code(builder, *code) for code in codes])
    operators = [_operator(builder, op, codes.index((op.code, version(op))), tensor_index) for op in ops]
    operator_vector = _offset_vector(builder, operators)
    input_vector = _int_vector(builder, [tensor_index[name] for name in inputs])
    output_vector = _int_vector(builder, [tensor_index[name] for name in outputs])
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensor_vector)
    tflite.SubGraphAddInputs(builder, input_vector)
    tflite.SubGraphAddOutputs(builder, output_vector)
    tflite.SubGraphAddOperators(builder, operator_vector)
    subgraphs = _offset_vector(builder, [int(tflite.SubGraphEnd(builder))])
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, code_vector)
    tflite.ModelAddSubgraphs(builder, subgraphs)
    tflite.ModelAddBuffers(builder, buffers)
    builder.Finish(tflite.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _interpreter(model: bytes, resolver: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolvers = {
        "default": OpResolverType.AUTO,
        "reference": OpResolverType.BUILTIN_REF,
        "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    }
    interpreter = Interpreter(model_content=model, num_threads=1, experimental_op_resolver_type=resolvers[resolver])
    interpreter.allocate_tensors()
    return interpreter


def run_litert(
    model: bytes, inputs: Sequence[npt.NDArray[Any]], reference: bool = False, resolver: str | None = None
) -> list[npt.NDArray[Any]]:
    """All outputs of `model` for one set of inputs.

    `resolver`: "default" (XNNPACK where it takes an op), "reference" (BUILTIN_REF) or "builtin" (optimised kernels without XNNPACK);
    None takes "reference" or "default" by `reference`.
    """
    interpreter = _interpreter(model, resolver or ("reference" if reference else "default"))
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], np.ascontiguousarray(values, dtype=detail["dtype"]).reshape(detail["shape"]))
    interpreter.invoke()
    return [np.asarray(interpreter.get_tensor(detail["index"])) for detail in interpreter.get_output_details()]


def is_delegated(model: bytes) -> bool:
    """Whether XNNPACK takes all ops of `model` with the default resolver."""
    details = _interpreter(model, "default")._get_ops_details()
    names = [detail["op_name"] for detail in details]
    return names.count("DELEGATE") == 1 and len(names) >= 2
