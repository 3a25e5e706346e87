"""The scheduled level: buffers in the arena, tables in flash, and steps that call one specialised kernel per row.

The order of the `mcu.stream` ops is the order of execution. A stream with one call computes a tensor; a stream with several runs them
row by row: the last call pulls the rows that it needs from the calls before it, and tensors between them are rings of `slots` rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, IntAttr, IntegerAttr, StringAttr, UnitAttr, i64
from xdsl.ir import Block, Dialect, OpResult, ParametrizedAttribute, Region, SSAValue, TypeAttribute
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import NoTerminator
from xdsl.utils.exceptions import VerifyException

from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import require
from tinyc.ir.tensor_type import TensorType
from tinyc.memory.row_access import RowAccess
from tinyc.memory.stream import StreamCall, StreamInput, Trace, replay

BUFFER_KINDS = ("input", "input_ring", "output", "tensor", "ring", "scratch", "accumulator", "counters", "state")
"""What a buffer is for. An input or output of the network that is also something else is `input` or `output`.

An `input_ring` holds some rows of an input that the caller pushes one by one into the first step; `state` and `counters` are what the
network remembers between two pushes: how many rows it was given, and how far each call of that step has come.
"""
COUNTER_BYTES = 4
RECOMPUTED, AGAIN = "recomputed", "again"
"""Attributes of buffers, with equal numbers: one that is not kept for its last reader, and one into which its rows are computed again."""
CALL_FORMS = ("row", "reduction", "tensor", "in_place")


@irdl_attr_definition
class BufferType(ParametrizedAttribute, TypeAttribute):
    """A region of the arena, whole or as seen through a view."""

    name = "mcu.region"


@irdl_attr_definition
class TableType(ParametrizedAttribute, TypeAttribute):
    """Read-only data in flash."""

    name = "mcu.data"


BUFFER, TABLE = BufferType(), TableType()


@irdl_attr_definition
class KernelAttr(ParametrizedAttribute):
    """Which specialised C body a call runs: name of a kernel spec class and its fields. The backend reads it; the IR only carries it."""

    name = "mcu.kernel"
    spec: StringAttr
    fields: DictionaryAttr


@irdl_attr_definition
class RowAccessAttr(ParametrizedAttribute):
    """`#mcu.rows<window, stride, dilation, pad, divisor>`: input rows of an output row, see memory.row_access."""

    name = "mcu.rows"
    window: IntAttr
    stride: IntAttr
    dilation: IntAttr
    pad: IntAttr
    divisor: IntAttr

    @staticmethod
    def of(access: RowAccess) -> RowAccessAttr:
        """The attribute for `access`."""
        fields = (access.window, access.stride, access.dilation, access.pad, access.divisor)
        return RowAccessAttr(*(IntAttr(field) for field in fields))

    @property
    def access(self) -> RowAccess:
        """The plain data."""
        return RowAccess(self.window.data, self.stride.data, self.dilation.data, self.pad.data, self.divisor.data)


def number(value: int) -> IntegerAttr:
    """An integer property."""
    return IntegerAttr(value, i64)


@irdl_op_definition
class BufferOp(IRDLOperation):
    """`slots` rows of `row_bytes` bytes at `offset` of the arena, holding row r of `rows` in slot r % slots. With several arenas, `bank`
    says in which RAM bank the arena is."""

    name = "mcu.buffer"
    result = result_def(BUFFER)
    kind = prop_def(StringAttr)
    layer = prop_def(StringAttr)
    rows = prop_def(IntegerAttr)
    row_bytes = prop_def(IntegerAttr)
    slots = prop_def(IntegerAttr)
    alignment = prop_def(IntegerAttr)
    offset = opt_prop_def(IntegerAttr)
    bank = opt_prop_def(StringAttr)
    tensor = opt_prop_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "attr-dict"

    @staticmethod
    def make(kind: str, layer: str, rows: int, row_bytes: int, tensor: TensorType | None = None, alignment: int = 4) -> BufferOp:
        """A buffer that holds all its rows and has no place yet."""
        properties = {"kind": StringAttr(kind), "layer": StringAttr(layer), "rows": number(rows), "row_bytes": number(row_bytes)}
        properties.update(slots=number(rows), alignment=number(alignment))
        return BufferOp.create(properties=properties | ({"tensor": tensor} if tensor else {}), result_types=[BUFFER])

    @property
    def size_bytes(self) -> int:
        """Bytes that the buffer takes in the arena."""
        return self.slots.value.data * self.row_bytes.value.data

    @property
    def again(self) -> bool:
        """Whether what it holds was computed before, and not kept."""
        return AGAIN in self.attributes

    def supply(self, ids: Mapping[BufferOp, int]) -> StreamCall:
        """The caller who supplies the rows of this input, as a call that reads nothing; buffers by number."""
        return StreamCall((), ids[self], int(self.rows.value.data), int(self.row_bytes.value.data))

    @property
    def start(self) -> int:
        """Offset in the arena. Raises VerifyException before memory is planned."""
        if self.offset is None:
            raise VerifyException(f"buffer {self.layer.data} has no offset yet; run plan-memory first")
        return int(self.offset.value.data)

    @property
    def bank_name(self) -> str:
        """The RAM bank of its arena; empty where there is one arena, which lies where the user wants it."""
        return "" if self.bank is None else str(self.bank.data)

    def verify_(self) -> None:
        require(self.kind.data in BUFFER_KINDS, f"kind must be one of {', '.join(BUFFER_KINDS)}, got {self.kind.data}")
        require(self.rows.value.data >= 1 and self.row_bytes.value.data >= 1, "rows and row_bytes must be positive")
        require(1 <= self.slots.value.data <= self.rows.value.data, f"slots must be between 1 and {self.rows.value.data} rows")
        require(self.alignment.value.data in (1, 2, 4, 8, 16, 32), "alignment must be a power of two up to 32")
        if self.offset is not None:
            require(self.start >= 0 and self.start % self.alignment.value.data == 0, f"offset {self.start} is negative or not aligned")


@irdl_op_definition
class ViewOp(IRDLOperation):
    """The bytes of a whole buffer, divided into other rows: what a reshape leaves behind."""

    name = "mcu.view"
    source = operand_def(BUFFER)
    result = result_def(BUFFER)
    rows = prop_def(IntegerAttr)
    row_bytes = prop_def(IntegerAttr)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$source attr-dict"

    @staticmethod
    def make(source: SSAValue, rows: int, row_bytes: int) -> ViewOp:
        """`source` as `rows` rows of `row_bytes` bytes."""
        return ViewOp.create(operands=[source], properties={"rows": number(rows), "row_bytes": number(row_bytes)}, result_types=[BUFFER])

    def verify_(self) -> None:
        buffer = buffer_of(self.source)
        require(self.rows.value.data >= 1 and self.row_bytes.value.data >= 1, "rows and row_bytes must be positive")
        require(self.rows.value.data * self.row_bytes.value.data == buffer.size_bytes, "a view covers its buffer exactly")
        require(buffer.slots == buffer.rows, "a ring has no views")


@irdl_op_definition
class TableOp(IRDLOperation):
    """A constant array of C type `c_type`; a struct's fields are separate arrays in `fields`, in order."""

    name = "mcu.table"
    result = result_def(TABLE)
    suffix = prop_def(StringAttr)
    c_type = prop_def(StringAttr)
    fields = prop_def(ArrayAttr[DenseAttr])
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "attr-dict"

    def verify_(self) -> None:
        # Both become parts of C text, and IR text can come from anywhere.
        require(re.fullmatch(r"[a-z][a-z0-9_]*", self.suffix.data) is not None, "suffix must be a lower-case C identifier")
        require(re.fullmatch(r"[a-z][a-z0-9_]*", self.c_type.data) is not None, "c_type must be the name of a C type")
        require(len(self.fields) >= 1, "a table needs at least one field")

    @property
    def size_bytes(self) -> int:
        """Bytes in flash (fields have the same number of entries and no padding between them)."""
        return sum(field.array.nbytes for field in self.fields.data)


@irdl_op_definition
class CallOp(IRDLOperation):
    """One kernel over all rows of its output. `accesses` says per input which of its rows an output row reads.

    `in_place` lists inputs over which the output may be written in the very call that reads them; `exactly` says that it must then lie
    where the input lies, since a row is not computed from left to right. `fused` are layer and op of another op that the kernel computes.
    """

    name = "mcu.call"
    inputs = var_operand_def(BUFFER)
    output = operand_def(BUFFER)
    tables = var_operand_def(TABLE)
    scratch = opt_operand_def(BUFFER)
    accumulator = opt_operand_def(BUFFER)
    layer = prop_def(StringAttr)
    op = prop_def(StringAttr)
    form = prop_def(StringAttr)
    kernel = prop_def(KernelAttr)
    accesses = prop_def(ArrayAttr[RowAccessAttr])
    in_place = prop_def(ArrayAttr[IntAttr])
    macs = prop_def(IntegerAttr)
    exactly = opt_prop_def(UnitAttr)
    fused = opt_prop_def(ArrayAttr[StringAttr])
    irdl_options = (ParsePropInAttrDict(), AttrSizedOperandSegments(as_property=True))
    assembly_format = "$inputs `to` $output (`tables` `(` $tables^ `)`)? (`scratch` $scratch^)? (`accumulator` $accumulator^)? attr-dict"

    @property
    def ops(self) -> tuple[tuple[str, str], ...]:
        """Layer and op of all ops that the kernel computes, in their order."""
        further = [] if self.fused is None else [str(text.data) for text in self.fused.data]
        return ((str(self.layer.data), str(self.op.data)), *zip(further[::2], further[1::2], strict=True))

    @property
    def layers_text(self) -> str:
        """The layers of all its ops, for people."""
        return " + ".join(layer for layer, _ in self.ops)

    @property
    def ops_text(self) -> str:
        """All its ops, for people."""
        return " + ".join(op for _, op in self.ops)

    def row_accesses(self) -> tuple[RowAccess, ...]:
        """Per input, how output rows read it."""
        return tuple(attribute.access for attribute in self.accesses.data)

    def in_place_inputs(self) -> tuple[int, ...]:
        """Inputs over which the output may be written in the very call that reads them."""
        return tuple(attribute.data for attribute in self.in_place.data)

    def stream_call(self, ids: Mapping[BufferOp, int]) -> StreamCall:
        """This call as the memory planner sees it, with buffers by number."""
        accesses = self.row_accesses() if self.form.data == "row" else (None,) * len(self.inputs)
        inputs = []
        for position, (value, access) in enumerate(zip(self.inputs, accesses, strict=True)):
            rows, row_bytes = row_shape(value)
            # A window of 0 rows stands for an operand that is needed whole, such as a broadcast one.
            used = access if access is None or access.window > 0 else None
            in_place = position in self.in_place_inputs()
            inputs.append(StreamInput(ids[buffer_of(value)], rows, row_bytes, used, in_place, in_place and self.exactly is not None))
        rows, row_bytes = row_shape(self.output)
        if self.form.data in ("tensor", "in_place"):
            rows, row_bytes = 1, rows * row_bytes
        return StreamCall(tuple(inputs), ids[buffer_of(self.output)], rows, row_bytes, self.form.data == "reduction")

    def verify_(self) -> None:
        require(self.form.data in CALL_FORMS, f"form must be one of {', '.join(CALL_FORMS)}, got {self.form.data}")
        require(self.fused is None or len(self.fused) == 2, "fused holds the layer and the op of one other op")
        if self.form.data == "row":
            require(len(self.accesses) == len(self.inputs), "a row call needs one row access per input")
        if self.form.data in ("reduction", "in_place"):
            require(len(self.inputs) == 1, f"a call of form {self.form.data} has one input")
        if self.form.data == "reduction":
            require(self.accumulator is not None, "a reduction needs an accumulator")
        if self.form.data == "in_place":
            require(buffer_of(self.inputs[0]) is buffer_of(self.output), "a call of form in_place writes over its input")
        require(isinstance(self.parent_op(), StreamOp), "mcu.call stands inside mcu.stream")


@irdl_op_definition
class StreamOp(IRDLOperation):
    """A step: its calls in topological order; the last one's output is what the step produces.

    A step that reads an `input_ring` is driven by the caller, who pushes the rows of the input one by one: after each, all calls go as far
    as they can. What it must remember between two rows lies in the buffers that it `keeps`: one of kind `state`, one of kind `counters`.
    A step of one call may run `backwards`, from its last row to its first.
    """

    name = "mcu.stream"
    kept = var_operand_def(BUFFER)
    backwards = opt_prop_def(UnitAttr)
    body = region_def("single_block")
    traits = traits_def(NoTerminator())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "(`keeps` `(` $kept^ `)`)? $body attr-dict"

    @staticmethod
    def make(calls: Sequence[CallOp]) -> StreamOp:
        """A step of `calls`, which must not belong to another block."""
        return StreamOp.create(regions=[Region(Block(list(calls)))])

    @property
    def calls(self) -> tuple[CallOp, ...]:
        """The calls in order."""
        return tuple(operation for operation in self.body.block.ops if isinstance(operation, CallOp))

    @property
    def pushed_input(self) -> BufferOp | None:
        """The ring of input rows that drives this step, if one does."""
        read = (buffer_of(value) for call in self.calls for value in call.inputs)
        return next((buffer for buffer in read if buffer.kind.data == "input_ring"), None)

    @property
    def counters(self) -> int:
        """How many numbers a pushed step remembers: rows of the input and of each call's output, rows that each reduction has taken."""
        return 1 + len(self.calls) + sum(call.form.data == "reduction" for call in self.calls)

    def trace(self, ids: Mapping[BufferOp, int]) -> Trace:
        """What happens row by row when this step runs; pushed rows of an input come when they are asked for. Buffers by number."""
        pushed = self.pushed_input
        supply = [] if pushed is None else [pushed.supply(ids)]
        return replay([*supply, *(call.stream_call(ids) for call in self.calls)], self.backwards is not None)

    def _verify_rings(self) -> None:
        """Every ring keeps the rows that are still to be read; buffers that are no rings keep all."""
        values = [value for call in self.calls for value in (*call.inputs, call.output)]
        buffers = list(dict.fromkeys(buffer_of(value) for value in values))
        inner = {buffer_of(call.output) for call in self.calls[:-1]} | {self.pushed_input}
        for buffer in buffers:
            whole = buffer.slots == buffer.rows
            require(whole or buffer in inner, f"{buffer.layer.data} is a ring of {buffer.slots.value.data} rows outside its stream")
        if all(buffer.slots == buffer.rows for buffer in buffers):
            return
        slots = self.trace({buffer: number for number, buffer in enumerate(buffers)}).slots
        for number, buffer in enumerate(buffers):
            found, wanted = int(buffer.slots.value.data), slots.get(number, 1)
            readers = [call.layer.data for call in self.calls if buffer in map(buffer_of, call.inputs)]
            problem = f"{', '.join(readers)} would read rows of {buffer.layer.data} that were written over"
            require(found >= wanted, f"{problem}: its ring has {found} rows and needs {wanted}")

    def _verify_pushed(self) -> None:
        kept = {buffer.kind.data: buffer for buffer in map(buffer_of, self.kept)}
        if self.pushed_input is None:
            require(not kept, "only a step that reads an input_ring keeps buffers")
            return
        require(len(self.kept) == 2 and set(kept) == {"state", "counters"}, "a step that reads an input_ring keeps a state and counters")
        wanted = COUNTER_BYTES * self.counters
        require(kept["counters"].size_bytes >= wanted, f"counters must have {wanted} bytes, but have {kept['counters'].size_bytes}")
        require(kept["state"].size_bytes >= COUNTER_BYTES, f"state must have {COUNTER_BYTES} bytes")
        produced = {buffer_of(call.output) for call in self.calls}
        for call in self.calls:
            require(call.form.data in ("row", "reduction"), f"{call.layer.data} needs its whole input, but rows are pushed one by one")
            for value in call.inputs:
                buffer = buffer_of(value)
                known = buffer is self.pushed_input or buffer in produced
                require(known, f"{call.layer.data} reads {buffer.layer.data}, which does not come from the pushed rows")
        readers = {use.operation.parent_op() for use in self.pushed_input.result.uses}
        require(readers == {self}, f"the pushed input {self.pushed_input.layer.data} is read outside its step")
        previous = self.prev_op
        while previous is not None:
            require(not isinstance(previous, StreamOp), "rows are pushed into the first step")
            previous = previous.prev_op

    def verify_(self) -> None:
        operations = tuple(self.body.block.ops)
        require(
            len(operations) >= 1 and all(isinstance(operation, CallOp) for operation in operations), "a stream holds calls and nothing else"
        )
        if self.backwards is not None:
            alone = len(operations) == 1 and self.calls[0].form.data == "row" and not self.kept
            require(alone, "only a step of one call that works by rows can run backwards")
        if len(operations) > 1:
            require(all(call.form.data in ("row", "reduction") for call in self.calls), "a stream of several calls works by rows")
        produced = [buffer_of(call.output) for call in self.calls]
        for index, call in enumerate(self.calls):
            for value in call.inputs:
                buffer = buffer_of(value)
                require(
                    buffer in produced[:index] or buffer not in produced[index + 1 :],
                    f"{call.layer.data} reads a buffer that a later call computes",
                )
        for buffer in produced[:-1]:
            users = {use.operation.parent_op() for use in buffer.result.uses if isinstance(use.operation, CallOp)}
            require(users <= {self}, f"the inner buffer {buffer.layer.data} of a stream is used outside it")
        self._verify_pushed()
        self._verify_rings()


def buffer_of(value: SSAValue) -> BufferOp:
    """The buffer behind `value`, through views."""
    while isinstance(value, OpResult) and isinstance(value.op, ViewOp):
        value = value.op.source
    if not (isinstance(value, OpResult) and isinstance(value.op, BufferOp)):
        raise VerifyException("expected the result of mcu.buffer or mcu.view")
    return value.op


def row_shape(value: SSAValue) -> tuple[int, int]:
    """(rows, bytes per row) of a buffer as `value` sees it."""
    if isinstance(value, OpResult) and isinstance(value.op, (ViewOp, BufferOp)):
        return int(value.op.rows.value.data), int(value.op.row_bytes.value.data)
    raise VerifyException("expected the result of mcu.buffer or mcu.view")


MCU = Dialect("mcu", [BufferOp, CallOp, StreamOp, TableOp, ViewOp], [BufferType, KernelAttr, RowAccessAttr, TableType])
