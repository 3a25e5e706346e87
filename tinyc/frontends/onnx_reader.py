"""ONNX bytes to plain dataclasses: everything that reads protobuf objects is here, and nothing is trusted.

Sizes are checked before arrays are made, external data is read only from files beside the model, functions are inlined, and graphs older
than opset 11 go through the version converter of the `onnx` package.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import helper, inliner, numpy_helper, shape_inference, version_converter

from tinyc.errors import ModelError, UsageError, printable

Array = npt.NDArray[Any]
Shapes = Mapping[str, tuple[int, ...]]

OLDEST_OPSET = 11
CONVERTED_OPSET = 13
"""What models older than OLDEST_OPSET are converted to."""
MAX_CONSTANT_BYTES = 256 << 20
"""All constants of one model together; no part holds a hundredth of that."""
MAX_NODES = 100_000
_DEEPEST_CALL = 200
STANDARD_DOMAINS = ("", "ai.onnx")

Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class OnnxNode:
    """One node. `op` carries the domain unless it is the standard one; `attributes` are Python values, tensors among them as arrays."""

    index: int
    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes


@dataclass(frozen=True)
class OnnxInput:
    """A graph input: numpy dtype and static shape."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class OnnxGraph:
    """A model's main graph: sorted nodes, constants by name, boundary."""

    file: str
    opset: int
    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, Array]
    inputs: tuple[OnnxInput, ...]
    outputs: tuple[str, ...]

    @cached_property
    def uses(self) -> Counter[str]:
        """How often each value is read, by nodes and as an output."""
        return Counter([*(name for node in self.nodes for name in node.inputs), *self.outputs])

    @cached_property
    def readers(self) -> Mapping[str, Sequence[OnnxNode]]:
        """The nodes that read each value as their first input."""
        found: dict[str, list[OnnxNode]] = {}
        for node in self.nodes:
            if node.inputs:
                found.setdefault(node.inputs[0], []).append(node)
        return found


def read_onnx(content: bytes, file: str, folder: Path | None, shapes: Shapes | None = None) -> OnnxGraph:
    """The graph in `content`. `folder` is where external data may lie; `shapes` replaces the shapes of inputs by name.

    Raises ModelError for what is damaged, unsorted, too large or points outside `folder`, UsageError where `shapes` names no input.
    """
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError, TypeError) as error:
        raise ModelError(f"{printable(file)}: not an ONNX file, or damaged") from error
    if not model.HasField("graph") or not model.graph.output:
        raise ModelError(f"{printable(file)}: not an ONNX file: it holds no graph with an output")
    model, opset = _modern(model, file)
    graph = model.graph
    if len(graph.node) > MAX_NODES:
        raise ModelError(f"{printable(file)}: {len(graph.node)} nodes, more than any network for a microcontroller")
    if graph.sparse_initializer:
        raise ModelError(f"{printable(file)}: sparse constants are not supported; export dense ones")
    _require_text([entry.name for entry in (*graph.initializer, *graph.input, *graph.output)], file)
    loader = _Constants(file, folder)
    constants = {tensor.name: loader.array(tensor) for tensor in graph.initializer}
    inputs = _inputs([value for value in graph.input if value.name not in constants], shapes or {}, file)
    nodes = tuple(_node(index, node, loader, file) for index, node in enumerate(graph.node))
    _check_order(nodes, {*constants, *(value.name for value in inputs)}, [value.name for value in graph.output], file)
    return OnnxGraph(file, opset, nodes, constants, inputs, tuple(value.name for value in graph.output))


def _modern(model: onnx.ModelProto, file: str) -> tuple[onnx.ModelProto, int]:
    """The model with its functions inlined and at a known opset, and that opset."""
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS]
    if not versions:
        raise ModelError(f"{printable(file)}: the file does not say which ONNX opset it uses")
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= versions[0] <= newest:
        raise ModelError(f"{printable(file)}: opset {versions[0]} is unknown; the installed onnx package knows 1 to {newest}")
    try:
        if model.functions:
            check_expansion(model, file)
            model = _inlined(model, versions[0])
        if versions[0] < OLDEST_OPSET:
            return version_converter.convert_version(model, CONVERTED_OPSET), CONVERTED_OPSET
    except ModelError:
        raise
    except Exception as error:  # the checker and converter of onnx raise whatever their C++ part throws
        raise ModelError(
            f"{printable(file)}: the onnx package cannot convert this model: {printable(str(error).splitlines()[0])}"
        ) from error
    return model, versions[0]


def _inlined(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model without functions of its own."""
    used = {entry.version for function in model.functions for entry in function.opset_import if entry.domain in STANDARD_DOMAINS}
    if used <= {opset}:
        return inliner.inline_local_functions(model)
    # Functions of another opset are converted, for which the inliner must know the types of values.
    return inliner.inline_local_functions(shape_inference.infer_shapes(model), True)


def check_expansion(model: onnx.ModelProto, file: str) -> None:
    """Raises ModelError for functions that would be more than MAX_NODES nodes once they are inlined: a few calling each other suffice."""
    functions = {(function.domain, function.name): function for function in model.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Iterable[onnx.NodeProto], depth: int) -> int:
        total = 0
        for node in nodes:
            total += 1 + sum(count(graph.node, depth) for entry in node.attribute for graph in (entry.g, *entry.graphs))
            called = (node.domain, node.op_type)
            # The inliner itself refuses deep chains and cycles, with a message of its own.
            if called in functions and depth < _DEEPEST_CALL:
                if called not in counts:
                    counts[called] = 0
                    counts[called] = count(functions[called].node, depth + 1)
                total += counts[called]
        return total

    if count(model.graph.node, 0) > MAX_NODES:
        raise ModelError(f"{printable(file)}: its functions expand to more than {MAX_NODES} nodes")


def _require_text(names: Sequence[object], file: str) -> None:
    """Raises ModelError for a name that is not UTF-8: protobuf hands those over as bytes."""
    for name in names:
        if not isinstance(name, str):
            raise ModelError(f"{printable(file)}: damaged: the name {printable(name)} is not UTF-8")


def _node(index: int, node: onnx.NodeProto, loader: _Constants, file: str) -> OnnxNode:
    _require_text([node.op_type, node.domain, node.name, *node.input, *node.output], file)
    op = node.op_type if node.domain in STANDARD_DOMAINS else f"{node.domain}.{node.op_type}"
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR:
            attributes[attribute.name] = loader.array(attribute.t)
        elif attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            attributes[attribute.name] = None
        else:
            try:
                value = helper.get_attribute_value(attribute)
            except ValueError as error:
                raise ModelError(f"{printable(file)}: attribute {printable(attribute.name)} of {printable(op)} is damaged") from error
            attributes[attribute.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return OnnxNode(index, node.name, op, tuple(node.input), tuple(node.output), attributes)


def _check_order(nodes: Sequence[OnnxNode], known: set[str], outputs: Sequence[str], file: str) -> None:
    for node in nodes:
        where = printable(node.name or (node.outputs[0] if node.outputs else f"node {node.index}"))
        for name in node.inputs:
            if name and name not in known:
                raise ModelError(
                    f"{printable(file)}: {where} reads {printable(name)} before it is computed; the graph is cyclic, unsorted or incomplete"
                )
        for name in node.outputs:
            if name and name in known:
                raise ModelError(f"{printable(file)}: {where} computes {printable(name)}, which exists already")
            known.add(name)
    for name in outputs:
        if name not in known:
            raise ModelError(f"{printable(file)}: nothing computes the output {printable(name)}")


def _inputs(values: Sequence[onnx.ValueInfoProto], shapes: Shapes, file: str) -> tuple[OnnxInput, ...]:
    names = [value.name for value in values]
    for name in shapes:
        if name not in names:
            raise UsageError(f"{printable(file)} has no input {printable(name)}; its inputs are {printable(', '.join(names))}")
    found = []
    for value in values:
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
            raise ModelError(f"{printable(file)}: input {printable(value.name)} is no tensor with a shape")
        shape = shapes.get(value.name) or _static_shape(value.name, tensor.shape, file)
        if value.name in shapes and len(shape) != len(tensor.shape.dim):
            raise UsageError(f"{printable(value.name)} has {len(tensor.shape.dim)} dimensions, --shape gives {len(shape)}")
        if math.prod(shape) > MAX_CONSTANT_BYTES or min(shape, default=1) < 1:
            raise ModelError(f"{printable(file)}: input {printable(value.name)} has the shape {list(shape)}")
        found.append(OnnxInput(value.name, _dtype(tensor.elem_type, value.name, file), shape))
    return tuple(found)


def _static_shape(name: str, shape: onnx.TensorShapeProto, file: str) -> tuple[int, ...]:
    """The shape with 1 for an unknown batch, the first of several dimensions. Raises ModelError for other unknown dimensions."""
    sizes = [dimension.dim_value if dimension.WhichOneof("value") == "dim_value" else 0 for dimension in shape.dim]
    if sizes and sizes[0] == 0:
        sizes[0] = 1
    if any(size < 1 for size in sizes):
        text = ",".join(str(size) if size else "?" for size in sizes)
        raise ModelError(
            f"{printable(file)}: input {printable(name)} has the shape {text}; give the unknown sizes: --shape {printable(name)}=1,3,96,96"
        )
    return tuple(sizes)


def _dtype(element: int, name: str, file: str) -> np.dtype[Any]:
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(element))
    except KeyError as error:
        raise ModelError(f"{printable(file)}: {printable(name)} has an unknown element type {element}") from error


class _Constants:
    """Reads the constants of one model, counting their bytes."""

    def __init__(self, file: str, folder: Path | None) -> None:
        self.file, self.folder, self.bytes = file, folder, 0

    def array(self, tensor: onnx.TensorProto) -> Array:
        """The data of `tensor`. Raises ModelError for sizes that contradict each other and data that may not be read."""
        name = printable(tensor.name or "a constant")
        dtype = _dtype(tensor.data_type, tensor.name or "a constant", self.file)
        dims = [int(size) for size in tensor.dims]
        if any(size < 0 for size in dims):
            raise ModelError(f"{printable(self.file)}: {name} has the shape {dims}")
        size = math.prod(dims) * dtype.itemsize
        self.bytes += size
        if self.bytes > MAX_CONSTANT_BYTES:
            raise ModelError(f"{printable(self.file)}: {name} of shape {dims} is more than any part for tinyc holds")
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            data = self._external(tensor, name, size)
            return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(dims)
        if tensor.HasField("raw_data") and len(tensor.raw_data) != size and dtype.itemsize >= 1 and dtype.kind in "biuf":
            raise ModelError(f"{printable(self.file)}: {name} has {len(tensor.raw_data)} bytes, its shape {dims} asks for {size}")
        if not tensor.HasField("raw_data") and dtype.kind in "biuf":
            held = max(
                len(tensor.float_data), len(tensor.int32_data), len(tensor.int64_data), len(tensor.double_data), len(tensor.uint64_data)
            )
            if held < math.prod(dims):
                raise ModelError(f"{printable(self.file)}: {name} has {held} values, its shape {dims} asks for {math.prod(dims)}")
        try:
            return np.asarray(numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"{printable(self.file)}: {name} is damaged: {printable(error)}") from error

    def _external(self, tensor: onnx.TensorProto, name: str, size: int) -> bytes:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        path = Path(location)
        if self.folder is None or not location or path.is_absolute() or ".." in path.parts or "\\" in location or "\0" in location:
            raise ModelError(f"{printable(self.file)}: {name} lies in {printable(location)}; data is read only from beside the model")
        base = self.folder.resolve()
        try:
            full = (base / path).resolve()
            if base not in full.parents:
                raise ModelError(f"{printable(self.file)}: {name} lies in {printable(location)}, a link out of the model's folder")
            offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(size)))
            if offset < 0 or length != size:
                raise ModelError(f"{printable(self.file)}: {name} asks for {length} bytes at {offset}, its shape needs {size}")
            if not full.is_file():
                raise ModelError(f"{printable(self.file)}: cannot read {printable(location)}: no such file")
            with full.open("rb") as stream:
                stream.seek(offset)
                data = stream.read(size)
        except ModelError:
            raise
        except (OSError, ValueError) as error:
            raise ModelError(f"{printable(self.file)}: cannot read {printable(location)}: {printable(error)}") from error
        if len(data) != size:
            raise ModelError(f"{printable(self.file)}: {printable(location)} ends before {name} does")
        return data
