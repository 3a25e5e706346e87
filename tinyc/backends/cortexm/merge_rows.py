"""merge-rows: 1x1 convolutions over whole tensors take several rows in one call, so that narrow rows leave no half-filled tiles.

A 1x1 convolution does not care where a row ends. Three pixels a row fill three quarters of a tile of four and pay for all weights again in
each row; one call for all rows does neither. Streamed calls keep their rows: between their neighbours only a few exist at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import resize_scratch, scratch_of, set_kernel
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.ir.edit import erase
from tinyc.ir.mcu import CallOp, StreamOp, ViewOp, buffer_of, columns_of, row_shape
from tinyc.ir.schedule import build_schedule
from tinyc.passes.choices import recorder
from tinyc.passes.pins import Pinned
from tinyc.report.choices import Alternative, Choice


@dataclass(frozen=True)
class MergeRows(ModulePass):
    """Give 1x1 convolutions over whole tensors several rows in one call, for at least `pixels` pixels where the peak allows it."""

    name = "merge-rows"
    pixels: int = 32

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        schedule = build_schedule(op)
        limit = max(schedule.step_bounds, default=0)
        choices: dict[int, list[int]] = {}
        pinned = Pinned.of(op, "rows")
        fixed: dict[int, int] = {}
        for number, step in enumerate(schedule.steps):
            spec = _mergeable(step)
            if spec is None:
                for call in step.calls:
                    pinned.refuse(call, "rows", "only a 1x1 convolution over whole tensors of several rows can take several")
                continue
            call = step.calls[0]
            rows = row_shape(call.output)[0]
            choices[number] = groups_of_rows(rows, spec.output_width, self.pixels)
            if pin := pinned.get(call, "rows"):
                if rows % int(pin):
                    pinned.refuse(call, "rows", f"calls must be alike, and {pin} does not divide {rows} rows")
                fixed[number] = int(pin)
        originals = {number: _Original.of(schedule.steps[number].calls[0]) for number in choices}
        considered = {number: tuple(groups) for number, groups in choices.items()}
        for number, rows in fixed.items():
            originals[number].set_rows(rows)
            del choices[number]
        self._choose(op, choices, originals, limit)
        found = recorder(ctx)
        if found is not None:
            for number, original in originals.items():
                found.append(_recorded(pinned, original, considered[number], number in fixed, self.pixels, limit))
        for original in originals.values():
            original.make_room()

    def _choose(self, op: ModuleOp, choices: dict[int, list[int]], originals: Mapping[int, _Original], limit: int) -> None:
        """Gives each call the first of its choices with which no step needs more than `limit` bytes."""
        while any(choices.values()):
            for number, groups in choices.items():
                originals[number].set_rows(groups[0] if groups else 1)
            bounds = build_schedule(op).step_bounds
            excessive = [number for number, groups in choices.items() if groups and bounds[number] > limit]
            if not excessive:
                return
            for number in excessive:
                del choices[number][0]
                if not choices[number]:
                    originals[number].set_rows(1)


def _recorded(pinned: Pinned, original: _Original, groups: Sequence[int], pin: bool, pixels: int, limit: int) -> Choice:
    """What was chosen of `groups` and single rows, with the memory of input and output that one call sees at a time."""
    rows, row_bytes = row_shape(original.output)
    taken = rows // row_shape(original.call.output)[0]
    alternatives = []
    for group in sorted({1, *groups, taken}):
        spec = replace(original.spec, input_width=original.spec.input_width * group, output_width=original.spec.output_width * group)
        if group == taken:
            enough = f"{pixels} pixels fill whole tiles"
            reason = "pinned" if pin else enough if group * original.spec.output_width >= pixels else "the most that memory allows"
        elif group > taken:
            reason = "pinned" if pin else f"the step would need more than {limit:,} bytes"
        else:
            reason = "pinned" if pin else "fewer pixels leave tiles half filled"
        cost = spec.estimated_cost * rows // group
        alternatives.append(Alternative(str(group), group == taken, reason, cost, ram_bytes=row_bytes * group))
    return Choice(pinned.names[original.call], "rows", MergeRows.name, tuple(alternatives), pin)


def groups_of_rows(rows: int, width: int, pixels: int) -> list[int]:
    """How many of `rows` rows of `width` pixels one call may take: the fewest with `pixels` pixels, then ever fewer, but more than 1.

    Only divisors, so that all calls are alike. More rows than needed would only keep input and output from overlapping.
    """
    if width >= pixels:
        return []
    divisors = [group for group in range(1, rows + 1) if rows % group == 0]
    enough = next((group for group in divisors if group * width >= pixels), rows)
    return [group for group in reversed(divisors) if 1 < group <= enough]


def _mergeable(step: StreamOp) -> ConvSpec | None:
    if len(step.calls) != 1 or step.pushed_input is not None:
        return None
    call = step.calls[0]
    spec = decode_kernel(call.kernel)
    if not isinstance(spec, ConvSpec) or not spec.direct:
        return None
    whole = all(buffer_of(value).slots == buffer_of(value).rows for value in (*call.inputs, call.output))
    whole = whole and all(columns_of(value) is None for value in (*call.inputs, call.output))
    # A vertical stride leaves rows out.
    each_row = call.row_accesses()[0].stride == 1 and row_shape(call.inputs[0])[0] == row_shape(call.output)[0]
    return spec if whole and each_row and row_shape(call.output)[0] > 1 else None


@dataclass(frozen=True)
class _Original:
    """A call as it was, and how to give it other rows."""

    call: CallOp
    spec: ConvSpec
    operands: Mapping[int, SSAValue]
    output: SSAValue

    @staticmethod
    def of(call: CallOp) -> _Original:
        spec = decode_kernel(call.kernel)
        assert isinstance(spec, ConvSpec)
        positions = {position: value for position, value in enumerate(call.operands) if value in (*call.inputs, call.output)}
        return _Original(call, spec, positions, call.output)

    def set_rows(self, group: int) -> None:
        """Lets the call take `group` rows at a time."""
        step = self.call.parent_op()
        block = None if step is None else step.parent
        assert step is not None
        assert block is not None
        for position, value in self.operands.items():
            former = self.call.operands[position]
            if group == 1:
                self.call.operands[position] = value
            else:
                rows, row_bytes = row_shape(value)
                view = ViewOp.make(value, rows // group, row_bytes * group)
                block.insert_ops_before([view], step)
                self.call.operands[position] = view.result
            if former is not value and isinstance(former.owner, ViewOp):
                erase(former.owner)
        set_kernel(self.call, replace(self.spec, input_width=self.spec.input_width * group, output_width=self.spec.output_width * group))

    def make_room(self) -> None:
        """A wider row gathers up to a whole tile; size-im2col decides about more or less, where it runs."""
        scratch = scratch_of(self.call)
        if scratch is not None:
            resize_scratch(scratch, max(scratch.size_bytes, decode_kernel(self.call.kernel).scratch_bytes))
