"""fuse-residual: a convolution adds the other operand of the ADD or SUB behind it as it stores its outputs.

As calls of their own, a convolution stores its int8 values and the addition loads them again. In one kernel they stay in registers, their
tensor, or in a stream their ring, is gone, and the sums may lie where the other operand lay, which dies here as a rule. Every value is what
it was: the convolution's output is rounded and clamped as before, and the sum is the one that the kernel of the addition computes, by a
shift that is proved on all pairs of operands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, IntAttr, ModuleOp, StringAttr, UnitAttr
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.kernel_attr import decode_kernel, encode_kernel
from tinyc.backends.cortexm.kernels.add import AddSpec
from tinyc.backends.cortexm.kernels.base import Table
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.kernels.costs import ADDING
from tinyc.backends.cortexm.kernels.elementwise import Broadcast
from tinyc.backends.cortexm.kernels.residual import fused_addition
from tinyc.errors import PassError
from tinyc.ir.dense import DenseAttr
from tinyc.ir.edit import erase
from tinyc.ir.mcu import TABLE, CallOp, RowAccessAttr, StreamOp, TableOp, buffer_of, number, row_shape
from tinyc.ir.schedule import build_schedule, steps_of
from tinyc.memory.row_access import EACH_ROW
from tinyc.passes.choices import either, recorder
from tinyc.passes.pins import Pinned, pins_of
from tinyc.passes.stream_rows import StreamRows
from tinyc.report.choices import Choice


@dataclass(frozen=True)
class Residual:
    """A convolution, the addition behind it, and how the convolution's kernel computes both."""

    convolution: CallOp
    addition: CallOp
    other: SSAValue
    spec: ConvSpec
    constants: Table

    @property
    def bounded(self) -> bool:
        """Whether the sum has bounds of its own."""
        assert self.spec.addition is not None
        return not self.spec.addition.clamped_by_saturation

    @property
    def apart_cost(self) -> int:
        """About what the addition takes as a call of its own."""
        (rows, row_bytes), costs = row_shape(self.addition.output), ADDING[self.spec.core]
        return round(rows * ((costs.alone + (costs.bounded if self.bounded else 0)) * row_bytes + costs.row))

    @property
    def fused_cost(self) -> int:
        """About what it takes in the convolution's kernel."""
        rows, row_bytes = row_shape(self.addition.output)
        costs, tiles = ADDING[self.spec.core], -(-self.spec.output_width // self.spec.tile_columns)
        return round(rows * costs.fused(row_bytes, tiles * self.spec.output_channels, self.bounded))


@dataclass(frozen=True)
class FuseResidual(ModulePass):
    """Let convolutions add a tensor to their outputs before they store them, where the peak does not grow; `input` as for stream-rows."""

    name = "fuse-residual"
    input: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        steps = steps_of(op)
        if any(len(step.calls) != 1 or step.kept for step in steps):
            raise PassError("fuse-residual expects steps of one call each; it stands before stream-rows")
        pinned, choices = Pinned.of(op, "residual"), recorder(ctx)
        # Pins of an addition are for a call of its own, which answers to them.
        own = {pin.layer for pin in pins_of(op)}
        found = {residual.convolution: residual for residual in residuals(op) if pinned.names[residual.addition] not in own}
        for call in pinned.names:
            if call not in found and pinned.get(call, "residual") == "on":
                pinned.refuse(
                    call, "residual", "only a convolution right before the one addition, without pins, that reads it can add to it"
                )
        pins = {call: pinned.get(call, "residual") for call in found}
        fixed = [index for index, pin in enumerate(pins.values()) if pin == "on"]
        wanted = [
            index
            for index, residual in enumerate(found.values())
            if pins[residual.convolution] is None and residual.fused_cost < residual.apart_cost
        ]
        chosen = {*fixed, *_within_peak(op, fixed, wanted, self.input)}
        for index, (call, residual) in enumerate(found.items()):
            use = index in chosen
            if choices is not None:
                names, pin = pinned.names, pins[call] is not None
                choices.append(_recorded(residual, names[call], use, index in wanted, pin))
            if use:
                fuse(residual)


def _within_peak(module: ModuleOp, fixed: Sequence[int], wanted: Sequence[int], pushed: bool) -> Sequence[int]:
    """Those of `wanted`, numbers of residuals, that leave the peak of the schedule in streams as low as it is with `fixed` alone.

    A convolution that waits for the other operand must be given its input that long: a shortcut out of a tensor that the other path of a
    stream reads further ahead would keep more rows of that than it has rows of its own.
    """
    if not wanted:
        return ()
    limit = _peak(module, fixed, pushed)
    chosen = list(wanted)
    peak = _peak(module, [*fixed, *chosen], pushed)
    for index in wanted:
        if peak <= limit:
            break
        without = [other for other in chosen if other != index]
        lower = _peak(module, [*fixed, *without], pushed)
        if lower < peak:
            chosen, peak = without, lower
    return chosen if peak <= limit else ()


def _peak(module: ModuleOp, numbers: Sequence[int], pushed: bool) -> int:
    """Most bytes that a step needs, in streams, with the residuals of these numbers fused."""
    trial = module.clone()
    for index, residual in enumerate(list(residuals(trial))):
        if index in numbers:
            fuse(residual)
    StreamRows(input=pushed).apply(Context(), trial)
    return max(build_schedule(trial).step_bounds, default=0)


def _recorded(residual: Residual, name: str, used: bool, wanted: bool, pin: bool) -> Choice:
    why_not = "costs more" if not wanted else "the arena would grow: its input must be kept for longer"
    reasons = ("pinned", "pinned") if pin else ("costs less, and no tensor in between", why_not)
    on = either("on", used, *reasons, cost=residual.fused_cost, ram_bytes=0)
    size = buffer_of(residual.convolution.output).size_bytes
    worse = reasons[1], "pinned" if pin else "costs more, and a tensor in between"
    off = either("off", not used, *worse, cost=residual.apart_cost, ram_bytes=size)
    return Choice(name, "residual", FuseResidual.name, (on, off), pin)


def residuals(module: ModuleOp) -> Iterator[Residual]:
    """Every convolution of `module` that could add the other operand of the addition in the step behind it."""
    calls = [step.calls[0] for step in steps_of(module)]
    for call, following in pairwise(calls):
        spec, addition = decode_kernel(call.kernel), decode_kernel(following.kernel)
        if not isinstance(spec, ConvSpec) or not isinstance(addition, AddSpec) or addition.constant:
            continue
        plain = addition.broadcast is Broadcast.SAME and following.row_accesses() == (EACH_ROW, EACH_ROW)
        if not plain or spec.addition is not None or spec.plane_words:
            continue
        first, second = following.inputs
        if (first is call.output) == (second is call.output) or buffer_of(call.output).kind.data != "tensor":
            continue
        # The convolution stores its output, the addition loads it, and nobody else sees it.
        if len(list(call.output.uses)) != 2 or row_shape(call.output) != row_shape(following.output):
            continue
        fused = fused_addition(addition.plan, first is call.output)
        if fused is not None:
            other = second if first is call.output else first
            yield Residual(call, following, other, replace(spec, addition=fused[0]), fused[1])


def fuse(residual: Residual) -> None:
    """Makes one call of the two, in the place of the addition."""
    convolution, addition = residual.convolution, residual.addition
    inner, step = buffer_of(convolution.output), addition.parent_op()
    former = convolution.parent_op()
    assert isinstance(step, StreamOp)
    assert isinstance(former, StreamOp)
    block = step.parent
    assert block is not None
    table = _table(residual.constants)
    block.insert_ops_before([table], step)
    properties = {
        **convolution.properties,
        "kernel": encode_kernel(residual.spec),
        "accesses": ArrayAttr([*convolution.accesses.data, RowAccessAttr.of(EACH_ROW)]),
        "in_place": ArrayAttr([IntAttr(1)]),
        "exactly": UnitAttr(),
        "fused": ArrayAttr([StringAttr(text) for text in (addition.layer.data, addition.op.data)]),
        "macs": number(int(convolution.macs.value.data) + int(addition.macs.value.data)),
    }
    del properties["operandSegmentSizes"]
    scratch = [convolution.scratch] if convolution.scratch is not None else []
    tables = [*convolution.tables, table.result]
    call = CallOp.build(operands=[[*convolution.inputs, residual.other], addition.output, tables, scratch, []], properties=properties)
    block.insert_ops_before([StreamOp.make([call])], step)
    erase(step)
    erase(former)
    erase(inner)


def _table(table: Table) -> TableOp:
    assert table.values.dtype.names is not None
    fields = ArrayAttr([DenseAttr.of(np.ascontiguousarray(table.values[name])) for name in table.values.dtype.names])
    properties = {"suffix": StringAttr(table.suffix), "c_type": StringAttr(table.c_type), "fields": fields}
    return TableOp.create(properties=properties, result_types=[TABLE])
