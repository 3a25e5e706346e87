"""Three ways in which tinyc takes a node case: as a constant that it folds, in a float graph that it prepares for quantisation, in int8."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block

from support.onnx_builder import as_int8, run_onnxruntime
from support.onnx_node_cases import REWRITTEN, STANDARD_RULES, Array, NodeCase
from tinyc.errors import Diagnostic, TinycError, UnsupportedError
from tinyc.frontends.onnx import RULES, import_onnx
from tinyc.frontends.onnx_fold import FOLDS, fold
from tinyc.frontends.onnx_movement_rules import MOVEMENT_RULES
from tinyc.frontends.onnx_node import Known, KnownQuantized, Node, Refused, State
from tinyc.frontends.onnx_reader import read_onnx
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile
from tinyc.passes.channels_last import ChannelsLast
from tinyc.passes.manager import run_passes
from tinyc.quantize.graph import Graph
from tinyc.quantize.post_training import prepare
from tinyc.quantize.run_float import Runner
from tinyc.quantize.supported import QUANTISABLE

RUN_TIME_INPUTS: Mapping[str, int] = {"Add": 2, "Mul": 2, "Sub": 2, "Concat": 99}
"""How many inputs of an op are activations; one, where it is not said. The others are parameters: constants of the file."""
WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})
KEEPS_SCALE = (
    MOVEMENT_RULES.keys() - {"Concat"} | {"MaxPool"}  # Concat may change the scale.
)
OLDEST_QDQ_OPSET = 13


@dataclass(frozen=True)
class Skip(Exception):
    """The case cannot go this way, for a reason that a reader understands."""

    reason: str


@dataclass(frozen=True)
class Way:
    """A way through tinyc: the ops that it claims, and what raises AssertionError or Skip for one of their cases."""

    name: str
    ops: frozenset[str]
    run: Callable[[NodeCase], None]


def _refusal(error: TinycError) -> Skip:
    if not isinstance(error, UnsupportedError):
        return Skip(str(error).removeprefix("model.onnx: "))
    first: Diagnostic = error.diagnostics[0]
    return Skip(f"{first.attribute}: {first.reason}" if first.attribute else first.reason)


def _require_plain(case: NodeCase) -> None:
    if any(array is None for array in (*case.inputs, *case.outputs)):
        raise Skip("strings, sequences, optional values, bfloat16, float8, and integers of less than 8 bits")


def _require_float(case: NodeCase, arrays: list[Array]) -> None:
    for array in arrays:
        if array.dtype != np.float32:
            raise Skip(f"tensors of type {array.dtype}")
        if array.size == 0 or array.ndim == 0:
            raise Skip("tensors without elements or without dimensions")


def activations(case: NodeCase) -> list[str]:
    """Names of the inputs that are activations."""
    return [name for name in case.node.input[: RUN_TIME_INPUTS.get(case.op, 1)] if name]


def _with_constants(case: NodeCase, kept: list[str]) -> onnx.ModelProto:
    """The model with all inputs but `kept` as constants."""
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    feeds = case.feeds()
    values = [value for value in model.graph.input if value.name in kept]
    del model.graph.input[:]
    model.graph.input.extend(values)
    for name, array in feeds.items():
        if name not in kept:
            assert array is not None
            model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


# Constants


def _folded(case: NodeCase) -> None:
    _require_plain(case)
    try:
        graph = read_onnx(_with_constants(case, []).SerializeToString(), "model.onnx", None)
        states: dict[str, State] = {name: Known(array) for name, array in graph.constants.items()}
        results = []
        for info in graph.nodes:
            node = Node(graph, info, Block(), states)
            made: State | object = fold(node) if info.op in FOLDS else RULES[info.op](node)
            results.append(made)
    except Refused as refusal:
        raise Skip(f"{refusal.attribute}: {refusal.reason}" if refusal.attribute else refusal.reason) from refusal
    except TinycError as error:
        raise _refusal(error) from error
    (result,), expected = results, case.outputs[0]
    assert expected is not None
    found = _values(result)
    assert found.dtype == expected.dtype, f"{found.dtype} instead of {expected.dtype}"
    if expected.dtype.kind == "f" and case.op != "DequantizeLinear":
        np.testing.assert_allclose(found, expected, case.relative, case.absolute)
    else:
        np.testing.assert_array_equal(found, expected)


def _values(state: object) -> Array:
    """The numbers that a constant stands for."""
    if isinstance(state, Known):
        return state.array
    if not isinstance(state, KnownQuantized):
        raise Skip("not computed when the file is read")
    shape = [1] * state.array.ndim
    if state.scales.size > 1:
        shape[state.axis] = -1
    return (state.array - state.zero_points.reshape(shape)).astype(np.float32) * state.scales.reshape(shape)


# Float graphs


def _prepared(case: NodeCase) -> None:
    _require_plain(case)
    names, feeds = activations(case), case.feeds()
    arrays = {name: feeds[name] for name in names}
    _require_float(case, [array for array in (*arrays.values(), *case.outputs) if array is not None])
    model = _at_least(_with_constants(case, names), OLDEST_QDQ_OPSET)
    constants = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    for index, node in enumerate(nodes):
        node.name = node.name or f"node{index}"
    graph = Graph("case", nodes, constants, list(model.graph.input), list(model.graph.output), model.opset_import[0].version)
    try:
        prepared = prepare(graph, "model.onnx")
    except TinycError as error:
        raise _refusal(error) from error
    try:
        found = Runner(prepared.model()).run({name: array for name, array in arrays.items() if array is not None})
    except TinycError as error:
        raise Skip("ONNX Runtime, which runs the float graph, refuses it") from error
    for value, expected in zip(case.model.graph.output, case.outputs, strict=True):
        assert expected is not None
        if not _close(case, found[value.name], expected):
            unchanged = Runner(model).run({name: array for name, array in arrays.items() if array is not None})
            assert not _close(case, unchanged[value.name], expected), f"{case.name}: {value.name} differs"
            raise Skip("ONNX Runtime, which runs the float graph, itself answers other than the case")


def _close(case: NodeCase, found: Array, expected: Array) -> bool:
    return found.shape == expected.shape and np.allclose(found, expected, case.relative, case.absolute)


def _at_least(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    return version_converter.convert_version(model, opset) if model.opset_import[0].version < opset else model


# int8


@dataclass(frozen=True)
class Scaled:
    """Scale and zero point of a tensor of `dtype`."""

    scale: np.float32
    zero_point: int
    dtype: type

    def quantize(self, values: Array) -> Array:
        """Nearest values of the type."""
        limits = np.iinfo(self.dtype)
        return np.clip(np.rint(values / self.scale) + self.zero_point, limits.min, limits.max).astype(self.dtype)

    def constants(self, name: str) -> list[onnx.TensorProto]:
        """Scale and zero point as constants of a graph."""
        zero = np.array(self.zero_point, self.dtype)
        return [numpy_helper.from_array(np.asarray(self.scale), f"{name}.scale"), numpy_helper.from_array(zero, f"{name}.zero")]


def covering(values: Array, dtype: type) -> Scaled:
    """A scale and zero point for which 8 bits cover `values` and 0."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = np.float32(max(high - low, 1e-3) / 255)
    limits = np.iinfo(dtype)
    return Scaled(scale, int(np.clip(np.rint(limits.min - low / scale), limits.min, limits.max)), dtype)


def symmetric(values: Array) -> Scaled:
    """A scale for weights."""
    return Scaled(np.float32(max(float(np.abs(values).max()), 1e-3) / 127), 0, np.int8)


def quantized_form(case: NodeCase, dtype: type) -> tuple[onnx.ModelProto, dict[str, Array], list[Scaled]]:
    """The case between DequantizeLinear and QuantizeLinear, in `dtype`; its quantised inputs; scales of its outputs."""
    source = _at_least(_with_constants(case, activations(case)), OLDEST_QDQ_OPSET)
    recorded = case.feeds()
    inputs, outputs, constants, nodes, feeds = [], [], [], [], {}
    parameters: dict[str, Scaled] = {}
    for value in source.graph.input:
        array = recorded[value.name]
        assert array is not None
        own = covering(array, dtype)
        parameters[value.name] = own
        feeds[f"{value.name}.q"] = own.quantize(array)
        inputs.append(helper.make_tensor_value_info(f"{value.name}.q", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), array.shape))
        constants += own.constants(value.name)
        nodes.append(_pair("DequantizeLinear", f"{value.name}.q", value.name, value.name))
    first = source.graph.input[0].name
    for tensor in source.graph.initializer:
        values = numpy_helper.to_array(tensor)
        position = list(case.node.input).index(tensor.name)
        if case.op not in WEIGHTED or position not in (1, 2):
            constants.append(tensor)
            continue
        if position == 1:
            own = symmetric(values)
            parameters["weights"] = own
            data = own.quantize(values)
        else:
            own = Scaled(parameters[first].scale * symmetric(_weights(case)).scale, 0, np.int32)
            data = own.quantize(values)
        constants += [numpy_helper.from_array(data, f"{tensor.name}.q"), *own.constants(tensor.name)]
        nodes.append(_pair("DequantizeLinear", f"{tensor.name}.q", tensor.name, tensor.name))
    nodes += source.graph.node
    results: list[Scaled] = []
    for value, expected in zip(source.graph.output, case.outputs, strict=True):
        assert expected is not None
        own = parameters[first] if case.op in KEEPS_SCALE else _fixed(case.op, dtype) or covering(expected, dtype)
        results.append(own)
        constants += own.constants(f"{value.name}.out")
        nodes.append(_pair("QuantizeLinear", value.name, f"{value.name}.q", f"{value.name}.out"))
        outputs.append(helper.make_tensor_value_info(f"{value.name}.q", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None))
    model = helper.make_model(
        helper.make_graph(nodes, case.name, inputs, outputs, constants), opset_imports=source.opset_import, ir_version=10
    )
    return model, feeds, results


def _weights(case: NodeCase) -> Array:
    weights = case.feeds()[case.node.input[1]]
    assert weights is not None
    return weights


def _fixed(op: str, dtype: type) -> Scaled | None:
    """What tinyc asks of softmax results."""
    return Scaled(np.float32(1 / 256), int(np.iinfo(dtype).min), dtype) if op == "Softmax" else None


def _pair(op: str, source: str, result: str, parameters: str) -> onnx.NodeProto:
    return helper.make_node(op, [source, f"{parameters}.scale", f"{parameters}.zero"], [result], name=f"{result}.{op}")


def _imported(model: onnx.ModelProto) -> ModuleOp:
    try:
        module = import_onnx(model.SerializeToString(), "model.onnx")
    except TinycError as error:
        raise _refusal(error) from error
    run_passes(module, [ChannelsLast("nchw")])
    return module


def _interpreted(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    module = _imported(model)
    return evaluate(module, [as_int8(values) for values in feeds.values()], Profile.ONNXRUNTIME)


def _in_int8(case: NodeCase) -> None:
    if case.op in ("QLinearConv", "QLinearMatMul", "QuantizeLinear", "DequantizeLinear") or any(map(_is_8_bits, case.inputs)):
        _recorded_in_int8(case)
        return
    _require_plain(case)
    feeds = case.feeds()
    _require_float(case, [array for array in (*(feeds[name] for name in activations(case)), *case.outputs) if array is not None])
    for dtype in (np.int8, np.uint8):
        model, quantized, results = quantized_form(case, dtype)
        found = _interpreted(model, quantized)
        if case.op in KEEPS_SCALE:
            # Quantising commutes with what moves elements about, so that the recorded outputs serve.
            recorded = [as_int8(own.quantize(array)) for own, array in zip(results, case.outputs, strict=True)]
        else:
            recorded = run_onnxruntime(model, quantized)
        for ours, expected in zip(found, recorded, strict=True):
            np.testing.assert_array_equal(ours, expected)


def _is_8_bits(array: Array | None) -> bool:
    return array is not None and array.dtype in (np.int8, np.uint8)


def _recorded_in_int8(case: NodeCase) -> None:
    """A case whose own tensors have 8 bits, against the recorded outputs."""
    model, feeds, outputs = recorded_form(case)
    for ours, expected in zip(_interpreted(model, feeds), outputs, strict=True):
        np.testing.assert_array_equal(ours, expected)


def recorded_module(case: NodeCase) -> tuple[ModuleOp, list[Array], list[Array]]:
    """A case whose own tensors have 8 bits as a module, its inputs, and the recorded outputs."""
    model, feeds, outputs = recorded_form(case)
    return _imported(model), [as_int8(values) for values in feeds.values()], outputs


def recorded_form(case: NodeCase) -> tuple[onnx.ModelProto, dict[str, Array], list[Array]]:
    """A case whose own tensors have 8 bits: the model, run-time inputs, and recorded outputs, uint8 ones as int8."""
    _require_plain(case)
    names = activations(case)
    model = _with_constants(case, names)
    outputs = [array for array in case.outputs if array is not None]
    if case.op not in ("QLinearConv", "QLinearMatMul", "QuantizeLinear", "DequantizeLinear"):
        _read_by_dequantize(model)
        outputs = [array.astype(np.float32) for array in outputs]
    feeds = {name: array for name, array in case.feeds().items() if array is not None and name in names}
    return model, feeds, [as_int8(expected) for expected in outputs]


def _read_by_dequantize(model: onnx.ModelProto) -> None:
    """Puts a DequantizeLinear with scale 1 behind every output, which says what the 8-bit numbers stand for."""
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.float32(1), "one"))
    for output in graph.output:
        graph.node.append(helper.make_node("DequantizeLinear", [output.name, "one"], [f"{output.name}.real"]))
    names = [output.name for output in graph.output]
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(f"{name}.real", TensorProto.FLOAT, None) for name in names)


WAYS = (
    Way("constant", frozenset(FOLDS) | {"QuantizeLinear", "DequantizeLinear"}, _folded),
    Way("float", QUANTISABLE | REWRITTEN, _prepared),
    Way("int8", STANDARD_RULES, _in_int8),
)
"""What each compares with: the recorded outputs (exactly but for floats, which have the case's tolerance), the same, and ONNX Runtime
on the quantised form, or the recorded outputs where the case has 8-bit tensors; in int8 always exactly."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case in one way: `reason` why it was skipped, empty where the results are equal."""

    case: NodeCase
    way: str
    reason: str


def outcomes(cases: Iterable[NodeCase]) -> list[Outcome]:
    """All cases in every way that claims their op. Raises AssertionError for a wrong result."""
    found = []
    for case in cases:
        for way in WAYS:
            if case.op not in way.ops:
                continue
            try:
                way.run(case)
            except Skip as skip:
                found.append(Outcome(case, way.name, skip.reason))
            except AssertionError as error:
                raise AssertionError(f"{case.name}, {way.name}: {error}") from error
            else:
                found.append(Outcome(case, way.name, ""))
    return found
