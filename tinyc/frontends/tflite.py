"""TFLite front end: the bytes of a file to a module in the `nn` dialect."""

from __future__ import annotations

import hashlib

from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr, UnrealizedConversionCastOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.utils.exceptions import VerifyException

from tinyc.errors import Diagnostic, UnsupportedError
from tinyc.frontends.tflite_dilation import fold_dilation
from tinyc.frontends.tflite_node import Node, Refused, activation_type
from tinyc.frontends.tflite_reader import Graph, OperatorInfo, damage_reported, read_graph
from tinyc.frontends.tflite_refusals import REFUSALS
from tinyc.frontends.tflite_rules import RULES
from tinyc.frontends.tflite_uint8 import UINT8_OPS
from tinyc.ir.nn_base import set_layer


def import_tflite(content: bytes, file: str) -> ModuleOp:
    """Module with one function `main` that computes the file's first graph.

    Raises ModelError for a file that is damaged or no TFLite file at all, UnsupportedError with every node that cannot be taken.
    """
    graph = read_graph(content, file)
    with damage_reported(file):
        function = _import_graph(fold_dilation(graph))
    module = ModuleOp([function])
    module.attributes["source_sha256"] = StringAttr(hashlib.sha256(content).hexdigest())
    module.attributes["input_names"] = ArrayAttr([StringAttr(graph.tensors[index].name) for index in graph.inputs])
    module.attributes["output_names"] = ArrayAttr([StringAttr(graph.tensors[index].name) for index in graph.outputs])
    return module


def _import_graph(graph: Graph) -> FuncOp:
    diagnostics: list[Diagnostic] = []
    values: dict[int, SSAValue] = {}
    block = Block()
    for index in graph.inputs:
        info = graph.tensors[index]
        try:
            values[index] = block.insert_arg(activation_type(info), len(block.args))
        except Refused as refusal:
            diagnostics.append(Diagnostic(graph.file, info.name, "input", refusal.attribute, refusal.reason, refusal.hint))
            values[index] = _placeholder(block, index, graph)
    for operator in graph.operators:
        node = Node(graph, operator, block, values)
        try:
            _import_node(node)
        except Refused as refusal:
            op = f"CUSTOM {operator.custom_code}" if operator.op == "CUSTOM" else operator.op
            diagnostics.append(Diagnostic(graph.file, node.name, op, refusal.attribute, refusal.reason, refusal.hint))
            for index in operator.outputs:
                values[index] = _placeholder(block, index, graph)
    terminator = OperatorInfo(len(graph.operators), "OUTPUT", "", graph.outputs, (), (0, None))
    output_node = Node(graph, terminator, block, values)
    results = []
    for position, index in enumerate(graph.outputs):
        try:
            results.append(output_node.value(position))
        except Refused as refusal:
            name = graph.tensors[index].name
            diagnostics.append(Diagnostic(graph.file, name, "output", refusal.attribute, refusal.reason, refusal.hint))
    if diagnostics:
        raise UnsupportedError(diagnostics)
    block.add_op(ReturnOp(*results))
    return FuncOp("main", ([argument.type for argument in block.args], [value.type for value in results]), Region(block))


def _import_node(node: Node) -> None:
    rule = RULES.get(node.operator.op)
    if rule is None:
        raise Refused("", *REFUSALS.get(node.operator.op, ("this op is not supported", f"supported are {', '.join(sorted(RULES))}")))
    if node.has_unsigned() and node.operator.op not in UINT8_OPS:
        raise Refused("type", "this op is not supported on uint8 tensors", "convert the model to int8")
    try:
        made = rule(node)
        operations = (made,) if isinstance(made, Operation) else tuple(made)
        if len(operations) != len(node.operator.outputs):
            raise Refused("outputs", f"expected {len(operations)} outputs, found {len(node.operator.outputs)}")
        for index, operation in zip(node.operator.outputs, operations, strict=True):
            set_layer(operation, node.graph.tensors[index].name)
            operation.verify()
            node.block.add_op(operation)
            node.values[index] = operation.results[0]
    except VerifyException as error:
        raise Refused("", str(error).splitlines()[0]) from error


def _placeholder(block: Block, index: int, graph: Graph) -> SSAValue:
    """Stands for the result of a refused node, so that the nodes behind it are checked too; such a module is never returned."""
    try:
        kind: Attribute = activation_type(graph.tensors[index])
    except Refused:
        kind = StringAttr("unknown")
    cast = UnrealizedConversionCastOp.create(result_types=[kind])
    block.add_op(cast)
    return cast.results[0]
