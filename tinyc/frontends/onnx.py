"""ONNX front end: the bytes of a file to a module in the `nn` dialect. docs/onnx.md says what is supported."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue
from xdsl.utils.exceptions import VerifyException

from tinyc.errors import Diagnostic, UnsupportedError
from tinyc.frontends.onnx_elementwise_rules import ELEMENTWISE_RULES
from tinyc.frontends.onnx_fold import fold
from tinyc.frontends.onnx_joining import moving
from tinyc.frontends.onnx_movement_rules import MOVEMENT_RULES
from tinyc.frontends.onnx_node import (
    QUANTIZE_HINT,
    Activation,
    ApproximateLayer,
    Known,
    Node,
    Pending,
    Refused,
    Rule,
    Skipped,
    State,
    Unusable,
)
from tinyc.frontends.onnx_pool_rules import POOL_RULES
from tinyc.frontends.onnx_quantize_rules import QUANTIZE_RULES
from tinyc.frontends.onnx_reader import OnnxGraph, OnnxInput, OnnxNode, Shapes, read_onnx
from tinyc.frontends.onnx_refusals import REFUSALS
from tinyc.frontends.onnx_weight_rules import WEIGHT_RULES
from tinyc.ir.nn_base import set_layer
from tinyc.ir.nn_elementwise import DequantizeOp
from tinyc.ir.tensor_type import Tensor, TensorType
from tinyc.numerics.profile import Profile

RULES: dict[str, Rule] = {
    **QUANTIZE_RULES,
    **WEIGHT_RULES,
    **POOL_RULES,
    **ELEMENTWISE_RULES,
    **{op: moving(op, rule) for op, rule in {**MOVEMENT_RULES, "MaxPool": POOL_RULES["MaxPool"]}.items()},
}
"""What the front end supports, besides what it folds."""

_QUANTIZED_MARKS = ("QuantizeLinear", "DequantizeLinear", "QLinear", "QGemm")


APPROXIMATE_LAYERS = "approximate_layers"
"""Attribute of a module that lists what is computed in integers where ONNX Runtime computes in float32; not there where nothing is."""


def import_onnx(content: bytes, file: str, folder: Path | None = None, shapes: Shapes | None = None, approximate: bool = False) -> ModuleOp:
    """Module with one function `main` that computes the file's graph, all tensors in the file's own order of dimensions.

    `folder` is where external data may lie, `shapes` replaces the shapes of inputs by name. With `approximate`, what ONNX Runtime computes
    in float32 is computed in integers, and listed in the attribute `approximate_layers`; all such layers are refused otherwise.

    Raises ModelError for a file that is damaged,
    UsageError for shapes of inputs that do not exist, UnsupportedError with every node that cannot be taken.
    """
    graph = read_onnx(content, file, folder, shapes)
    if not any(mark in node.op for node in graph.nodes for mark in _QUANTIZED_MARKS):
        raise UnsupportedError(
            [Diagnostic(file, "model", "graph", "", "this is a float32 model, nothing in it is quantised", QUANTIZE_HINT)]
        )
    function, approximate_layers = _import_graph(graph, approximate)
    module = ModuleOp([function])
    module.attributes["source_sha256"] = StringAttr(hashlib.sha256(content).hexdigest())
    module.attributes["source_format"] = StringAttr("onnx")
    module.attributes["default_numerics"] = StringAttr(Profile.ONNXRUNTIME.value)
    module.attributes["input_names"] = ArrayAttr([StringAttr(value.name) for value in graph.inputs])
    module.attributes["output_names"] = ArrayAttr([StringAttr(name) for name in graph.outputs])
    if approximate_layers:
        module.attributes[APPROXIMATE_LAYERS] = ArrayAttr([StringAttr(name) for name in approximate_layers])
    return module


def _import_graph(graph: OnnxGraph, approximate: bool) -> tuple[FuncOp, list[str]]:
    """The function, and the names of layers that are computed in integers where ONNX Runtime computes in float32.

    Raises UnsupportedError with every node that cannot be taken; unless `approximate`, those layers are among them.
    """
    diagnostics: list[Diagnostic] = []
    approximate_layers: dict[int, ApproximateLayer] = {}
    block = Block()
    states: dict[str, State] = {name: Known(array) for name, array in graph.constants.items()}
    for value in graph.inputs:
        try:
            states[value.name] = _argument(value, graph, block)
        except Refused as refusal:
            diagnostics.append(Diagnostic(graph.file, value.name, "input", refusal.attribute, refusal.reason, refusal.hint))
            states[value.name] = Unusable()
    for info in graph.nodes:
        node = Node(graph, info, block, states, approximate_layers)
        results: Sequence[State] = [Unusable()] * len(info.outputs)
        try:
            results = _import_node(node)
        except Skipped:
            pass
        except Refused as refusal:
            refused = refusal.node or node
            diagnostics.append(Diagnostic(graph.file, refused.name, refused.info.op, refusal.attribute, refusal.reason, refusal.hint))
        for name, state in zip(info.outputs, results, strict=False):
            if name:
                states[name] = state
    values: list[SSAValue] = []
    output_node = Node(graph, OnnxNode(len(graph.nodes), "", "output", graph.outputs, (), {}), block, states)
    for position, name in enumerate(graph.outputs):
        try:
            values.append(_output(output_node, position))
        except Skipped:
            continue
        except Refused as refusal:
            diagnostics.append(Diagnostic(graph.file, name, "output", refusal.attribute, refusal.reason, refusal.hint))
    layers = [layer for _, layer in sorted(approximate_layers.items())]
    if not approximate:
        diagnostics += [_not_approximated(layer, graph.file) for layer in layers]
    if diagnostics:
        raise UnsupportedError(diagnostics)
    block.add_op(ReturnOp(*values))
    function = FuncOp("main", ([argument.type for argument in block.args], [value.type for value in values]), Region(block))
    return function, [layer.name for layer in layers]


def _not_approximated(layer: ApproximateLayer, file: str) -> Diagnostic:
    way = "or use --approximate, which computes it in integers and may round otherwise"
    reason = f"ONNX Runtime computes this layer in float32: {layer.reason}"
    return Diagnostic(file, layer.name, layer.op, "", reason, f"{layer.hint}; {way}")


def _argument(value: OnnxInput, graph: OnnxGraph, block: Block) -> Activation:
    """A block argument for a graph input; an int8 one takes its scale from the first node that knows it."""
    if value.dtype == np.float32:
        return Activation(block.insert_arg(TensorType(Tensor(value.shape, "f32")), len(block.args)), True)
    if value.dtype not in (np.int8, np.uint8):
        raise Refused("type", f"inputs of type {value.dtype} are not supported", "quantise the model to int8")
    scale, zero_point = _input_quantization(value.name, graph)
    unsigned = bool(value.dtype == np.uint8)
    kind = TensorType(Tensor(value.shape, "i8", scale, zero_point - (128 if unsigned else 0)))
    return Activation(block.insert_arg(kind, len(block.args)), False, unsigned)


def _input_quantization(name: str, graph: OnnxGraph) -> tuple[float, int]:
    """Scale and zero point in the file's type of the int8 tensor `name`, from its first reader that has them, or from a reader's reader."""
    names = {name}
    for node in graph.nodes:
        positions = [position for position, read in enumerate(node.inputs) if read in names]
        if not positions:
            continue
        first = positions[0]
        if "Linear" not in node.op and "QGemm" not in node.op:
            names.update(node.outputs)
            continue
        scale = graph.constants.get(node.inputs[first + 1]) if first + 1 < len(node.inputs) else None
        zero_point = graph.constants.get(node.inputs[first + 2]) if first + 2 < len(node.inputs) else None
        if scale is not None and scale.size > 1 and node.op == "DequantizeLinear":
            # A scale for each part: the tensor itself holds plain numbers.
            return 1.0, 0
        if scale is not None and scale.size == 1 and scale.dtype in (np.float32, np.float16):
            if not np.isfinite(scale).all() or not scale.reshape(-1)[0] > 0:
                raise Refused("scale", f"{node.op} gives it the scale {scale.reshape(-1)[0]}, expected a positive, finite number")
            zero = int(zero_point.reshape(-1)[0]) if zero_point is not None and zero_point.size == 1 else 0
            return float(np.float32(scale.reshape(-1)[0])), zero
    raise Refused(
        "scale", "no node says which scale this int8 input has", "read it by DequantizeLinear or a QLinear node with a constant scale"
    )


def _import_node(node: Node) -> Sequence[State]:
    folded = fold(node)
    if folded is not None:
        return [folded]
    rule = RULES.get(node.info.op)
    if rule is None:
        raise Refused("", *REFUSALS.get(node.info.op, ("this op is not supported", f"supported are {', '.join(sorted(RULES))}")))
    try:
        made = rule(node)
    except VerifyException as error:
        raise Refused("", str(error).splitlines()[0]) from error
    return list(made) if isinstance(made, Sequence) else [made]


def _output(node: Node, position: int) -> SSAValue:
    state = node.state(position)
    if isinstance(state, Pending):
        raise Refused(
            "",
            f"it is float32: {state.node.name} computes it and nothing quantises it",
            "quantise the output too, by QuantizeLinear and DequantizeLinear",
        )
    activation = node.movable(position)
    if activation.real and activation.tensor.element == "i8":
        op = DequantizeOp.create(operands=[activation.value], result_types=[TensorType(Tensor(activation.shape, "f32"))])
        set_layer(op, node.info.inputs[position])
        node.block.add_op(op)
        return op.results[0]
    return activation.value
