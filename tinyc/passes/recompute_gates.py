"""recompute-gates: computes a tensor a second time where something that needs all of it stands between two of its readers.

Squeeze and excite is the case: a mean of the whole tensor decides the factors by which its channels are then multiplied. A stream can take
the rows into the mean, but must keep them for the multiplication, so the tensor is there as a whole. If the calls that compute it
run once more for the multiplication, both times row by row, only the small tensor that they start from has to be kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from tinyc.errors import PassError
from tinyc.ir.mcu import AGAIN, RECOMPUTED, BufferOp, CallOp, StreamOp, buffer_of, number
from tinyc.ir.schedule import Schedule, build_schedule, steps_of, views_of
from tinyc.passes.stream_rows import StreamRows


@dataclass(frozen=True)
class Gate:
    """Call number `reader` reads a tensor that it also needs a digest of; the calls `chain`, in order, compute the tensor again.

    Calls are numbered as the steps before streams are formed.
    """

    reader: int
    chain: tuple[int, ...]


@dataclass(frozen=True)
class RecomputeGates(ModulePass):
    """Compute tensors twice that a squeeze-and-excite would keep, where that lowers a peak above `budget`; `input` as for stream-rows."""

    name = "recompute-gates"
    budget: int = 0
    input: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        schedule = build_schedule(op)
        if any(len(step.calls) != 1 or step.kept for step in schedule.steps):
            raise PassError("recompute-gates expects steps of one call each; it stands before stream-rows")
        found = gates(schedule, self.input)
        if not found:
            return
        whole, least = self._streamed(op, []), max(self.budget, *self._streamed(op, found).step_bounds)
        # Where no step with the tensor needs more than the least peak, computing it again would buy nothing.
        kept = _lasting(schedule)
        tensors = [kept.index(buffer_of(schedule.steps[gate.chain[-1]].calls[0].output)) for gate in found]
        needed = [gate for gate, tensor in zip(found, tensors, strict=True) if _most_beside(whole, tensor) > least]
        chosen = needed if max(self._streamed(op, needed).step_bounds) <= least else found
        if least < max(whole.step_bounds):
            recompute(op, chosen)

    def _streamed(self, module: ModuleOp, chosen: Sequence[Gate]) -> Schedule:
        """The schedule in streams with `chosen` computed again."""
        trial = module.clone()
        recompute(trial, chosen)
        StreamRows(input=self.input).apply(Context(), trial)
        return build_schedule(trial)


def _lasting(schedule: Schedule) -> list[BufferOp]:
    """The buffers that streaming neither adds nor takes away, in an order that it keeps."""
    return [buffer for buffer in schedule.buffers if buffer.kind.data not in ("scratch", "state", "counters")]


def _most_beside(schedule: Schedule, tensor: int) -> int:
    """The most bytes that a step needs in which number `tensor` of the lasting buffers is live."""
    life = schedule.lives[schedule.buffers.index(_lasting(schedule)[tensor])]
    return max(schedule.step_bounds[max(life.first, 0) : life.last + 1])


def gates(schedule: Schedule, pushed_input: bool = False) -> list[Gate]:
    """Every place where it could help to compute a tensor again; with `pushed_input` nothing starts from the network's input."""
    calls = [step.calls[0] for step in schedule.steps]
    producers = {buffer_of(call.output): index for index, call in enumerate(calls)}
    digests = _digests(calls)
    found = []
    for index, call in enumerate(calls):
        if call.form.data != "row":
            continue
        for value, access in zip(call.inputs, call.row_accesses(), strict=True):
            buffer = buffer_of(value)
            rest = {buffer_of(other) for other in call.inputs} - {buffer}
            if access.window > 0 and value is buffer.result and any(buffer in digests.get(other, ()) for other in rest):
                chain = _chain(calls, producers, buffer, pushed_input)
                if chain:
                    found.append(Gate(index, chain))
                    break
    return found


def _digests(calls: Sequence[CallOp]) -> dict[BufferOp, frozenset[BufferOp]]:
    """For each computed buffer those that must be there as a whole before its first row is: a reduction or a whole tensor lies between."""
    ancestors: dict[BufferOp, frozenset[BufferOp]] = {}
    found: dict[BufferOp, frozenset[BufferOp]] = {}
    for call in calls:
        inputs = [buffer_of(value) for value in call.inputs]
        own = frozenset(inputs).union(*(ancestors.get(buffer, frozenset()) for buffer in inputs))
        whole = own if call.form.data != "row" else frozenset[BufferOp]()
        ancestors[buffer_of(call.output)] = own
        found[buffer_of(call.output)] = whole.union(*(found.get(buffer, frozenset()) for buffer in inputs))
    return found


def _chain(calls: Sequence[CallOp], producers: Mapping[BufferOp, int], buffer: BufferOp, pushed_input: bool) -> tuple[int, ...]:
    """The calls that compute `buffer` from the smallest tensor before it, the nearest of equal ones; none where all are as large."""
    chain: list[int] = []
    best: tuple[int, ...] = ()
    least, current = buffer.size_bytes, buffer
    while current in producers:
        call = calls[producers[current]]
        plain = call.form.data == "row" and len(call.inputs) == 1 and current.kind.data == "tensor" and not views_of(current)
        if not plain or call.inputs[0] is not buffer_of(call.inputs[0]).result:
            break
        chain.insert(0, producers[current])
        current = buffer_of(call.inputs[0])
        if current.size_bytes < least and not (pushed_input and current.kind.data == "input"):
            least, best = current.size_bytes, tuple(chain)
    return best


def recompute(module: ModuleOp, chosen: Sequence[Gate]) -> None:
    """Puts copies of the chains of `chosen` before their readers, which read the copies."""
    steps = steps_of(module)
    marks = {op: number(index) for index, op in enumerate(op for op in module.ops if isinstance(op, BufferOp))}
    for gate in chosen:
        reader = steps[gate.reader]
        copies: dict[SSAValue, SSAValue] = {}
        for index in gate.chain:
            _copy(steps[index].calls[0], reader, copies, marks)
        last = steps[gate.chain[-1]].calls[0].output
        call = reader.calls[0]
        call.operands = [copies[value] if value is last else value for value in call.operands]


def _copy(call: CallOp, before: StreamOp, copies: dict[SSAValue, SSAValue], marks: Mapping[BufferOp, IntegerAttr]) -> None:
    """A step before `before` that computes what `call` does, from and to `copies` of its buffers where there are any."""
    block = before.parent
    assert block is not None
    original = buffer_of(call.output)
    for value in (call.output, call.scratch, call.accumulator):
        if value is not None:
            buffer = buffer_of(value).clone()
            block.insert_ops_before([buffer], before)
            copies[value] = buffer.result
    original.attributes[RECOMPUTED] = marks[original]
    result = buffer_of(copies[call.output])
    result.attributes.pop(RECOMPUTED, None)
    result.attributes[AGAIN] = marks[original]
    again = call.clone()
    again.operands = [copies.get(value, value) for value in again.operands]
    block.insert_ops_before([StreamOp.make([again])], before)
