"""The executable meaning of the `mcu` level: runs a planned schedule row by row in an arena of bytes, rings and overlaps included.

The order of events is that of memory.stream.replay, which is also the order of the C. What a row holds comes from the evaluator of the `nn`
op behind its call, which is given only the bytes that the event reads; all others are garbage. So nothing here knows a kernel. Each byte of
the arena also knows which byte of which buffer was written there last: a row that was overwritten before its last reader came is an error
even where its value would not have mattered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, IntAttr, ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import SSAValue

from tinyc.errors import ModelError, PassError
from tinyc.interpreter.evaluate import evaluate_op
from tinyc.interpreter.ops import Array
from tinyc.ir.mcu import AGAIN, RECOMPUTED, BufferOp, CallOp, StreamOp, buffer_of
from tinyc.ir.nn_base import NNOp, tensor_of
from tinyc.ir.nn_shape import ConstantOp, ReshapeOp
from tinyc.ir.schedule import steps_of
from tinyc.ir.tensor_type import NUMPY_TYPES, Tensor
from tinyc.memory.stream import Event, Read
from tinyc.numerics.profile import Profile

_COPY = "COPY"
_GARBAGE = 0x5A
_NOBODY = -1
_LARGEST_BUFFER = 1 << 40


def evaluate_schedule(graph: ModuleOp, schedule: ModuleOp, inputs: Sequence[Array], profile: Profile) -> list[Array]:
    """What `schedule` computes for `inputs`, as arrays like those that `evaluate` gives for `graph`.

    `schedule` is what select-kernels and later passes, plan-memory last, made of `graph`. Raises PassError where it reads bytes that are
    not there (any more), or does not belong to `graph`; ModelError for another number of inputs; VerifyException where memory is
    not planned.
    """
    meaning = _meaning(graph, schedule)
    if len(inputs) != len(meaning.arguments):
        raise ModelError(f"the network has {len(meaning.arguments)} inputs, {len(inputs)} were given")
    run = _Run(schedule, meaning, inputs, profile)
    for step in steps_of(schedule):
        run.step(step)
    return [run.output(index, value) for index, value in enumerate(meaning.results)]


@dataclass(frozen=True)
class _Meaning:
    """`ops` by call (a copy has none, a kernel that computes several has them in order), and where the values of `main` lie."""

    ops: Mapping[CallOp, tuple[NNOp, ...]]
    buffers: Mapping[SSAValue, BufferOp]
    arguments: Sequence[SSAValue]
    results: Sequence[SSAValue]
    originals: Mapping[BufferOp, BufferOp]
    """For each buffer into which something is computed again the one that had it first."""


def _meaning(graph: ModuleOp, schedule: ModuleOp) -> _Meaning:
    """Calls keep the order of the ops that they were made of; copies of inputs and outputs come last."""
    function = next((op for op in graph.ops if isinstance(op, FuncOp) and op.sym_name.data == "main"), None)
    if function is None:
        raise PassError("the graph has no function `main`: give it as select-kernels finds it")
    block = function.body.block
    inputs = {index: op for op in schedule.ops if isinstance(op, BufferOp) for index in _indices(op, "input_index")}
    if len(inputs) != len(block.args):
        raise PassError(f"the schedule was not made of this graph: it has {len(inputs)} inputs, the graph has {len(block.args)}")
    buffers: dict[SSAValue, BufferOp] = {argument: inputs[index] for index, argument in enumerate(block.args)}
    every = [call for step in steps_of(schedule) for call in step.calls]
    calls = [call for call in every if not call.repeats]
    ops: dict[CallOp, tuple[NNOp, ...]] = {}
    # The op of each call and, behind it, those that its kernel computes as well.
    places = [(call, name) for call in calls for name in call.ops]
    found = 0
    results: Sequence[SSAValue] = ()
    for op in block.ops:
        if isinstance(op, ReturnOp):
            results = tuple(op.operands)
        elif isinstance(op, ReshapeOp):
            buffers[op.result] = buffers[op.input]
        elif isinstance(op, NNOp) and not isinstance(op, ConstantOp):
            call, name = places[found] if found < len(places) else (None, ("", ""))
            if call is None or name != (op.layer, op.title):
                raise PassError(f"the schedule was not made of this graph: it has no call for {op.title} {op.layer} in its place")
            ops[call] = (*ops.get(call, ()), op)
            buffers[op.results[0]] = buffer_of(call.output)
            found += 1
    surplus = next((call for call, _ in places[found:] if call.op.data != _COPY), None)
    if surplus is not None:
        raise PassError(f"the schedule was not made of this graph, which has no {surplus.op.data} {surplus.layer.data}")
    marked = {op.attributes[RECOMPUTED]: op for op in schedule.ops if isinstance(op, BufferOp) and RECOMPUTED in op.attributes}
    originals = {op: marked[op.attributes[AGAIN]] for op in schedule.ops if isinstance(op, BufferOp) and op.again}
    # What works in place follows in the same buffer.
    first: dict[BufferOp, tuple[NNOp, ...]] = {}
    for call, computed in ops.items():
        first.setdefault(buffer_of(call.output), computed)
    repeated = [(call, buffer_of(call.output)) for call in every if call.repeats]
    ops |= {call: first[originals.get(buffer, buffer)] for call, buffer in repeated}
    return _Meaning(ops, buffers, tuple(block.args), results, originals)


def _indices(buffer: BufferOp, attribute: str) -> list[int]:
    found = buffer.attributes.get(attribute)
    return [item.data for item in found.data if isinstance(item, IntAttr)] if isinstance(found, ArrayAttr) else []


class _Arena:
    """Bytes, and for each of them which byte of which buffer it is. The arenas of several banks lie one behind the other."""

    def __init__(self, buffers: Sequence[BufferOp]) -> None:
        self.numbers = {buffer: number for number, buffer in enumerate(buffers)}
        self.bases, size = dict[str, int](), 0
        for bank in sorted({buffer.bank_name for buffer in buffers}):
            self.bases[bank] = size
            size += max(buffer.start + buffer.size_bytes for buffer in buffers if buffer.bank_name == bank)
        self.values = np.full(size, _GARBAGE, np.uint8)
        self.contents = np.full(size, _NOBODY, np.int64)

    def write(self, buffer: BufferOp, first: int, values: Array) -> None:
        """Puts bytes `first` and following of a buffer in their places."""
        places, contents = self._places(buffer, first, first + len(values))
        self.values[places], self.contents[places] = values, contents

    def spoil(self, buffer: BufferOp, first: int, end: int) -> None:
        """Leaves garbage in the places of bytes [first, end) of a buffer."""
        places, _ = self._places(buffer, first, end)
        self.values[places], self.contents[places] = _GARBAGE, _NOBODY

    def read(self, buffer: BufferOp, first: int, end: int, reader: str) -> Array:
        """Bytes [first, end) of a buffer. Raises PassError where they are not in their places."""
        places, contents = self._places(buffer, first, end)
        stale = np.flatnonzero(self.contents[places] != contents)
        if stale.size:
            row = (first + int(stale[0])) // int(buffer.row_bytes.value.data)
            raise PassError(f"{reader} reads row {row} of {buffer.kind.data} {buffer.layer.data}, where something else lies")
        return self.values[places]

    def _places(self, buffer: BufferOp, first: int, end: int) -> tuple[Array, Array]:
        # Row r lies in slot r % slots, so its bytes repeat with the size of the ring; a buffer that is no ring holds all its rows.
        positions = np.arange(first, end)
        return self.bases[buffer.bank_name] + buffer.start + positions % buffer.size_bytes, self.numbers[
            buffer
        ] * _LARGEST_BUFFER + positions


class _Run:
    """State of one execution."""

    def __init__(self, schedule: ModuleOp, meaning: _Meaning, inputs: Sequence[Array], profile: Profile) -> None:
        self.meaning, self.profile = meaning, profile
        self.buffers = [op for op in schedule.ops if isinstance(op, BufferOp)]
        self.arena = _Arena(self.buffers)
        self.partial: dict[CallOp, dict[BufferOp, Array]] = {}
        self.supplied: dict[BufferOp, Array] = {}
        for argument, array in zip(meaning.arguments, inputs, strict=True):
            buffer = meaning.buffers[argument]
            if buffer.kind.data == "input_ring":
                self.supplied[buffer] = _bytes_of(array)
            else:
                self.arena.write(buffer, 0, _bytes_of(array))

    def step(self, step: StreamOp) -> None:
        """All events of a step. A pushed row of an input comes when it is asked for; the C takes it when the caller has it."""
        pushed = step.pushed_input
        calls = step.calls if pushed is None else (None, *step.calls)
        for kept in map(buffer_of, step.kept):
            self._keep(kept)
        for event in step.trace(self.arena.numbers).events:
            call = calls[event.call]
            if call is not None:
                self._execute(call, event)
            else:
                buffer = self.buffers[event.output]
                self.arena.write(buffer, event.write_first, self.supplied[buffer][event.write_first : event.write_end])
            for kept in map(buffer_of, step.kept):
                self._require_kept(kept, "the next push")

    def output(self, index: int, value: SSAValue) -> Array:
        """Output `index` as the caller finds it after the last step."""
        for buffer in self.buffers:
            if buffer.kind.data == "state":
                self._require_kept(buffer, "the caller")
        buffer = next(buffer for buffer in self.buffers if index in _indices(buffer, "output_index"))
        tensor = tensor_of(value)
        return self.arena.read(buffer, 0, tensor.size_bytes, "the caller").view(NUMPY_TYPES[tensor.element]).reshape(tensor.shape)

    def _execute(self, call: CallOp, event: Event) -> None:
        operands = self._operands(call, event)
        if event.write_first == event.write_end:
            return
        result = self._result(call, operands)
        self.arena.write(self.buffers[event.output], event.write_first, result[event.write_first : event.write_end])
        self.partial.pop(call, None)

    def _operands(self, call: CallOp, event: Event) -> dict[BufferOp, Array]:
        """Bytes of the operands: those that this event reads and, in a reduction, those that earlier ones read; otherwise garbage."""
        sources = [buffer_of(value) for value in call.inputs]
        operands = {source: np.full(int(source.rows.value.data * source.row_bytes.value.data), _GARBAGE, np.uint8) for source in sources}
        if call.accumulator is not None:
            accumulator = buffer_of(call.accumulator)
            if call in self.partial:
                self._require_kept(accumulator, call.layer.data)
            self._keep(accumulator)
            operands = self.partial.setdefault(call, operands)
        # A kernel may write before it has read everything, except where it works in place.
        in_place = [read for read in event.reads if self._reads_before_writing(call, event, read)]
        for read in in_place:
            source = self.buffers[read.buffer]
            operands[source][read.first : read.end] = self.arena.read(source, read.first, read.end, call.layer.data)
        self.arena.spoil(self.buffers[event.output], event.write_first, event.write_end)
        if call.scratch is not None:
            scratch = buffer_of(call.scratch)
            self.arena.spoil(scratch, 0, scratch.size_bytes)
        for read in event.reads:
            if read not in in_place:
                source = self.buffers[read.buffer]
                operands[source][read.first : read.end] = self.arena.read(source, read.first, read.end, call.layer.data)
        return operands

    def _reads_before_writing(self, call: CallOp, event: Event, read: Read) -> bool:
        """Whether each byte of `read` is read before anything is written over it."""
        if read.exactly:
            source, result = self.buffers[read.buffer], self.buffers[event.output]
            together = (source.bank_name, source.start + read.first) == (result.bank_name, result.start + event.write_first)
            return together and source.slots == source.rows and result.slots == result.rows
        return read.in_place or call.form.data == "in_place"

    def _result(self, call: CallOp, operands: Mapping[BufferOp, Array]) -> Array:
        """Bytes of the whole result, right where they depend on bytes that were read."""
        ops = self.meaning.ops.get(call)
        if ops is None:
            return operands[buffer_of(call.inputs[0])]
        read = {self.meaning.originals.get(buffer, buffer): buffer for buffer in operands}
        known: dict[SSAValue, Array] = {}
        for op in ops:
            arrays = []
            for value in op.operands:
                tensor = tensor_of(value)
                if isinstance(value.owner, ConstantOp):
                    arrays.append(value.owner.value.array)
                elif value in known:
                    arrays.append(known[value])
                else:
                    buffer = read[self.meaning.buffers[value]]
                    packed = _packed(buffer, operands[buffer], tensor)
                    arrays.append(packed.view(NUMPY_TYPES[tensor.element]).reshape(tensor.shape))
            known[op.results[0]] = evaluate_op(op, arrays, self.profile)
        return _spread(buffer_of(call.output), _bytes_of(known[ops[-1].results[0]]))

    def _keep(self, buffer: BufferOp) -> None:
        self.arena.write(buffer, 0, np.zeros(buffer.size_bytes, np.uint8))

    def _require_kept(self, buffer: BufferOp, reader: str) -> None:
        self.arena.read(buffer, 0, buffer.size_bytes, reader)


def _bytes_of(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _packed(buffer: BufferOp, values: Array, tensor: Tensor) -> Array:
    """The bytes of a tensor in a buffer whose rows may be longer than its own, or hold some of its columns; others are garbage."""
    rows = int(buffer.rows.value.data)
    packed = np.full((rows, tensor.size_bytes // rows), _GARBAGE, np.uint8)
    first, size = buffer.strip or (0, packed.shape[1])
    packed[:, first : first + size] = values.reshape(rows, -1)[:, :size]
    return packed.reshape(-1)


def _spread(buffer: BufferOp, values: Array) -> Array:
    """Bytes of a tensor, or of those of its columns that are there, in rows as long as those of `buffer`.

    A ring that only kernels of one stream see may have a layout of its own, such as int16 planes with borders. Its rows hold the same
    numbers, which stand here as in the tensor, and take as much room.
    """
    rows, row_bytes = int(buffer.rows.value.data), int(buffer.row_bytes.value.data)
    spread = np.full((rows, row_bytes), _GARBAGE, np.uint8)
    first, size = buffer.strip or (0, values.size // rows)
    spread[:, :size] = values.reshape(rows, -1)[:, first : first + size]
    return spread.reshape(-1)
