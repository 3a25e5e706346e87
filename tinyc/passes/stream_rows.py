"""stream-rows: merges neighbouring steps into streams where that lowers the peak, so that tensors between them shrink to rings of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass

from tinyc.errors import PassError
from tinyc.ir.edit import detach, erase
from tinyc.ir.mcu import BufferOp, CallOp, StreamOp, buffer_of, number
from tinyc.ir.schedule import build_schedule, stream_call, trace_step, views_of
from tinyc.memory.segments import SegmentBuffer, SegmentCall, choose_segments


@dataclass(frozen=True)
class StreamRows(ModulePass):
    """Run chains of calls row by row where the peak is above `budget` bytes; `longest` bounds the calls of a stream, 1 is none."""

    name = "stream-rows"
    longest: int = 12
    budget: int = 0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        schedule = build_schedule(op)
        if any(len(step.calls) != 1 for step in schedule.steps):
            raise PassError("stream-rows expects steps of one call each; it has run already")
        if not schedule.steps or self.longest <= 1:
            return
        ids = {buffer: index for index, buffer in enumerate(schedule.buffers)}
        calls = [_segment_call(step.calls[0], ids) for step in schedule.steps]
        count = len(calls)
        buffers = []
        for buffer, life in zip(schedule.buffers, schedule.lives, strict=True):
            last = count if buffer.kind.data == "output" else life.last
            private = buffer.kind.data in ("scratch", "accumulator")
            # Scratch and accumulators are counted with their call.
            buffers.append(SegmentBuffer(0 if private else life.size, life.first, last, bool(views_of(buffer))))
        for segment in choose_segments(calls, buffers, self.longest, self.budget):
            if segment.end - segment.begin > 1:
                _merge(schedule.steps[segment.begin : segment.end], ids)


def _segment_call(call: CallOp, ids: Mapping[BufferOp, int]) -> SegmentCall:
    scratch = buffer_of(call.scratch).size_bytes if call.scratch else 0
    accumulator = buffer_of(call.accumulator).size_bytes if call.accumulator else 0
    return SegmentCall(stream_call(call, ids), scratch, accumulator, call.form.data in ("row", "reduction"))


def _merge(steps: tuple[StreamOp, ...], ids: Mapping[BufferOp, int]) -> None:
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
    for buffer, slots in trace_step(merged, ids).slots.items():
        ring = next(op for op, index in ids.items() if index == buffer)
        ring.properties["slots"] = number(slots)
        ring.properties["kind"] = StringAttr("ring")
