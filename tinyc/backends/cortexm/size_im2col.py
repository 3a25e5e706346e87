"""size-im2col: how many output columns each convolution gathers at a time, adapted to the whole model (MCUNet, equations 1 and 2).

The paper gives every layer the scratch that one column of the neediest layer takes. Here the scratch of a layer comes and goes with its
step, so a layer may have whatever the network's peak leaves free at that moment: more columns mean fewer passes over the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import resize_scratch, scratch_of, set_kernel
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import TILE_COLUMNS, ConvSpec
from tinyc.ir.mcu import BufferOp, CallOp, StreamOp, row_shape
from tinyc.ir.schedule import Schedule, build_schedule, steps_of
from tinyc.memory.placement import lower_bound, place
from tinyc.passes.choices import recorder
from tinyc.passes.pins import Pinned
from tinyc.report.choices import Alternative, Choice

_MOST_COLUMNS = 64
"""More columns at a time would hardly save anything."""


def columns_for(spec: ConvSpec, budget_bytes: int, several_tiles_bytes: int) -> int:
    """The columns with the least cost, and of those the fewest; at least 1.

    Patches of one tile of columns may take `budget_bytes` of scratch, those of several tiles `several_tiles_bytes`.
    """
    specs = variants(spec)
    fitting = [choice for choice in specs if choice.scratch_bytes <= (several_tiles_bytes if choice.hoisted else budget_bytes)]
    return min(fitting, key=lambda choice: choice.estimated_cost, default=specs[0]).columns


def variants(spec: ConvSpec) -> list[ConvSpec]:
    """`spec` with all numbers of columns that come into question, the fewest first."""
    choices = [
        *range(1, TILE_COLUMNS + 1),
        *range(2 * TILE_COLUMNS, _MOST_COLUMNS + 1, TILE_COLUMNS),
        min(spec.output_width, _MOST_COLUMNS),
    ]
    return [replace(spec, columns=columns) for columns in sorted(set(choices)) if columns <= max(spec.output_width, TILE_COLUMNS)]


_SHARES = (100, 95, 90, 80, 70)
"""Percentages of the limit that wide convolutions are tried with, until the buffers can be placed within the limit."""


@dataclass(frozen=True)
class SizeIm2col(ModulePass):
    """Gather as many columns as the peak leaves room for; `slack` is how many percent the peak may grow for it."""

    name = "size-im2col"
    slack: int = 4

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        pinned, choices = Pinned.of(op, "columns", "unroll"), recorder(ctx)
        _set_unrolling(op, pinned)
        narrow_columns(op)
        narrow = build_schedule(op)
        limit = arena_bytes(narrow) * (100 + self.slack) // 100
        others = [bound - scratch_bytes(step) for step, bound in zip(narrow.steps, narrow.step_bounds, strict=True)]
        for share in _SHARES:
            for step, other in zip(narrow.steps, others, strict=True):
                _apply_columns(step, limit - other, limit * share // 100 - other, pinned)
            # Bounds of single steps do not see that buffers of neighbouring steps may not lie beside each other.
            if arena_bytes(build_schedule(op), limit) <= limit:
                break
        if choices is not None:
            for step, other in zip(narrow.steps, others, strict=True):
                budgets = limit - other, limit * share // 100 - other
                choices += [choice for call in step.calls for choice in _recorded(call, pinned, *budgets)]


def scratch_bytes(step: StreamOp) -> int:
    """What the step's calls have as scratch."""
    scratches = {scratch_of(call) for call in step.calls}
    return sum(buffer.size_bytes for buffer in scratches if buffer is not None)


def arena_bytes(schedule: Schedule, enough: int = 0) -> int:
    """The planned arena; a placement of `enough` bytes is not improved further."""
    bound = lower_bound(schedule.lives, schedule.step_bounds)
    return place(schedule.lives, schedule.overlaps, max(bound, enough)).arena_bytes


def narrow_columns(module: ModuleOp) -> None:
    """Gives all convolutions the least scratch that they can work with."""
    for step in steps_of(module):
        _apply_columns(step, 0, 0)


def _apply_columns(step: StreamOp, budget_bytes: int, several_tiles_bytes: int, pinned: Pinned | None = None) -> None:
    """Sets the columns of the step's convolutions and its scratch. Raises PassError for a pin that a convolution cannot have."""
    for call in step.calls:
        spec = decode_kernel(call.kernel)
        pin = None if pinned is None else pinned.get(call, "columns")
        if isinstance(spec, ConvSpec):
            columns = columns_for(spec, budget_bytes, several_tiles_bytes) if pin is None else int(pin)
            try:
                set_kernel(call, replace(spec, columns=columns))
            except ValueError as error:
                assert pinned is not None
                pinned.refuse(call, "columns", str(error))
    resize_scratches(step)


def _set_unrolling(module: ModuleOp, pinned: Pinned) -> None:
    """Gives convolutions the loops that are pinned. Raises PassError for pins of other layers."""
    for call in pinned.names:
        spec, pin = decode_kernel(call.kernel), pinned.get(call, "unroll")
        if not isinstance(spec, ConvSpec):
            for decision in ("columns", "unroll"):
                pinned.refuse(call, decision, "the layer is no convolution by im2col")
        elif pin is not None:
            try:
                set_kernel(call, replace(spec, unroll=int(pin)))
            except ValueError as error:
                pinned.refuse(call, "unroll", str(error))


def _recorded(call: CallOp, pinned: Pinned, budget_bytes: int, several_tiles_bytes: int) -> Iterator[Choice]:
    """What was chosen for a call whose patches may take `budget_bytes`, or `several_tiles_bytes` where those are of several tiles."""
    spec = decode_kernel(call.kernel)
    if not isinstance(spec, ConvSpec):
        return
    rows = row_shape(call.output)[0]
    name, pin = pinned.names[call], pinned.get(call, "columns") is not None
    alternatives = []
    for entry in sorted({*variants(spec), spec}, key=lambda variant: variant.columns):
        free = max(0, several_tiles_bytes if entry.hoisted else budget_bytes)
        if entry == spec:
            fits = "costs least of those that fit" if spec.scratch_bytes <= free else "the least that works"
            reason = "pinned" if pin else fits
        elif entry.scratch_bytes > free:
            reason = f"{free:,} bytes are free for scratch"
        else:
            reason = "pinned" if pin else "costs no less"
        cost = convolution_cost(entry, rows)
        alternatives.append(Alternative(str(entry.columns), entry == spec, reason, cost, ram_bytes=entry.scratch_bytes))
    yield Choice(name, "columns", SizeIm2col.name, tuple(alternatives), pin)


def convolution_cost(spec: ConvSpec, rows: int) -> int:
    """About what `rows` rows cost, gathering included, in the unit of the spec's core."""
    return (spec.estimated_cost + spec.estimated_gathering) * rows


def resize_scratches(step: StreamOp, least: int = 0) -> None:
    """Gives the step's scratch, which all its calls share, the size that the neediest of them asks for, or `least` bytes."""
    needs: dict[BufferOp, int] = {}
    for call in step.calls:
        scratch = scratch_of(call)
        if scratch is not None:
            needs[scratch] = max(needs.get(scratch, least), decode_kernel(call.kernel).scratch_bytes)
    for scratch, size in needs.items():
        resize_scratch(scratch, size)
