"""The scheduled module as the C templates see it: every name, offset and expression decided, nothing left to a template but layout."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.base import Form, KernelSpec
from tinyc.backends.cortexm.names import bank_field, comment_text
from tinyc.errors import PassError
from tinyc.ir.arenas import arenas_of
from tinyc.ir.mcu import COUNTER_BYTES, BufferOp, CallOp, StreamOp, TableOp, buffer_of, columns_of, row_shape
from tinyc.ir.schedule import steps_of
from tinyc.memory.row_access import RowAccess


@dataclass(frozen=True)
class Body:
    """One specialised kernel body and the C text of it."""

    symbol: str
    source: str


@dataclass(frozen=True)
class TableView:
    """A table in NAME_weights.c."""

    symbol: str
    c_type: str
    table: TableOp
    layer: str


@dataclass(frozen=True)
class ArenaView:
    """One arena in C: the expression `pointer` of its first byte in every function, and the ending of its macros' names.

    `field` is its name in the struct of arenas, empty where there is one arena and no struct.
    """

    pointer: str
    field: str = ""
    bank: str = ""
    bytes: int = 0
    limit_bytes: int | None = None

    @property
    def suffix(self) -> str:
        """Behind `ARENA_SIZE` and `ARENA_ALIGN`."""
        return f"_{self.field.upper()}" if self.field else ""


@dataclass(frozen=True)
class RowsView:
    """Where a call finds rows of a buffer: `slots` of `count` rows are kept, `pitch` bytes apart, from `offset` of an arena on."""

    c_type: str
    offset: int
    count: int
    slots: int
    pitch: int
    arena: str = "arena"
    """C expression of the arena's first byte."""

    @property
    def base(self) -> str:
        """C expression of the first byte."""
        return f"{self.arena} + {self.offset}" if self.offset else self.arena

    def row(self, index: str) -> str:
        """C expression of the first byte of row `index`, itself a C expression."""
        if self.slots == 1:
            return self.base
        factor = index if index.isidentifier() else f"({index})"
        slot = f"{factor} % {self.slots}" if self.slots < self.count else factor
        return f"{self.base} + {slot} * {self.pitch}"


@dataclass(frozen=True)
class InputView:
    """An input of a call. `window` 0 passes one pointer: to row `row * stride - pad`, or to the whole buffer where `whole` is set."""

    rows: RowsView
    window: int
    access: RowAccess
    whole: bool
    producer: str | None
    """Function of the same stream that computes this input, if one does."""
    counter: int | None = None
    """In a pushed step: the number of the counter that says how many rows of this input exist."""
    at_base: bool = False
    """Whether the pointer is to the first byte of the buffer although only some rows are needed."""

    @property
    def first_row(self) -> str:
        """C expression of the first row that output row `row` reads."""
        return _first_row(self.access, 0)

    @property
    def rows_needed(self) -> str:
        """C expression of how many rows must exist before output row `row` can be computed; may exceed `rows.count`."""
        if self.whole:
            return str(self.rows.count)
        return _first_row(self.access, (self.access.window - 1) * self.access.dilation + 1)


@dataclass(frozen=True)
class CallView:
    """One call of one body."""

    function: str
    index: int
    comment: str
    form: str
    body: str
    inputs: tuple[InputView, ...]
    output: RowsView
    tables: tuple[str, ...]
    scratch: str | None
    """C expression of its first byte."""
    accumulator: str | None
    takes_row: bool
    consumed: int | None = None
    """In a pushed step: the number of the counter that says how many rows a reduction has taken."""

    @property
    def uses_row(self) -> bool:
        """Whether the number of the output row occurs in the text of the call."""
        texts = [self.output.row("row")]
        for entry in self.inputs:
            if entry.producer or entry.counter is not None:
                texts.append(entry.rows_needed)
            if entry.window:
                texts.append(entry.first_row)
            elif not entry.whole and not entry.at_base:
                texts.append(entry.rows.row(entry.first_row))
        # Not `arenas->row`, a bank of that name.
        return self.takes_row or any(re.search(r"(?<!>)\brow\b", text) for text in texts)


@dataclass(frozen=True)
class PushView:
    """How rows of the network's input enter its first step: the ring that takes them, what is remembered between two of them, and where.

    The state is one word: `tag`, which memory that was never prepared hardly holds, plus the number of rows that were pushed.
    """

    ring: RowsView
    state: str
    counters: str
    """C expressions of their first bytes."""
    counter_bytes: int
    tag: str


@dataclass(frozen=True)
class StepView:
    """One step: calls in topological order, the last one drives."""

    function: str
    comment: str
    calls: tuple[CallView, ...]
    pushed: PushView | None = None
    """For the step into which the caller pushes the rows of the input."""
    backwards: bool = False
    """Whether the last row is computed first."""

    @property
    def streamed(self) -> bool:
        """Whether calls run row by row, each in a function of its own."""
        return len(self.calls) > 1 or self.pushed is not None


@dataclass(frozen=True)
class Program:
    """Everything that NAME.c and NAME_weights.c consist of."""

    bodies: tuple[Body, ...]
    tables: tuple[TableView, ...]
    steps: tuple[StepView, ...]
    headers: tuple[str, ...]
    arenas: tuple[ArenaView, ...]

    @property
    def banked(self) -> bool:
        """Whether functions take a struct of several arenas instead of a pointer to one."""
        return len(self.arenas) > 1

    @property
    def pushed(self) -> PushView | None:
        """How the rows of the input are pushed; None where the whole input lies in the arena."""
        return self.steps[0].pushed if self.steps else None


def _linear(variable: str, factor: int, constant: int) -> str:
    text = variable if factor == 1 else f"{variable} * {factor}"
    if constant:
        text += f" {'+' if constant > 0 else '-'} {abs(constant)}"
    return text


def _first_row(access: RowAccess, further: int) -> str:
    """C expression of `access.first(row) + further`."""
    if access.divisor == 1:
        return _linear("row", access.stride, further - access.pad)
    # C's division truncates towards 0: the numerator is lifted by whole rows until it cannot be negative.
    lift = max(0, -(-access.pad // access.divisor))
    numerator = _linear("row", access.stride, lift * access.divisor - access.pad)
    return _linear(f"({numerator}) / {access.divisor}", 1, further - lift)


def step_function(prefix: str, number: int) -> str:
    """The C function of step `number`."""
    return f"{prefix}_step{number}"


def call_function(prefix: str, number: int, index: int, step: StreamOp) -> str:
    """The C function of call `index` of `step`, which has this number: the step's own where there is one call and nothing is pushed."""
    return step_function(prefix, number) + (f"_{index}" if len(step.calls) > 1 or step.pushed_input is not None else "")


def build_program(module: ModuleOp, prefix: str) -> Program:
    """The view of a module of the `mcu` level whose memory is planned."""
    bodies: dict[KernelSpec, Body] = {}
    counts: dict[str, int] = {}
    tables: dict[TableOp, TableView] = {}
    headers: set[str] = set()
    shared: dict[str, str] = {}
    steps = []
    layer = 0
    for number, step in enumerate(steps_of(module)):
        views: list[CallView] = []
        producers: dict[BufferOp, str] = {}
        counters = _counters(step)
        for index, call in enumerate(step.calls):
            spec = decode_kernel(call.kernel)
            headers.update(spec.headers)
            if spec not in bodies:
                counts[spec.family] = counts.get(spec.family, 0) + 1
                suffix = f"_{counts[spec.family]}" if counts[spec.family] > 1 else ""
                symbol = f"{prefix}_{spec.family}{suffix}"
                bodies[spec] = Body(symbol, _source(spec, symbol, prefix, shared))
            for value in call.tables:
                table = value.owner
                assert isinstance(table, TableOp)
                symbol = f"{prefix}_t{layer}_{table.suffix.data}"
                tables.setdefault(table, TableView(symbol, table.c_type.data, table, comment_text(call.layer.data)))
            layer += 1
            function = call_function(prefix, number, index, step)
            _check_scratch(call, spec)
            view = _call_view(call, spec, bodies[spec].symbol, tables, function, index, producers)
            views.append(_pushed_call(call, view, counters) if counters else view)
            producers[buffer_of(call.output)] = function
        name = step_function(prefix, number)
        steps.append(StepView(name, _step_comment(step), tuple(views), _push_view(step, views, prefix), step.backwards is not None))
    return Program(tuple(bodies.values()), tuple(tables.values()), tuple(steps), tuple(sorted(headers)), arena_views(module))


def arena_views(module: ModuleOp) -> tuple[ArenaView, ...]:
    """The arenas of a module whose memory is planned, as C sees them."""
    arenas = arenas_of(module)
    if len(arenas) == 1:
        return (ArenaView("arena", "", arenas[0].bank, arenas[0].bytes, arenas[0].limit_bytes),)
    fields = [bank_field(arena.bank) for arena in arenas]
    return tuple(
        ArenaView(f"arenas->{field}", field, arena.bank, arena.bytes, arena.limit_bytes)
        for field, arena in zip(fields, arenas, strict=True)
    )


def arena_pointer(buffer: BufferOp) -> str:
    """C expression of the first byte of the arena that `buffer` lies in."""
    return f"arenas->{bank_field(buffer.bank_name)}" if buffer.bank_name else "arena"


def _address(buffer: BufferOp) -> str:
    return f"{arena_pointer(buffer)} + {buffer.start}"


def _source(spec: KernelSpec, symbol: str, prefix: str, shared: dict[str, str]) -> str:
    """Text of a body. `shared` names the functions that earlier bodies brought along, by their text without a name."""
    text = spec.shared_source("SYMBOL")
    if not text:
        return spec.source(symbol)
    first = text not in shared
    name = shared.setdefault(text, f"{prefix}_shared_{len(shared) + 1}")
    return (spec.shared_source(name) if first else "") + spec.own_source(symbol, name)


def _counters(step: StreamOp) -> dict[BufferOp, int]:
    """In a pushed step, the counter of each buffer whose rows come one by one: first the input's; empty for other steps."""
    pushed = step.pushed_input
    if pushed is None:
        return {}
    return {buffer: number for number, buffer in enumerate([pushed, *(buffer_of(call.output) for call in step.calls)])}


def _pushed_call(call: CallOp, view: CallView, counters: Mapping[BufferOp, int]) -> CallView:
    """`view` as a call that may have to wait for rows."""
    inputs = tuple(replace(entry, counter=counters[buffer_of(value)]) for value, entry in zip(call.inputs, view.inputs, strict=True))
    step = call.parent_op()
    assert isinstance(step, StreamOp)
    reductions = [entry for entry in step.calls if entry.form.data == "reduction"]
    consumed = len(counters) + reductions.index(call) if call in reductions else None
    return replace(view, index=counters[buffer_of(call.output)], inputs=inputs, consumed=consumed)


def _push_view(step: StreamOp, calls: Sequence[CallView], prefix: str) -> PushView | None:
    source = step.pushed_input
    if source is None:
        return None
    c_type = next(entry.rows.c_type for call in calls for entry in call.inputs if entry.counter == 0)
    kept = {buffer.kind.data: buffer for buffer in map(buffer_of, step.kept)}
    rows = int(source.rows.value.data)
    # The low bits are left to the number of rows; the highest one tells it from memory that is all zeros.
    tag = (zlib.crc32(f"{prefix} {source.layer.data} {rows}".encode()) | 1 << 31) >> rows.bit_length() << rows.bit_length()
    return PushView(
        _rows_view(source.result, c_type),
        _address(kept["state"]),
        _address(kept["counters"]),
        COUNTER_BYTES * step.counters,
        f"0x{tag:08x}U",
    )


def _step_comment(step: StreamOp) -> str:
    calls = step.calls
    if len(calls) == 1 and step.pushed_input is not None:
        return f"row by row as they are pushed: {calls[0].ops_text}: {comment_text(calls[0].layers_text)}"
    if len(calls) == 1:
        order = "from the last row to the first: " if step.backwards is not None else ""
        return f"{order}{calls[0].ops_text}: {comment_text(calls[0].layers_text)}"
    return f"streamed row by row: {', '.join(call.ops_text for call in calls)}: {comment_text(calls[-1].layers_text)}"


def _rows_view(value: SSAValue, c_type: str, slot_bytes: int | None = None) -> RowsView:
    rows, row_bytes = row_shape(value)
    columns = columns_of(value)
    pitch = row_bytes if columns is None else columns.pitch
    buffer = buffer_of(value)
    slots = buffer.slots.value.data if buffer.slots != buffer.rows else rows
    first = buffer.start + (0 if columns is None else columns.first)
    return RowsView(c_type, first, rows, int(slots), pitch if slot_bytes is None else slot_bytes, arena_pointer(buffer))


def _check_in_range(call: CallOp, access: RowAccess, rows: int) -> None:
    """A body that takes one row by a plain pointer must never be given padding. Raises PassError."""
    last = row_shape(call.output)[0] - 1
    if access.first(0) < 0 or access.end(last) > rows:
        raise PassError(f"{call.layer.data}: {call.kernel.spec.data} takes plain rows, but reads beyond the {rows} rows of its input")


def _check_scratch(call: CallOp, spec: KernelSpec) -> None:
    """A kernel would write behind a scratch buffer that some pass left too small. Raises PassError."""
    there = buffer_of(call.scratch).size_bytes if call.scratch else 0
    if there < spec.scratch_bytes:
        raise PassError(f"{call.layer.data}: {call.kernel.spec.data} needs {spec.scratch_bytes} bytes of scratch, the passes left {there}")


def _call_view(
    call: CallOp,
    spec: KernelSpec,
    body: str,
    tables: Mapping[TableOp, TableView],
    function: str,
    index: int,
    producers: Mapping[BufferOp, str],
) -> CallView:
    inputs = []
    accesses: Sequence[RowAccess] = call.row_accesses() if spec.form is Form.ROW else [RowAccess(window=0)] * len(call.inputs)
    windows = spec.windows if spec.form is Form.ROW else (0,) * len(call.inputs)
    at_base = spec.ring_inputs if spec.form is Form.ROW else (False,) * len(call.inputs)
    for value, access, window, ring, c_type in zip(call.inputs, accesses, windows, at_base, spec.input_types, strict=True):
        whole = access.window == 0
        if spec.form is Form.ROW and window == 0 and not whole and not ring:
            _check_in_range(call, access, row_shape(value)[0])
        inputs.append(InputView(_rows_view(value, c_type), window, access, whole, producers.get(buffer_of(value)), at_base=ring))
    return CallView(
        function,
        index,
        f"{call.ops_text}: {comment_text(call.layers_text)}",
        spec.form.value,
        body,
        tuple(inputs),
        _rows_view(call.output, spec.output_type, spec.output_slot_bytes),
        tuple(tables[value.owner].symbol for value in call.tables if isinstance(value.owner, TableOp)),
        _address(buffer_of(call.scratch)) if call.scratch else None,
        _address(buffer_of(call.accumulator)) if call.accumulator else None,
        spec.takes_row,
    )
