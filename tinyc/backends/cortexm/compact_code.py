"""compact-code: layers get kernels whose sizes are arguments, so that one function serves all convolutions, and so on.

Specialised code is fast because it is unrolled and knows every size; there is one for each shape. Where flash counts most this pass
replaces them: `tinyc compile --optimize size`. Weights stay int8, in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import scratch_of, set_kernel
from tinyc.backends.cortexm.estimate import call_cost
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels import conv
from tinyc.backends.cortexm.kernels.base import KernelSpec, Table
from tinyc.backends.cortexm.kernels.compact import (
    FIXED_POINT,
    CompactConvSpec,
    CompactDepthwiseSpec,
    CompactFullyConnectedSpec,
    compact_channels,
    pack_conv,
)
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseSpec
from tinyc.backends.cortexm.kernels.fully_connected import FullyConnectedReductionSpec, FullyConnectedSpec
from tinyc.backends.cortexm.kernels.output_stage import OutputForm, OutputStage
from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.backends.cortexm.size_im2col import arena_bytes, resize_scratches
from tinyc.ir.dense import DenseAttr
from tinyc.ir.mcu import CallOp, StreamOp, TableOp
from tinyc.ir.schedule import build_schedule, steps_of
from tinyc.numerics.profile import Profile
from tinyc.passes.choices import recorder
from tinyc.passes.pins import Pinned
from tinyc.report.choices import Alternative, Choice

Compact = CompactConvSpec | CompactDepthwiseSpec | CompactFullyConnectedSpec


@dataclass(frozen=True)
class CompactForm:
    """A layer's call, its compact kernel, and the tables that go with it."""

    step: StreamOp
    call: CallOp
    former: KernelSpec
    spec: Compact
    weights: TableOp
    channels: TableOp

    def use(self, spec: KernelSpec) -> None:
        """Gives the call this kernel or its former one; tables follow in `store`."""
        set_kernel(self.call, spec)
        resize_scratches(self.step)

    def store(self) -> None:
        """Writes the tables of the compact kernel."""
        if isinstance(self.spec, CompactConvSpec):
            packed = self.weights.fields.data[0].array.ravel().view(np.uint32)
            _set_values(self.weights, pack_conv(self.spec, conv.unpack(self.spec.convolution, packed)).view(np.int32))
        changed = compact_channels(self.spec.stage, _table(self.channels))
        _set_values(self.channels, *(np.ascontiguousarray(changed.values[name]) for name in changed.values.dtype.names or ()))
        self.channels.properties["c_type"] = StringAttr(changed.c_type)


@dataclass(frozen=True)
class CompactCode(ModulePass):
    """One function for all layers of a kind: those that are pinned, or with `all` every one; the peak may grow by `slack` percent."""

    name = "compact-code"
    all: bool = False
    slack: int = 10

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        numerics = op.attributes.get("numerics")
        fixed_point = isinstance(numerics, StringAttr) and numerics.data == Profile.TFLM.value
        pinned, choices = Pinned.of(op, "code", *_OF_SPECIALISED_CODE), recorder(ctx)
        limit: int | None = None
        for step in steps_of(op):
            for call in step.calls:
                form, pin = compact_form(step, call, fixed_point), pinned.get(call, "code")
                if isinstance(form, str):
                    if pin == "compact":
                        pinned.refuse(call, "code", form)
                    continue
                if pin == "compact":
                    for decision in _OF_SPECIALISED_CODE:
                        pinned.refuse(call, decision, "code=compact is pinned too, which has no such choice")
                wanted = pin == "compact" or (self.all and pin is None and not pinned.has(call, *_OF_SPECIALISED_CODE))
                if wanted and limit is None:
                    limit = arena_bytes(build_schedule(op)) * (100 + self.slack) // 100
                use = wanted and limit is not None and _use(op, form, limit, forced=pin == "compact")
                if choices is not None:
                    choices.append(_recorded(pinned.names[call], form, use, wanted, pin, limit))


def _use(module: ModuleOp, form: CompactForm, limit: int, forced: bool) -> bool:
    """Whether the layer has the compact kernel now: not where the arena would exceed `limit`, unless it is `forced`."""
    scratch = scratch_of(form.call)
    before = 0 if scratch is None else scratch.size_bytes
    form.use(form.spec)
    if not forced and form.spec.scratch_bytes > before and arena_bytes(build_schedule(module), limit) > limit:
        form.use(form.former)
        return False
    form.store()
    return True


def _recorded(name: str, form: CompactForm, used: bool, wanted: bool, pin: str | None, limit: int | None) -> Choice:
    core: CoreForm = form.former.core  # type: ignore[attr-defined]
    former, present = (round(call_cost(form.call, core, spec)) for spec in (form.former, form.spec))
    if pin is not None:
        why_own = why_compact = "pinned"
    elif used:
        why_own, why_compact = "more code", "size was asked for"
    else:
        why_own = "speed counts" if not wanted else "takes less memory"
        why_compact = "size was not asked for" if not wanted else f"the arena would exceed {limit:,} bytes"
    own = Alternative("specialised", not used, why_own, former, ram_bytes=form.former.scratch_bytes)
    compact = Alternative("compact", used, why_compact, present, form.spec.constant_bytes, form.spec.scratch_bytes)
    return Choice(name, "code", CompactCode.name, (own, compact), pin is not None)


_OF_SPECIALISED_CODE = ("columns", "unroll", "weights", "winograd", "unproved")
"""Decisions that compact code leaves no room for."""


def compact_form(step: StreamOp, call: CallOp, fixed_point: bool) -> CompactForm | str:
    """The compact form of `call`, or why it has none."""
    spec = decode_kernel(call.kernel)
    make = _MAKERS.get(type(spec))
    if make is None:
        return f"only convolutions and fully connected layers have compact code, not {spec.family}"
    if isinstance(spec, ConvSpec) and spec.addition is not None:
        return "it adds another tensor to its outputs, which compact code does not: pin residual=off, too"
    weights, channels = (value.owner for value in call.tables)
    assert isinstance(weights, TableOp)
    assert isinstance(channels, TableOp)
    if any(len(list(table.result.uses)) > 1 for table in (weights, channels)):
        return "other layers use its constants too"
    stage: OutputStage = spec.output_stage  # type: ignore[attr-defined]
    # Constants without a proof are told by their sign.
    if stage.form is OutputForm.FLOAT and bool((_table(channels).values["scale"] < 0).any()):
        return "one of its channels has a negative scale and no proof"
    try:
        # Some layers follow the rules of fixed point in every profile: those whose scales XNNPACK does not take.
        return CompactForm(step, call, spec, make(fixed_point or stage.form in FIXED_POINT, spec), weights, channels)
    except ValueError as error:
        return str(error)


def _compact_conv(fixed_point: bool, spec: ConvSpec) -> CompactConvSpec:
    return CompactConvSpec(fixed_point, replace(spec, columns=conv.TILE_COLUMNS))


_MAKERS: dict[type[KernelSpec], Callable[..., Compact]] = {
    ConvSpec: _compact_conv,
    DepthwiseSpec: CompactDepthwiseSpec,
    DepthwiseInPlaceSpec: CompactDepthwiseSpec,
    FullyConnectedSpec: CompactFullyConnectedSpec,
    FullyConnectedReductionSpec: CompactFullyConnectedSpec,
}


def _table(op: TableOp) -> Table:
    """The table with the names of its fields that matter here."""
    fields = [field.array.ravel() for field in op.fields.data]
    names = ("bias", "scale" if fields[1].dtype.kind == "f" else "multiplier", "third", "fourth")
    values = np.zeros(fields[0].size, dtype=[(name, field.dtype) for name, field in zip(names, fields, strict=False)])
    for name, field in zip(names, fields, strict=False):
        values[name] = field
    return Table(op.suffix.data, op.c_type.data, values)


def _set_values(table: TableOp, *fields: npt.NDArray[np.generic]) -> None:
    table.properties["fields"] = ArrayAttr([DenseAttr.of(field) for field in fields])
