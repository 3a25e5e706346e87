"""Where the data of the scheduled level lies: buffers in the arena, views of them, tables in flash; and the attributes of this level."""

from __future__ import annotations

import re
from collections.abc import Mapping

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, IntAttr, IntegerAttr, StringAttr, i64
from xdsl.ir import OpResult, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
)
from xdsl.utils.exceptions import VerifyException

from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import require
from tinyc.ir.tensor_type import TensorType
from tinyc.memory.row_access import RowAccess
from tinyc.memory.stream import Columns, StreamCall

BUFFER_KINDS = ("input", "input_ring", "output", "tensor", "ring", "scratch", "accumulator", "counters", "state")
"""What a buffer is for. An input or output of the network that is also something else is `input` or `output`.

An `input_ring` holds some rows of an input that the caller pushes one by one into the first step; `state` and `counters` are what the
network remembers between two pushes: how many rows it was given, and how far each call of that step has come.
"""
COUNTER_BYTES = 4
RECOMPUTED, AGAIN = "recomputed", "again"
"""Attributes of buffers, with equal numbers: one that is not kept for its last reader, and one into which its rows are computed again."""
STRIP = "strip"
"""Attribute of a buffer that holds some columns of a tensor: the first of their bytes in a row of the tensor, and how many there are."""


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


@irdl_attr_definition
class PartAttr(ParametrizedAttribute):
    """`#mcu.part<number, parts, again>`: a call computes strip `number` of `parts`; `again` multiply-adds of it were done before."""

    name = "mcu.part"
    number: IntAttr
    parts: IntAttr
    again: IntAttr


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

    @property
    def strip(self) -> tuple[int, int] | None:
        """(first byte in a row of the tensor, bytes) where it holds some columns of a tensor."""
        found = self.attributes.get(STRIP)
        if not isinstance(found, ArrayAttr):
            return None
        first, size = (int(entry.data) for entry in found.data if isinstance(entry, IntAttr))
        return first, size

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
        if STRIP in self.attributes:
            entry = self.attributes[STRIP]
            plain = isinstance(entry, ArrayAttr) and len(entry) == 2 and all(isinstance(item, IntAttr) for item in entry.data)
            require(plain, "strip must be two numbers")


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
        require(not isinstance(self.source.owner, ColumnsOp), "columns have no views")


@irdl_op_definition
class ColumnsOp(IRDLOperation):
    """Some columns of a buffer: `row_bytes` bytes of each row from byte `first` of the row on. Rows stay as far apart as they are."""

    name = "mcu.columns"
    source = operand_def(BUFFER)
    result = result_def(BUFFER)
    first = prop_def(IntegerAttr)
    row_bytes = prop_def(IntegerAttr)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$source attr-dict"

    @staticmethod
    def make(source: SSAValue, first: int, row_bytes: int) -> ColumnsOp:
        """Bytes [first, first + row_bytes) of each row of `source`."""
        properties = {"first": number(first), "row_bytes": number(row_bytes)}
        return ColumnsOp.create(operands=[source], properties=properties, result_types=[BUFFER])

    @property
    def start(self) -> int:
        """Byte of the row at which the columns begin."""
        return int(self.first.value.data)

    def verify_(self) -> None:
        require(isinstance(self.source.owner, BufferOp), "columns are those of a buffer, not of a view")
        _, pitch = row_shape(self.source)
        size = int(self.row_bytes.value.data)
        require(self.start >= 0 and size >= 1 and self.start + size <= pitch, f"columns must lie within the {pitch} bytes of a row")


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


def buffer_of(value: SSAValue) -> BufferOp:
    """The buffer behind `value`, through views."""
    while isinstance(value, OpResult) and isinstance(value.op, (ViewOp, ColumnsOp)):
        value = value.op.source
    if not (isinstance(value, OpResult) and isinstance(value.op, BufferOp)):
        raise VerifyException("expected the result of mcu.buffer, mcu.view or mcu.columns")
    return value.op


def columns_of(value: SSAValue) -> Columns | None:
    """Which part of each row of its buffer `value` is; None where it is all of it."""
    if isinstance(value, OpResult) and isinstance(value.op, ColumnsOp):
        return Columns(value.op.start, row_shape(value.op.source)[1])
    return None


def row_shape(value: SSAValue) -> tuple[int, int]:
    """(rows, bytes per row) of a buffer as `value` sees it."""
    if isinstance(value, OpResult) and isinstance(value.op, ColumnsOp):
        return row_shape(value.op.source)[0], int(value.op.row_bytes.value.data)
    if isinstance(value, OpResult) and isinstance(value.op, (ViewOp, BufferOp)):
        return int(value.op.rows.value.data), int(value.op.row_bytes.value.data)
    raise VerifyException("expected the result of mcu.buffer, mcu.view or mcu.columns")
