"""Whether a network's input can be pushed row by row, and what stands in the way where it cannot."""

from __future__ import annotations

from tinyc.errors import Diagnostic, UnsupportedError, printable
from tinyc.ir.mcu import BufferOp, CallOp, buffer_of, row_shape
from tinyc.ir.schedule import Schedule
from tinyc.memory.stream import MOST_ROWS

WITHOUT = "compile without --stream-input"


def streamable_input(schedule: Schedule) -> BufferOp:
    """The input whose rows can be pushed one by one. Raises UnsupportedError listing all that needs it as a whole."""
    inputs = [buffer for buffer in schedule.buffers if buffer.kind.data == "input"]
    if len(inputs) != 1:
        names = ", ".join(printable(buffer.layer.data, 40) for buffer in inputs[:4])
        reason = f"the network has {len(inputs)} inputs ({names}), but the rows of only one can be pushed"
        raise UnsupportedError([_diagnostic(inputs[0].layer.data if inputs else "", "INPUT", reason, WITHOUT)])
    (source,) = inputs
    readers = _readers(schedule, source)
    if not readers:
        raise UnsupportedError([_diagnostic(source.layer.data, "INPUT", "the network computes nothing from its input", WITHOUT)])
    if source.rows.value.data == 1:
        reason = f"the input is a single row of {source.row_bytes.value.data} bytes: there is nothing to push one by one"
        raise UnsupportedError([_diagnostic(source.layer.data, "INPUT", reason, WITHOUT)])
    found = [
        _diagnostic(call.layer.data, call.op.data, problem, f"{WITHOUT}, or let the network begin with an op that works by rows")
        for call in readers
        if (problem := _problem(call, source)) is not None
    ]
    if found:
        raise UnsupportedError(found)
    return source


def _readers(schedule: Schedule, source: BufferOp) -> list[CallOp]:
    calls = (step.calls[0] for step in schedule.steps)
    return [call for call in calls if any(buffer_of(value) is source for value in call.inputs)]


def _problem(call: CallOp, source: BufferOp) -> str | None:
    """Why `call` cannot take the rows of `source` one by one."""
    if any(buffer_of(value) is source and value is not source.result for value in call.inputs):
        return "it reads the input with its elements in other rows (a reshape or a copy)"
    if call.form.data not in ("row", "reduction"):
        return "it needs the whole input at once"
    accesses = call.row_accesses()
    if any(value is source.result and access.window == 0 for value, access in zip(call.inputs, accesses, strict=False)):
        return "it needs the whole input for every row of its result"
    return None


def refuse_segments(schedule: Schedule, source: BufferOp, longest: int) -> Diagnostic:
    """Why the calls from the first to the last that reads `source`, each of which could take its rows, cannot run as one stream."""
    calls = [step.calls[0] for step in schedule.steps]
    last = max(calls.index(call) for call in _readers(schedule, source))
    again = f"{calls[last].op.data} {printable(calls[last].layer.data, 40)} reads the input, too"
    for call in calls[: last + 1]:
        if call.form.data not in ("row", "reduction"):
            reason = f"it needs whole tensors, but after it {again}"
            return _diagnostic(call.layer.data, call.op.data, reason, WITHOUT)
    if last >= longest:
        reason = f"it reads the input {last} ops after the first one; a stream has at most {longest}"
        return _diagnostic(calls[last].layer.data, calls[last].op.data, reason, f"stream-rows{{longest={last + 1}}}, or {WITHOUT}")
    rows = source.rows.value.data + sum(row_shape(call.output)[0] for call in calls[: last + 1])
    if rows > MOST_ROWS:
        reason = f"up to this op the input and all results have {rows} rows; a stream has at most {MOST_ROWS}"
        return _diagnostic(calls[last].layer.data, calls[last].op.data, reason, WITHOUT)
    reason = "what is computed between the first op that reads the input and this one, the last, is needed whole or once more later"
    return _diagnostic(calls[last].layer.data, calls[last].op.data, reason, WITHOUT)


def _diagnostic(node: str, op: str, reason: str, hint: str) -> Diagnostic:
    return Diagnostic("--stream-input", node, op, "", reason, hint)
