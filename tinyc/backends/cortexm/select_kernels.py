"""select-kernels: from ops to calls of specialised kernels, buffers and tables. Every tensor is whole, nothing has a place yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, IntAttr, ModuleOp, StringAttr
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.explain_output import requantisation_choice
from tinyc.backends.cortexm.kernel_attr import encode_kernel
from tinyc.backends.cortexm.kernels.base import Form, Table
from tinyc.backends.cortexm.kernels.copy import CopySpec
from tinyc.backends.cortexm.lower_elementwise import lower_add, lower_clamp, lower_dequantize, lower_mul, lower_quantize, lower_softmax
from tinyc.backends.cortexm.lower_movement import MOVEMENT_RULES
from tinyc.backends.cortexm.lower_shape import lower_mean, lower_pad, lower_transpose
from tinyc.backends.cortexm.lower_unary import lower_maximum, lower_minimum, lower_prelu, lower_sub, lower_unary
from tinyc.backends.cortexm.lower_window import lower_average_pool, lower_conv2d, lower_depthwise, lower_fully_connected, lower_max_pool
from tinyc.backends.cortexm.lowered import CannotLower, Lowered, Operand
from tinyc.errors import Diagnostic, PassError, UnsupportedError
from tinyc.ir.dense import DenseAttr
from tinyc.ir.edit import detach, erase
from tinyc.ir.mcu import TABLE, BufferOp, CallOp, RowAccessAttr, StreamOp, TableOp, ViewOp, buffer_of, number, row_shape
from tinyc.ir.nn_base import NNOp, tensor_of
from tinyc.ir.nn_elementwise import AddOp, ClampOp, DequantizeOp, MaximumOp, MinimumOp, MulOp, QuantizeOp, SoftmaxOp, SubOp
from tinyc.ir.nn_shape import ConstantOp, FullyConnectedOp, MeanOp, PadOp, ReshapeOp, TransposeOp
from tinyc.ir.nn_unary import PReluOp, UnaryOp
from tinyc.ir.nn_window import AveragePool2DOp, Conv2DOp, DepthwiseConv2DOp, MaxPool2DOp
from tinyc.ir.tensor_type import TensorType
from tinyc.memory.row_access import EACH_ROW
from tinyc.numerics.profile import Profile
from tinyc.passes.choices import recorder
from tinyc.passes.fold_constants import profile_of
from tinyc.passes.pins import check_layers, layer_names
from tinyc.passes.rewriting import main_block
from tinyc.plugins import additions

RULES: Mapping[type[Operation], Callable[[Any, Profile], Lowered]] = {
    AddOp: lower_add,
    AveragePool2DOp: lower_average_pool,
    ClampOp: lower_clamp,
    Conv2DOp: lower_conv2d,
    DepthwiseConv2DOp: lower_depthwise,
    DequantizeOp: lower_dequantize,
    FullyConnectedOp: lower_fully_connected,
    MaxPool2DOp: lower_max_pool,
    MaximumOp: lower_maximum,
    MeanOp: lower_mean,
    MinimumOp: lower_minimum,
    MulOp: lower_mul,
    PReluOp: lower_prelu,
    PadOp: lower_pad,
    QuantizeOp: lower_quantize,
    SoftmaxOp: lower_softmax,
    SubOp: lower_sub,
    TransposeOp: lower_transpose,
    UnaryOp: lower_unary,
    **MOVEMENT_RULES,
}
_ELEMENT_C_TYPES = {"i8": "int8_t", "i32": "int32_t", "i64": "int64_t", "f32": "float"}


@dataclass(frozen=True)
class SelectKernels(ModulePass):
    """Choose a specialised kernel for every op; `numerics` is litert, tflm or onnxruntime."""

    name = "select-kernels"
    numerics: str = "litert"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        lowering = _Lowering(op, profile_of(self.numerics))
        lowering.run()
        op.attributes["numerics"] = StringAttr(self.numerics)
        check_layers(op)
        choices = recorder(ctx)
        if choices is not None:
            choices += [choice for call, name in layer_names(op).items() if (choice := requantisation_choice(call, name)) is not None]


class _Lowering:
    """State of one run of the pass: `values` maps tensors of `main` to buffers or views in the new module body."""

    def __init__(self, module: ModuleOp, profile: Profile) -> None:
        self.module, self.profile = module, profile
        self.block = Block()
        self.values: dict[SSAValue, SSAValue] = {}

    def run(self) -> None:
        source = main_block(self.module)
        names = self._names("input_names", len(source.args))
        for index, argument in enumerate(source.args):
            buffer = self._buffer("input", names[index], argument.type)
            buffer.attributes["input_index"] = ArrayAttr([IntAttr(index)])
            self.values[argument] = buffer.result
        diagnostics: list[Diagnostic] = []
        for op in source.ops:
            if isinstance(op, ConstantOp):
                continue
            if isinstance(op, ReturnOp):
                if not diagnostics:
                    self._outputs(op)
            elif isinstance(op, NNOp):
                try:
                    self._lower(op)
                except CannotLower as refusal:
                    diagnostics.append(Diagnostic("network", op.layer, op.title, refusal.attribute, refusal.reason, refusal.hint))
                    self.values[op.results[0]] = self._buffer("tensor", op.layer, op.results[0].type).result
            else:
                raise PassError(f"select-kernels: cannot lower {op.name}")
        if diagnostics:
            raise UnsupportedError(diagnostics)
        for function in list(self.module.ops):
            erase(function)
        for op in list(self.block.ops):
            detach(op)
            self.module.body.block.add_op(op)

    def _names(self, attribute: str, count: int) -> list[str]:
        names = self.module.attributes.get(attribute)
        if isinstance(names, ArrayAttr) and len(names) == count:
            return [name.data for name in names.data if isinstance(name, StringAttr)]
        return [f"{attribute.partition('_')[0]}_{index}" for index in range(count)]

    def _buffer(self, kind: str, layer: str, type: Any) -> BufferOp:
        tensor = type.data
        # An int64_t lies at a multiple of 8, anything smaller at one of 4.
        buffer = BufferOp.make(kind, layer, tensor.rows, tensor.row_bytes, type, 8 if tensor.element == "i64" else 4)
        self.block.add_op(buffer)
        return buffer

    def _private(self, kind: str, layer: str, size: int) -> BufferOp:
        buffer = BufferOp.make(kind, layer, 1, -(-size // 8) * 8, alignment=8)
        self.block.add_op(buffer)
        return buffer

    def _view(self, value: SSAValue, rows: int) -> SSAValue:
        """`value` as `rows` equal rows."""
        old_rows, row_bytes = row_shape(value)
        if old_rows == rows:
            return value
        view = ViewOp.make(value, rows, old_rows * row_bytes // rows)
        self.block.add_op(view)
        return view.result

    def _lower(self, op: NNOp) -> None:
        if isinstance(op, ReshapeOp) and op.operands[0] in self.values:
            self.values[op.results[0]] = self._view(self.values[op.operands[0]], op.out.rows)
            return
        rule = RULES.get(type(op))
        if rule is None:
            addition = additions("lowerings").get(op.name)
            if addition is None:
                raise CannotLower("", "there is no kernel for this op")
            rule = addition.load()
            assert rule is not None
        lowered = rule(op, self.profile)
        for operand in lowered.operands:
            if operand.value not in self.values:
                raise CannotLower("inputs", "an input that must be computed at run time is constant", "run fold-constants first")
        buffer = self._buffer("tensor", op.layer, op.results[0].type)
        self.values[op.results[0]] = buffer.result
        self._call(lowered, buffer, op.layer, op.title, op.macs())

    def _call(self, lowered: Lowered, buffer: BufferOp, layer: str, title: str, macs: int) -> None:
        spec = lowered.spec
        inputs = [
            self._view(self.values[operand.value], operand.rows or row_shape(self.values[operand.value])[0]) for operand in lowered.operands
        ]
        output = self._view(buffer.result, lowered.output_rows or buffer.rows.value.data)
        tables = [self._table(table) for table in lowered.tables]
        scratch = [self._private("scratch", layer, spec.scratch_bytes).result] if spec.scratch_bytes else []
        reduction = spec.form is Form.REDUCTION
        accumulator = [self._private("accumulator", layer, spec.accumulator_bytes).result] if reduction else []
        properties = {
            "layer": StringAttr(layer),
            "op": StringAttr(title),
            "form": StringAttr(spec.form.value),
            "kernel": encode_kernel(spec),
            "accesses": ArrayAttr([RowAccessAttr.of(operand.access) for operand in lowered.operands] if spec.form is Form.ROW else []),
            "in_place": ArrayAttr([IntAttr(position) for position in lowered.in_place]),
            "macs": number(macs),
        }
        call = CallOp.build(operands=[inputs, output, tables, scratch, accumulator], properties=properties)
        self.block.add_op(StreamOp.make([call]))

    def _table(self, table: Table) -> SSAValue:
        values = table.values
        arrays = [np.ascontiguousarray(values[name]) for name in values.dtype.names] if values.dtype.names else [values]
        # The IR knows signed integers only; the C type keeps the sign's meaning.
        signed = [array.view(np.dtype(f"i{array.dtype.itemsize}")) if array.dtype.kind == "u" else array for array in arrays]
        properties = {"suffix": StringAttr(table.suffix), "c_type": StringAttr(table.c_type)}
        fields = ArrayAttr([DenseAttr.of(array) for array in signed])
        op = TableOp.create(properties=properties | {"fields": fields}, result_types=[TABLE])
        self.block.add_op(op)
        return op.result

    def _outputs(self, terminator: ReturnOp) -> None:
        names = self._names("output_names", len(terminator.operands))
        for index, value in enumerate(terminator.operands):
            buffer = self._output_buffer(value, names[index])
            indices = buffer.attributes.get("output_index")
            earlier = list(indices.data) if isinstance(indices, ArrayAttr) else []
            buffer.attributes["output_index"] = ArrayAttr([*earlier, IntAttr(index)])

    def _output_buffer(self, value: SSAValue, name: str) -> BufferOp:
        """The buffer that ends as this output; a copy where the value is an input, a constant or an output of another type."""
        kind = value.type
        assert isinstance(kind, TensorType)
        found = self.values.get(value)
        if found is not None:
            buffer = buffer_of(found)
            if buffer.kind.data == "tensor" or (buffer.kind.data == "output" and buffer.tensor == kind):
                buffer.properties["kind"] = StringAttr("output")
                buffer.properties["tensor"] = kind
                return buffer
        output = self._buffer("output", name, kind)
        tensor = tensor_of(value)
        spec = CopySpec(tensor.elements, _ELEMENT_C_TYPES[tensor.element])
        if found is None:
            raise PassError(f"output {name} is constant: the network computes nothing there")
        copy = Lowered(spec, (Operand(value, EACH_ROW, 1),), (), (), 1)
        self._call(copy, output, name, "COPY", 0)
        return output
