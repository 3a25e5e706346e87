"""depthwise-in-place: a depthwise convolution over a whole tensor that nobody needs afterwards overwrites it (MCUNet, section 3.2).

Once a channel's output is computed its input is dead, so one channel's rows under the kernel are all the extra memory. Streamed depthwise
layers are left alone: between their neighbours only a few rows exist at all.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import resize_scratch, scratch_of, set_kernel
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseSpec
from tinyc.ir.edit import erase
from tinyc.ir.mcu import CallOp, StreamOp, buffer_of
from tinyc.ir.schedule import build_schedule, views_of
from tinyc.memory.row_access import RowAccess
from tinyc.passes.choices import recorder
from tinyc.passes.pins import Pinned
from tinyc.report.choices import Alternative, Choice


def in_place_spec(spec: DepthwiseSpec, access: RowAccess, height: int, output_rows: int) -> DepthwiseInPlaceSpec | None:
    """The in-place form of a depthwise call, or None where the output does not have the input's shape."""
    same = spec.multiplier == 1 and spec.stride_width == 1 and spec.output_width == spec.input_width and height == output_rows
    if not same or access.stride != 1 or access.dilation != 1 or not 0 <= access.pad < spec.kernel_height:
        return None
    shared = {field.name: getattr(spec, field.name) for field in fields(spec)}
    return DepthwiseInPlaceSpec(**shared, height=height, pad_top=access.pad)


@dataclass(frozen=True)
class DepthwiseInPlace(ModulePass):
    """Let whole depthwise layers overwrite an input that dies there."""

    name = "depthwise-in-place"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        schedule = build_schedule(op)
        last_use = {buffer: life.last for buffer, life in zip(schedule.buffers, schedule.lives, strict=True)}
        renamed = dict(last_use)
        pinned, choices = Pinned.of(op, "in_place"), recorder(ctx)
        for number, step in enumerate(schedule.steps):
            for call in step.calls:
                alone = len(step.calls) == 1 and isinstance(decode_kernel(call.kernel), DepthwiseSpec)
                if not alone and pinned.get(call, "in_place") == "on":
                    pinned.refuse(call, "in_place", "only a depthwise layer outside of streams can overwrite its input")
            if len(step.calls) != 1:
                continue
            call = step.calls[0]
            spec = decode_kernel(call.kernel)
            if not isinstance(spec, DepthwiseSpec):
                continue
            source, result = buffer_of(call.inputs[0]), buffer_of(call.output)
            dies = renamed[source] == number and source.kind.data in ("tensor", "input")
            free = dies and call.part is None and not views_of(source) and (source.kind.data, result.kind.data) != ("input", "output")
            changed = in_place_spec(spec, call.row_accesses()[0], int(source.rows.value.data), int(result.rows.value.data))
            why_not = "the output has not the input's shape" if changed is None else "" if free else "the input is still needed"
            pin = pinned.get(call, "in_place")
            if pin == "on" and why_not:
                pinned.refuse(call, "in_place", why_not)
            use = not why_not and pin != "off"
            if choices is not None:
                name, scratch = pinned.names[call], 0 if changed is None else changed.scratch_bytes
                why_not, size = why_not or "pinned", result.size_bytes
                off = Alternative("off", not use, "saves no memory" if use else why_not, ram_bytes=size + spec.scratch_bytes)
                on = Alternative("on", use, "the input is dead afterwards" if use else why_not, ram_bytes=scratch or None)
                choices.append(Choice(name, "in_place", self.name, (on, off), pin is not None))
            if use and changed is not None:
                self._overwrite(call, changed)
                # The source lives on as the result.
                renamed[source] = renamed[result]

    def _overwrite(self, call: CallOp, spec: DepthwiseInPlaceSpec) -> None:
        source, result = buffer_of(call.inputs[0]), buffer_of(call.output)
        set_kernel(call, spec)
        call.properties["form"] = StringAttr(spec.form.value)
        step = call.parent_op()
        assert isinstance(step, StreamOp)
        step.properties.pop("backwards", None)
        scratch = scratch_of(call)
        if scratch is not None:
            resize_scratch(scratch, spec.scratch_bytes)
        if result.kind.data == "output":
            source.properties["kind"] = StringAttr("output")
            source.attributes["output_index"] = result.attributes["output_index"]
            assert result.tensor is not None
            source.properties["tensor"] = result.tensor
        result.result.replace_all_uses_with(source.result)
        erase(result)
