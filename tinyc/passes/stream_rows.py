"""stream-rows: merges neighbouring steps into streams where that lowers the peak, so that tensors between them shrink to rings of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr, UnitAttr
from xdsl.passes import ModulePass

from tinyc.errors import PassError, UnsupportedError
from tinyc.ir.edit import detach, erase
from tinyc.ir.mcu import COUNTER_BYTES, BufferOp, CallOp, StreamOp, buffer_of, number
from tinyc.ir.schedule import Schedule, build_schedule, views_of, written_in_strips
from tinyc.memory.segments import InStrips, Segment, SegmentBuffer, SegmentCall, Strips, choose_segments
from tinyc.passes.streamable_input import refuse_segments, streamable_input


@dataclass(frozen=True)
class StreamRows(ModulePass):
    """Run chains of calls row by row where the peak is above `budget` bytes; `longest` bounds the calls of a stream, 1 is none.

    A call that stays alone may run from its last row to its first, where that lets its result overlap its input further.
    With `input`, the caller pushes the network's input row by row into the first step, and only some of its rows are ever in memory.
    """

    name = "stream-rows"
    longest: int = 12
    budget: int = 0
    input: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        schedule = build_schedule(op)
        if any(len(step.calls) != 1 or step.kept for step in schedule.steps):
            raise PassError("stream-rows expects steps of one call each; it has run already")
        pushed = streamable_input(schedule) if self.input else None
        if not schedule.steps or (self.longest <= 1 and pushed is None):
            return
        ids = {buffer: index for index, buffer in enumerate(schedule.buffers)}
        segments = _segments(schedule, pushed, ids, self.longest, self.budget, None)
        if pushed is not None:
            pushed.properties["kind"] = StringAttr("input_ring")
        for segment in segments:
            steps = schedule.steps[segment.begin : segment.end]
            if pushed is not None and segment.begin == 0:
                _keep_state(op, _merge(steps, ids))
            elif len(steps) > 1:
                _merge(steps, ids)
            elif segment.backwards:
                steps[0].properties["backwards"] = UnitAttr()


def choose_streams(schedule: Schedule, pushed_input: bool, longest: int, budget: int, strips: Strips) -> list[Segment]:
    """The segments that stream-rows would choose if a stream could also run in the strips that `strips` knows of, by step.

    Raises UnsupportedError where `pushed_input` is asked for and cannot be.
    """
    pushed = streamable_input(schedule) if pushed_input else None
    ids = {buffer: index for index, buffer in enumerate(schedule.buffers)}
    return _segments(schedule, pushed, ids, longest, budget, strips)


def _segments(
    schedule: Schedule, pushed: BufferOp | None, ids: Mapping[BufferOp, int], longest: int, budget: int, strips: Strips | None
) -> list[Segment]:
    """The chosen segments of the schedule's steps. Raises UnsupportedError where the calls that read `pushed` cannot be one stream."""
    # The caller who supplies the rows of the input stands before the first call.
    supply = [] if pushed is None else [SegmentCall(pushed.supply(ids), 0, 0, True, supplied=True)]
    shift = len(supply)
    calls = [*supply, *(_segment_call(step.calls[0], ids) for step in schedule.steps)]
    buffers = []
    for buffer, life in zip(schedule.buffers, schedule.lives, strict=True):
        last = len(schedule.steps) if buffer.kind.data == "output" else life.last
        # Scratch and accumulators are counted with their call.
        size = 0 if buffer.kind.data in ("scratch", "accumulator") else life.size
        buffers.append(SegmentBuffer(size, life.first + shift, last + shift, bool(views_of(buffer)) or written_in_strips(buffer)))

    def shifted(begin: int, end: int, slots: Mapping[int, int]) -> Iterable[InStrips]:
        assert strips is not None
        return strips(begin - shift, end - shift, slots)

    try:
        found = choose_segments(calls, buffers, longest, budget, None if strips is None else shifted)
    except ValueError as error:
        assert pushed is not None
        raise UnsupportedError([refuse_segments(schedule, pushed, longest)]) from error
    return [replace(entry, begin=max(0, entry.begin - shift), end=entry.end - shift) for entry in found]


def _segment_call(call: CallOp, ids: Mapping[BufferOp, int]) -> SegmentCall:
    scratch = buffer_of(call.scratch).size_bytes if call.scratch else 0
    accumulator = buffer_of(call.accumulator).size_bytes if call.accumulator else 0
    return SegmentCall(call.stream_call(ids), scratch, accumulator, call.form.data in ("row", "reduction"))


def _merge(steps: Sequence[StreamOp], ids: Mapping[BufferOp, int]) -> StreamOp:
    """Makes one stream of `steps`; inner buffers become rings, and one scratch buffer, the largest, serves all calls."""
    calls = [step.calls[0] for step in steps]
    scratches = [buffer_of(call.scratch) for call in calls if call.scratch]
    if scratches:
        largest = max(scratches, key=lambda buffer: buffer.size_bytes)
        for scratch in scratches:
            if scratch is not largest:
                scratch.result.replace_all_uses_with(largest.result)
                erase(scratch)
    for call in calls:
        detach(call)
    merged = StreamOp.make(calls)
    block = steps[0].parent
    assert block is not None
    block.insert_ops_before([merged], steps[-1])
    for step in steps:
        erase(step)
    for buffer, slots in merged.trace(ids).slots.items():
        ring = next(op for op, index in ids.items() if index == buffer)
        ring.properties["slots"] = number(slots)
        if ring.kind.data != "input_ring":
            ring.properties["kind"] = StringAttr("ring")
    return merged


def _keep_state(module: ModuleOp, step: StreamOp) -> None:
    """Gives the step into which rows are pushed the buffers that it needs between two of them."""
    state = BufferOp.make("state", "pushed_rows", 1, COUNTER_BYTES)
    counters = BufferOp.make("counters", "rows_done", 1, COUNTER_BYTES * step.counters)
    module.body.block.insert_ops_before([state, counters], step)
    step.operands = [state.result, counters.result]
