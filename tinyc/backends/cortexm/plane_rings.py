"""plane-rings: convolutions in a stream store their rows as the depthwise convolution behind them wants to read them.

A ring holds what only the calls of its stream see, so its layout is theirs to choose. In int16 planes, padded, nothing is left to gather
before each output row: a row is gathered kernel height times otherwise. The ring grows to more than twice its size, which is paid for only
where the peak is elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import set_kernel
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseRingSpec, DepthwiseSpec
from tinyc.backends.cortexm.size_im2col import arena_bytes, narrow_columns, resize_scratches
from tinyc.ir.mcu import BufferOp, CallOp, StreamOp, buffer_of, number, row_shape
from tinyc.ir.schedule import build_schedule, steps_of
from tinyc.passes.choices import recorder
from tinyc.passes.pins import Pinned
from tinyc.report.choices import Alternative, Choice


@dataclass(frozen=True)
class PlaneRing:
    """A ring between a convolution and a depthwise convolution of one stream, and both with planes instead of rows."""

    step: StreamOp
    ring: BufferOp
    producer: CallOp
    consumer: CallOp
    filled: ConvSpec
    read: DepthwiseRingSpec

    @property
    def saved_pixels(self) -> int:
        """How many values are not gathered in one inference."""
        return row_shape(self.consumer.output)[0] * self.read.kernel_height * self.read.input_width * self.read.channels

    @property
    def saved_gathering(self) -> float:
        """About what that costs, in the unit of the core."""
        return row_shape(self.consumer.output)[0] * self.read.kernel_height * self.read.estimated_gathering

    def apply(self) -> Callable[[], None]:
        """Gives the ring its planes; the result takes them away again."""
        former = self.producer.kernel, self.consumer.kernel, self.ring.row_bytes
        set_kernel(self.producer, self.filled)
        set_kernel(self.consumer, self.read)
        self.ring.properties["row_bytes"] = number(4 * self.read.channels * self.read.pitch)
        resize_scratches(self.step)

        def undo() -> None:
            self.producer.properties["kernel"], self.consumer.properties["kernel"], self.ring.properties["row_bytes"] = former
            resize_scratches(self.step)

        return undo


@dataclass(frozen=True)
class PlaneRings(ModulePass):
    """Let convolutions fill int16 planes for the depthwise behind them; `slack` is how many percent the peak may grow for it."""

    name = "plane-rings"
    slack: int = 0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        narrow_columns(op)
        found = [ring for step in steps_of(op) for ring in plane_rings(step)]
        pinned, choices = Pinned.of(op, "planes"), recorder(ctx)
        possible = {ring.consumer for ring in found}
        for call in pinned.names:
            if call not in possible and pinned.get(call, "planes") == "on":
                pinned.refuse(call, "planes", "only a depthwise layer that is streamed behind a convolution finds its input as planes")
        if not found:
            return
        limit = arena_bytes(build_schedule(op)) * (100 + self.slack) // 100
        order = {"on": 0, None: 1, "off": 2}
        for ring in sorted(found, key=lambda ring: (order[pinned.get(ring.consumer, "planes")], -ring.saved_pixels)):
            pin = pinned.get(ring.consumer, "planes")
            rows_bytes, undo = ring.ring.size_bytes, ring.apply()
            planes_bytes, schedule = ring.ring.size_bytes, build_schedule(op)
            use = pin == "on" or (pin is None and max(schedule.step_bounds) <= limit and arena_bytes(schedule, limit) <= limit)
            if not use:
                undo()
            if choices is not None:
                choices.append(_recorded(ring, pinned, use, limit, (planes_bytes, rows_bytes)))


def _recorded(ring: PlaneRing, pinned: Pinned, used: bool, limit: int, ring_bytes: tuple[int, int]) -> Choice:
    gathered = round(ring.saved_gathering)
    pin = pinned.get(ring.consumer, "planes") is not None
    if pin:
        why_on = why_off = "pinned"
    elif used:
        why_on, why_off = "memory is free for it", "gathers every row again for each row of the kernel"
    else:
        why_on, why_off = f"the arena would exceed {limit:,} bytes", "takes less memory"
    on = Alternative("on", used, why_on, 0, ram_bytes=ring_bytes[0])
    off = Alternative("off", not used, why_off, gathered, ram_bytes=ring_bytes[1])
    return Choice(pinned.names[ring.consumer], "planes", PlaneRings.name, (on, off), pin)


def plane_rings(step: StreamOp) -> list[PlaneRing]:
    """The rings of `step` that could hold planes."""
    producers = {buffer_of(call.output): call for call in step.calls[:-1]}
    found = []
    for consumer in step.calls:
        spec = decode_kernel(consumer.kernel)
        ring = buffer_of(consumer.inputs[0])
        producer = producers.get(ring)
        alone = consumer.inputs[0] is ring.result and len(list(ring.result.uses)) == 2
        if not isinstance(spec, DepthwiseSpec) or producer is None or not alone:
            continue
        filled = decode_kernel(producer.kernel)
        access = consumer.row_accesses()[0]
        cyclic = int(ring.slots.value.data) == spec.kernel_height and access.dilation == 1 and 0 <= access.pad < spec.kernel_height
        if not isinstance(filled, ConvSpec) or not cyclic or access.divisor != 1 or access.stride > spec.kernel_height:
            continue
        if filled.addition is not None:
            continue
        shared = {field.name: getattr(spec, field.name) for field in fields(spec)}
        read = DepthwiseRingSpec(**shared, height=int(ring.rows.value.data), stride_height=access.stride, pad_top=access.pad)
        filled = replace(filled, plane_words=read.plane_words, plane_pitch=read.pitch, plane_pad=read.pad_left)
        found.append(PlaneRing(step, ring, producer, consumer, filled, read))
    return found
