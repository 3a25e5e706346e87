"""Reads a float ONNX file into a graph with static shapes, and refuses what cannot be one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, external_data_helper, helper, inliner, numpy_helper, version_converter

from tinyc.errors import ModelError, printable
from tinyc.frontends.onnx_reader import check_expansion
from tinyc.quantize.graph import Graph
from tinyc.quantize.messages import first_line

MAX_FILE_BYTES = 1 << 30
OLDEST_OPSET = 14
"""Scales per channel came with opset 13, HardSwish with 14; older models are converted up to it."""
_QUANTISED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
)


def read_float_model(path: Path, shapes: Mapping[str, Sequence[int]] | None = None) -> Graph:
    """The float model in `path` with batch 1 and all shapes known.

    A free first dimension becomes 1; `shapes` gives the shape of inputs with other free dimensions. Weights in other files are read only
    from the model's own folder. Raises ModelError.
    """
    model = _parse(path)
    shown = printable(path)
    if any(node.op_type in _QUANTISED for node in model.graph.node):
        raise ModelError(f"{shown}: is quantised already; `tinyc compile` takes it as it is")
    _read_external_data(model, path)
    try:
        check_expansion(model, str(path))
        onnx.checker.check_model(model)
        model = _current(inliner.inline_local_functions(model), shown)
        model = _with_static_inputs(model, dict(shapes or {}), shown)
        return _graph(model, shown)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{shown}: not a valid ONNX model: {first_line(error)}") from error


def _parse(path: Path) -> onnx.ModelProto:
    shown = printable(path)
    try:
        if path.is_dir():
            raise ModelError(f"{shown}: is a folder, expected an ONNX file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(f"{shown}: {size} bytes, more than any model for a microcontroller")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{shown}: {error.strerror or error}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{shown}: not an ONNX file") from error
    if not model.opset_import or not model.graph.output:
        raise ModelError(f"{shown}: not an ONNX file (no operator set or no outputs)")
    return model


def _read_external_data(model: onnx.ModelProto, path: Path) -> None:
    folder = path.resolve().parent
    for tensor in model.graph.initializer:
        if not external_data_helper.uses_external_data(tensor):
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        target = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
            raise ModelError(f"{printable(path)}: weights {printable(tensor.name)} lie outside the model's folder ({printable(location)})")
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise ModelError(f"{printable(path)}: cannot read the weights {printable(tensor.name)}: {first_line(error)}") from error
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _current(model: onnx.ModelProto, shown: str) -> onnx.ModelProto:
    foreign = sorted({node.domain for node in model.graph.node if node.domain not in ("", "ai.onnx")})
    if foreign:
        raise ModelError(f"{shown}: operators of {', '.join(printable(domain) for domain in foreign)}; expected standard ONNX only")
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if version is None or version > onnx.defs.onnx_opset_version():
        raise ModelError(f"{shown}: opset {version}; this onnx package knows opsets up to {onnx.defs.onnx_opset_version()}")
    if version >= OLDEST_OPSET:
        return model
    try:
        return version_converter.convert_version(model, OLDEST_OPSET)
    except RuntimeError as error:
        raise ModelError(f"{shown}: cannot be converted from opset {version} to {OLDEST_OPSET}: {first_line(error)}") from error


def _with_static_inputs(model: onnx.ModelProto, shapes: dict[str, Sequence[int]], shown: str) -> onnx.ModelProto:
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    unknown = sorted(set(shapes) - {value.name for value in inputs})
    if unknown:
        names = ", ".join(printable(value.name) for value in inputs)
        raise ModelError(f"{shown}: no input {printable(unknown[0])}; the inputs are {names}")
    for value in inputs:
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            number = value.type.tensor_type.elem_type
            kind = TensorProto.DataType.Name(number) if number in TensorProto.DataType.values() else f"of the unknown type {number}"
            raise ModelError(f"{shown}: input {printable(value.name)} is {kind}, expected FLOAT")
        declared = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        given = list(shapes.get(value.name, declared))
        if len(given) != len(declared) or any(one and one != other for one, other in zip(declared, given, strict=True)):
            raise ModelError(f"{shown}: input {printable(value.name)} is {declared} (0: free), the given shape is {given}")
        if given and given[0] == 0:
            given[0] = 1
        if 0 in given:
            wanted = ",".join(str(size) if size else "?" for size in given)
            raise ModelError(f"{shown}: input {printable(value.name)} has free dimensions; give --shape {printable(value.name)}={wanted}")
        if given and given[0] != 1:
            raise ModelError(f"{shown}: input {printable(value.name)} has batch {given[0]}, expected 1")
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, given))
    for output in model.graph.output:
        # Declared sizes may name the batch; inference finds the real ones.
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    return model


def _graph(model: onnx.ModelProto, shown: str) -> Graph:
    if any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
        raise ModelError(f"{shown}: holds float16 weights, expected float32")
    constants = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}
    broken = [name for name, values in constants.items() if values.dtype.kind == "f" and not np.isfinite(values).all()]
    if broken:
        raise ModelError(f"{shown}: weights {printable(broken[0])} hold infinity or NaN")
    version = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    taken = set[str]()
    for index, node in enumerate(nodes):
        # Names that are no UTF-8 raise when they are looked at: here, where the error has a message.
        _ = [*node.input, *node.output, node.op_type, *(attribute.name for attribute in node.attribute)]
        # Names may be absent or repeated; the quantiser and the table of losses go by them.
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        taken.add(node.name)
    inputs = [value for value in model.graph.input if value.name not in constants]
    # The graph's own name means nothing to anyone, and need not be text in a damaged file.
    return Graph("network", nodes, constants, inputs, list(model.graph.output), version)
