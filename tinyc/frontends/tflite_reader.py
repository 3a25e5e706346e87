"""A TFLite flatbuffer as plain, checked data. Everything that a damaged or hostile file could say is questioned here."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from tinyc.errors import ModelError, printable

ELEMENT_TYPES = {
    tflite.TensorType.INT8: "i8",
    # A quantised uint8 tensor is an int8 tensor whose values and zero point are 128 lower; _read_tensor makes it one.
    tflite.TensorType.UINT8: "i8",
    tflite.TensorType.INT32: "i32",
    tflite.TensorType.FLOAT32: "f32",
    tflite.TensorType.INT64: "i64",
}
NUMPY_TYPES: dict[str, np.dtype[Any]] = {"i8": np.dtype(np.int8), "i32": np.dtype("<i4"), "f32": np.dtype("<f4"), "i64": np.dtype("<i8")}
MAX_ELEMENTS = 1 << 30
"""No tensor of a network for a microcontroller has more elements; a larger claim is damage or malice."""

_TYPE_NAMES = {value: name for name, value in vars(tflite.TensorType).items() if isinstance(value, int)}
_OP_NAMES = {value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of the graph. `element` is None for a type that tinyc does not know, whose name is then `type_name`.

    uint8 tensors are given as int8: `data` and `zero_points` are 128 lower than in the file, and `unsigned` is set.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    element: str | None
    type_name: str
    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    quantized_dimension: int
    data: npt.NDArray[Any] | None
    sparse: bool
    variable: bool

    @property
    def unsigned(self) -> bool:
        """Whether the file has uint8 here."""
        return self.type_name == "UINT8"

    @property
    def has_valid_scales(self) -> bool:
        """Whether all scales are positive numbers; biases of some files carry a scale of 0, which nobody reads."""
        return bool(np.isfinite(self.scales).all() and (self.scales > 0).all())


@dataclass(frozen=True)
class FoldedDilation:
    """What SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND around a convolution amount to: dilation, and padding at top, left, bottom, right."""

    block: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True)
class OperatorInfo:
    """One node: `op` is the builtin's name (custom ops: `CUSTOM`); `inputs` holds -1 for an absent optional input."""

    index: int
    op: str
    custom_code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any
    dilation: FoldedDilation | None = None


@dataclass(frozen=True)
class Graph:
    """The main subgraph of a file."""

    file: str
    tensors: tuple[TensorInfo, ...]
    operators: tuple[OperatorInfo, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@contextmanager
def damage_reported(file: str) -> Iterator[None]:
    """Turns whatever the flatbuffer library raises on inconsistent bytes into one ModelError."""
    try:
        yield
    except (
        struct.error,
        IndexError,
        ValueError,
        TypeError,
        OverflowError,
        KeyError,
        AttributeError,
        UnicodeDecodeError,
        MemoryError,
    ) as error:
        raise ModelError(f"{printable(file)}: damaged or truncated TFLite file ({type(error).__name__}: {printable(error)})") from error


def read_graph(content: bytes, file: str) -> Graph:
    """Decodes the bytes of a TFLite file. Raises ModelError when they are no TFLite file, truncated or inconsistent."""
    if len(content) < 16 or content[4:8] != b"TFL3":
        raise ModelError(f"{printable(file)}: not a TFLite file (the identifier TFL3 is missing)")
    with damage_reported(file):
        model = tflite.Model.GetRootAs(content, 0)
        if model.SubgraphsLength() < 1:
            raise ModelError(f"{printable(file)}: the file holds no graph")
        subgraph = model.Subgraphs(0)
        tensors = tuple(
            _read_tensor(model, subgraph.Tensors(index), index, file) for index in range(_count(subgraph.TensorsLength(), content))
        )
        operators = tuple(_read_operator(model, subgraph, index) for index in range(_count(subgraph.OperatorsLength(), content)))
        graph = Graph(file, tensors, operators, _indices(subgraph.InputsAsNumpy()), _indices(subgraph.OutputsAsNumpy()))
    _check_references(graph)
    return graph


def _count(claimed: int, content: bytes) -> int:
    if not 0 <= claimed <= len(content) // 4:
        raise ValueError(f"a table of {claimed} entries does not fit the file")
    return claimed


def _indices(array: Any) -> tuple[int, ...]:
    return () if isinstance(array, int) else tuple(int(value) for value in array)


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", errors="replace")


def _read_tensor(model: Any, tensor: Any, index: int, file: str) -> TensorInfo:
    name = _text(tensor.Name()) or f"tensor_{index}"
    shape = tuple(int(size) for size in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    where = f"{printable(file)}: tensor {index} ({printable(name)})"
    if any(size < 0 for size in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise ModelError(f"{where}: impossible shape {list(shape)}")
    element = ELEMENT_TYPES.get(tensor.Type())
    quantization = tensor.Quantization()
    scales, zero_points, dimension = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    if quantization is not None:
        scales = np.array(quantization.ScaleAsNumpy() if quantization.ScaleLength() else [], np.float32)
        zero_points = np.array(quantization.ZeroPointAsNumpy() if quantization.ZeroPointLength() else [], np.int64)
        dimension = int(quantization.QuantizedDimension())
    data = None
    if not 0 <= tensor.Buffer() < model.BuffersLength():
        raise ModelError(f"{where}: refers to buffer {tensor.Buffer()}, the file has {model.BuffersLength()}")
    buffer = model.Buffers(tensor.Buffer())
    if tensor.Buffer() != 0 and buffer.DataLength() and element is not None:
        raw = bytes(buffer.DataAsNumpy())
        expected = math.prod(shape) * NUMPY_TYPES[element].itemsize
        if len(raw) != expected:
            raise ModelError(f"{where}: {len(raw)} bytes of data, shape {list(shape)} of {element} needs {expected}")
        data = np.frombuffer(raw, NUMPY_TYPES[element]).reshape(shape)
    if tensor.Type() == tflite.TensorType.UINT8:
        zero_points = (zero_points if zero_points.size else np.zeros(1, np.int64)) - 128
        data = data ^ np.int8(-128) if data is not None else None
    type_name = _TYPE_NAMES.get(tensor.Type(), str(tensor.Type()))
    sparse, variable = tensor.Sparsity() is not None, bool(tensor.IsVariable())
    return TensorInfo(index, name, shape, element, type_name, scales, zero_points, dimension, data, sparse, variable)


def _read_operator(model: Any, subgraph: Any, index: int) -> OperatorInfo:
    operator = subgraph.Operators(index)
    code = model.OperatorCodes(operator.OpcodeIndex())
    builtin = max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))
    options = operator.BuiltinOptions()
    return OperatorInfo(
        index,
        _OP_NAMES.get(builtin, f"BUILTIN_{builtin}"),
        _text(code.CustomCode()),
        _indices(operator.InputsAsNumpy()),
        _indices(operator.OutputsAsNumpy()),
        (int(operator.BuiltinOptionsType()), options),
    )


def _check_references(graph: Graph) -> None:
    count = len(graph.tensors)
    for operator in graph.operators:
        if any(not -1 <= index < count for index in operator.inputs) or any(not 0 <= index < count for index in operator.outputs):
            raise ModelError(f"{printable(graph.file)}: node {operator.index} refers to a tensor that does not exist")
    if any(not 0 <= index < count for index in (*graph.inputs, *graph.outputs)):
        raise ModelError(f"{printable(graph.file)}: an input or output of the graph does not exist")
    if not graph.outputs:
        raise ModelError(f"{printable(graph.file)}: the graph has no output")
    known = set(graph.inputs) | {tensor.index for tensor in graph.tensors if tensor.data is not None}
    for operator in graph.operators:
        missing = [index for index in operator.inputs if index >= 0 and index not in known]
        if missing:
            name = printable(graph.tensors[missing[0]].name)
            raise ModelError(f"{printable(graph.file)}: node {operator.index} reads {name} before anything has computed it")
        if any(index in known for index in operator.outputs):
            raise ModelError(f"{printable(graph.file)}: node {operator.index} computes a tensor that exists already")
        known.update(operator.outputs)
    if any(index not in known for index in graph.outputs):
        raise ModelError(f"{printable(graph.file)}: an output of the graph is never computed")
