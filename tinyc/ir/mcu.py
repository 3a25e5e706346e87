"""The scheduled level: buffers in the arena, tables in flash, and steps that call one specialised kernel per row.

The order of the `mcu.stream` ops is the order of execution. A stream with one call computes a tensor; a stream with several runs them
row by row: the last call pulls the rows that it needs from the calls before it, and tensors between them are rings of `slots` rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xdsl.dialects.builtin import ArrayAttr, IntAttr, IntegerAttr, StringAttr, UnitAttr
from xdsl.ir import Block, Dialect, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import NoTerminator

from tinyc.ir.mcu_data import (
    AGAIN,
    BUFFER,
    BUFFER_KINDS,
    COUNTER_BYTES,
    RECOMPUTED,
    STRIP,
    TABLE,
    BufferOp,
    BufferType,
    ColumnsOp,
    KernelAttr,
    PartAttr,
    RowAccessAttr,
    TableOp,
    TableType,
    ViewOp,
    buffer_of,
    columns_of,
    number,
    row_shape,
)
from tinyc.ir.nn_base import require
from tinyc.memory.row_access import RowAccess
from tinyc.memory.stream import MOST_ROWS, StreamCall, StreamInput, Trace, replay

CALL_FORMS = ("row", "reduction", "tensor", "in_place")
__all__ = [
    "AGAIN",
    "BUFFER",
    "BUFFER_KINDS",
    "CALL_FORMS",
    "COUNTER_BYTES",
    "MCU",
    "RECOMPUTED",
    "STRIP",
    "TABLE",
    "BufferOp",
    "BufferType",
    "CallOp",
    "ColumnsOp",
    "KernelAttr",
    "PartAttr",
    "RowAccessAttr",
    "StreamOp",
    "TableOp",
    "TableType",
    "ViewOp",
    "buffer_of",
    "calls_with",
    "columns_of",
    "number",
    "row_shape",
]


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
    part = opt_prop_def(PartAttr)
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
            exactly = in_place and self.exactly is not None
            inputs.append(StreamInput(ids[buffer_of(value)], rows, row_bytes, used, in_place, exactly, columns_of(value)))
        rows, row_bytes = row_shape(self.output)
        if self.form.data in ("tensor", "in_place"):
            rows, row_bytes = 1, rows * row_bytes
        output = ids[buffer_of(self.output)]
        return StreamCall(tuple(inputs), output, rows, row_bytes, self.form.data == "reduction", columns_of(self.output))

    @property
    def repeats(self) -> bool:
        """Whether an earlier call computes the same op: into a buffer that is not kept, or other columns of it."""
        return buffer_of(self.output).again or (self.part is not None and self.part.number.data > 0)

    @property
    def again_macs(self) -> int:
        """Multiply-adds that were executed before."""
        if self.part is not None:
            return int(self.part.again.data)
        return int(self.macs.value.data) if buffer_of(self.output).again else 0

    def verify_(self) -> None:
        require(self.form.data in CALL_FORMS, f"form must be one of {', '.join(CALL_FORMS)}, got {self.form.data}")
        require(self.fused is None or len(self.fused) == 2, "fused holds the layer and the op of one other op")
        if any(columns_of(value) is not None for value in (*self.inputs, self.output)):
            require(self.form.data == "row", f"a call of form {self.form.data} takes whole rows")
            require(row_shape(self.output)[0] <= MOST_ROWS, f"a call that takes columns has at most {MOST_ROWS} rows")
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
        slots = self.trace({buffer: index for index, buffer in enumerate(buffers)}).slots
        for index, buffer in enumerate(buffers):
            found, wanted = int(buffer.slots.value.data), slots.get(index, 1)
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
        require(len(set(produced)) == len(produced), "two calls of a stream write the same buffer")
        for index, call in enumerate(self.calls):
            for value in call.inputs:
                buffer = buffer_of(value)
                require(
                    buffer in produced[:index] or buffer not in produced[index + 1 :],
                    f"{call.layer.data} reads a buffer that a later call computes",
                )
        for buffer in produced[:-1]:
            users = {call.parent_op() for call in calls_with(buffer)}
            require(users <= {self}, f"the inner buffer {buffer.layer.data} of a stream is used outside it")
        whole = all(columns_of(call.output) is None for call in self.calls[:-1])
        require(whole, "only the last call of a stream writes columns of a tensor")
        if columns_of(self.calls[-1].output) is not None:
            _verify_columns(produced[-1])
        self._verify_pushed()
        self._verify_rings()


def calls_with(buffer: BufferOp) -> Iterator[CallOp]:
    """The calls that read or write `buffer`, through views or not; some more than once."""
    queue: list[SSAValue] = [buffer.result]
    while queue:
        for use in queue.pop().uses:
            if isinstance(use.operation, CallOp):
                yield use.operation
            elif isinstance(use.operation, (ViewOp, ColumnsOp)):
                queue.append(use.operation.result)


def _verify_columns(buffer: BufferOp) -> None:
    """The calls that write some columns of `buffer` write all of them together, and none twice."""
    written = []
    for use in buffer.result.uses:
        if isinstance(use.operation, ColumnsOp):
            view = use.operation
            written += [view for call in calls_with(buffer) if call.output is view.result]
    whole = any(call.output is buffer.result and call.form.data != "in_place" for call in calls_with(buffer))
    require(not whole, f"{buffer.layer.data} is written whole and in columns")
    end = 0
    for view in sorted(written, key=lambda view: view.start):
        require(view.start == end, f"columns of {buffer.layer.data} are written twice or not at all")
        end = view.start + int(view.row_bytes.value.data)
    require(end == buffer.row_bytes.value.data, f"the last columns of {buffer.layer.data} are not written")


MCU = Dialect("mcu", [BufferOp, CallOp, ColumnsOp, StreamOp, TableOp, ViewOp], [BufferType, KernelAttr, PartAttr, RowAccessAttr, TableType])
