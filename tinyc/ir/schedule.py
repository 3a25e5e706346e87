"""The `mcu` level as plain data for the memory planner and the reports: steps, buffers, and who needs what when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import ModuleOp

from tinyc.ir.mcu import BufferOp, StreamOp, ViewOp, buffer_of, calls_with, columns_of
from tinyc.memory.placement import Buffer, Overlap
from tinyc.memory.stream import extent, joined, may_coincide, mirrored, safe_gap, worst_moment


@dataclass(frozen=True)
class Schedule:
    """Steps in order, all buffers with the range of steps that needs them, and the pairs that may overlap by a proved distance."""

    steps: tuple[StreamOp, ...]
    buffers: tuple[BufferOp, ...]
    lives: tuple[Buffer, ...]
    overlaps: tuple[Overlap, ...]
    step_bounds: tuple[int, ...]
    """Per step, the most bytes of arena that hold needed data at one moment: a lower bound for this schedule."""
    moments: tuple[Mapping[int, int], ...]
    """Per step, how these bytes are made up: buffer index to bytes."""

    def live_in(self, step: int) -> list[BufferOp]:
        """Buffers that step number `step` must find or leave in the arena."""
        return [buffer for buffer, life in zip(self.buffers, self.lives, strict=True) if life.first <= step <= life.last]


def buffers_of_step(step: StreamOp) -> list[BufferOp]:
    """All buffers that a step touches, each once."""
    found: dict[BufferOp, None] = {}
    for call in step.calls:
        for value in (
            *call.inputs,
            call.output,
            *([call.scratch] if call.scratch else []),
            *([call.accumulator] if call.accumulator else []),
        ):
            found[buffer_of(value)] = None
    for value in step.kept:
        found[buffer_of(value)] = None
    return list(found)


def steps_of(module: ModuleOp) -> tuple[StreamOp, ...]:
    """The steps of a module of the `mcu` level."""
    return tuple(op for op in module.ops if isinstance(op, StreamOp))


def build_schedule(module: ModuleOp) -> Schedule:
    """Liveness of every buffer, and what may overlap: an input that dies in a step and the result of that step."""
    steps = steps_of(module)
    buffers = tuple(op for op in module.ops if isinstance(op, BufferOp))
    ids = {buffer: index for index, buffer in enumerate(buffers)}
    touched = [[ids[buffer] for buffer in buffers_of_step(step)] for step in steps]
    lives = _lives(buffers, touched)
    overlaps = _overlaps_of_strips(steps, ids, lives)
    shared = [(overlap, _shared_bytes(overlap, lives)) for overlap in overlaps]
    moments: list[Mapping[int, int]] = []
    for number, step in enumerate(steps):
        live = {index for index, life in enumerate(lives) if life.first <= number <= life.last}
        result = ids[buffer_of(step.calls[-1].output)]
        read = {ids[buffer_of(value)] for call in step.calls for value in call.inputs}
        # An output of the network that a later step reads as well outlives that step, even the last one.
        dying = {
            index
            for index in read
            if lives[index].last == number and lives[index].first < number and index != result and buffers[index].kind.data != "output"
        }
        if not dying or lives[result].first != number:
            held = {index: lives[index].size for index in sorted(live)}
            for overlap, size in shared:
                if overlap.result in live and overlap.source in live:
                    held[overlap.result] = max(0, held[overlap.result] - size)
            moments.append(held)
            continue
        trace = step.trace(ids)
        if step.backwards is not None:
            trace = mirrored(trace, {index: lives[index].size for index in (*read, result)})
        backwards = step.backwards is not None
        overlaps += [
            Overlap(result, source, safe_gap(trace, source, result), backwards, may_coincide(trace, source, result))
            for source in sorted(dying)
        ]
        fixed = {index: lives[index].size for index in sorted(live - dying - {result})}
        moments.append({**fixed, **worst_moment(trace, dying, result)})
    bounds = tuple(sum(moment.values()) for moment in moments)
    return Schedule(steps, buffers, lives, tuple(overlaps), bounds, tuple(moments))


def _overlaps_of_strips(steps: Sequence[StreamOp], ids: Mapping[BufferOp, int], lives: Sequence[Buffer]) -> list[Overlap]:
    """What may overlap a result that several steps write, each some of its columns: an input that dies in one of them but the first.

    The events of all steps from the first of them on, one after the other, tell how far.
    """
    outputs = [ids[buffer_of(step.calls[-1].output)] for step in steps]
    in_strips: dict[int, list[int]] = {}
    for number, (step, index) in enumerate(zip(steps, outputs, strict=True)):
        if columns_of(step.calls[-1].output) is not None:
            in_strips.setdefault(index, []).append(number)
    kept = {index for buffer, index in ids.items() if buffer.kind.data == "output"}
    found = []
    for result, writers in in_strips.items():
        first, last = writers[0], writers[-1]
        part = steps[first : last + 1]
        for source in sorted({ids[buffer_of(value)] for step in part for call in step.calls for value in call.inputs} - kept - {result}):
            life = lives[source]
            if life.first < lives[result].first and first < life.last <= last and source not in outputs[first : last + 1]:
                trace = joined(step.trace(ids) for step in steps[first : life.last + 1])
                found.append(Overlap(result, source, safe_gap(trace, source, result)))
    return found


def _shared_bytes(overlap: Overlap, lives: Sequence[Buffer]) -> int:
    """Bytes that the two buffers have in common at most."""
    source, result = lives[overlap.source].size, lives[overlap.result].size
    return source + result - extent(source, result, overlap.gap)


def written_in_strips(buffer: BufferOp) -> bool:
    """Whether several calls each write some columns of `buffer`."""
    return any(buffer_of(call.output) is buffer and columns_of(call.output) is not None for call in calls_with(buffer))


def _lives(buffers: Sequence[BufferOp], touched: Sequence[Sequence[int]]) -> tuple[Buffer, ...]:
    last_step = max(len(touched) - 1, 0)
    lives = []
    for index, buffer in enumerate(buffers):
        steps = [step for step, indices in enumerate(touched) if index in indices]
        life = Buffer(buffer.size_bytes, min(steps, default=0), max(steps, default=0), int(buffer.alignment.value.data))
        if buffer.kind.data == "input":
            # The caller fills inputs before the first step; -1 tells them from what the first step writes.
            life = replace(life, first=-1)
        if buffer.kind.data == "state":
            # It is there before the first row, and tells after the last step that there is nothing more to push.
            life = replace(life, first=-1, last=last_step)
        if buffer.kind.data == "output":
            life = replace(life, last=last_step)
        lives.append(life)
    return tuple(lives)


def views_of(buffer: BufferOp) -> list[ViewOp]:
    """Views that look at `buffer` directly or through other views."""
    found: list[ViewOp] = []
    queue = [buffer.result]
    while queue:
        for use in queue.pop().uses:
            if isinstance(use.operation, ViewOp):
                found.append(use.operation)
                queue.append(use.operation.result)
    return found
