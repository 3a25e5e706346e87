"""share-code: convolutions that few pixels go through take less code instead of less time.

Specialised code is unrolled and knows every size. Where a byte of it saves little, sizes become arguments, so that layers with
the same loops and the same requantisation share one function, and channels without a proof are left to a function that all kernels share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import scratch_of, set_kernel
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.compact import CompactConvSpec, CompactDepthwiseSpec, CompactFullyConnectedSpec
from tinyc.backends.cortexm.kernels.conv import TILE_COLUMNS, ConvSpec
from tinyc.backends.cortexm.kernels.costs import CONV
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseRingSpec, DepthwiseSpec
from tinyc.backends.cortexm.kernels.output_stage import OutputForm
from tinyc.backends.cortexm.kernels.residual import FusedAddition
from tinyc.backends.cortexm.size_im2col import arena_bytes, convolution_cost, resize_scratches, scratch_bytes, variants
from tinyc.ir.mcu import CallOp, StreamOp, row_shape
from tinyc.ir.schedule import build_schedule, steps_of
from tinyc.passes.choices import recorder
from tinyc.passes.pins import Pinned
from tinyc.report.choices import Alternative, Choice

_FURTHER_BYTES, _FALLBACK_BYTES = 220, 110
"""Code of a tile besides its products and outputs, and of the requantisation of channels without a proof, once for each of two channels."""
_ADDITION_BYTES = 130
"""Code of an addition to the outputs of a tile."""
_UNPROVED = 0.04
"""Share of channels without a proof, in layers that have some."""


@dataclass(frozen=True)
class SharedForm:
    """A convolution, its form that can share code, how many bytes of code a specialised form takes, and what it saves."""

    call: CallOp
    former: ConvSpec
    spec: ConvSpec
    code_bytes: int
    saved_cost: int

    @property
    def adding(self) -> int:
        """What an addition saves as a part of the tile's code."""
        return adding_cost(self.call, self.spec)


@dataclass(frozen=True)
class ShareCode(ModulePass):
    """Let layers share code where a byte of code of their own would save less than `gain` instructions, or cycles on Cortex-M7."""

    name = "share-code"
    gain: int = 22

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        pinned, choices = Pinned.of(op, "code", "unproved"), recorder(ctx)
        groups: dict[str, list[SharedForm]] = {}
        room = _Room.of(op)
        for step in steps_of(op):
            for call in step.calls:
                recorded = _compact_depthwise(call, self.gain, pinned)
                if choices is not None and recorded is not None:
                    choices.append(recorded)
                form = _shared_form(step, call, room.scratch_bytes(step))
                if form is not None:
                    groups.setdefault(replace(form.spec, addition=None).shared_source("SYMBOL"), []).append(form)
                else:
                    _refuse_code(call, pinned)
        for group in groups.values():
            chosen = _worth_sharing(group, self.gain, pinned)
            for form in group:
                shared = form in chosen and room.take(form.call, chosen[form])
                if choices is not None:
                    choices.append(_recorded(form, shared, len(group), self.gain, pinned))
        for call, spec in _equal_but_for_additions(op, self.gain):
            room.take(call, spec)


def _worth_sharing(group: Sequence[SharedForm], gain: int, pinned: Pinned) -> Mapping[SharedForm, ConvSpec]:
    """Those of `group` that save little by code of their own; a function for one layer alone would share nothing."""
    pins = {form: pinned.get(form.call, "code") for form in group}
    wanted = [form for form in group if pins[form] == "shared" or (pins[form] is None and form.saved_cost < gain * form.code_bytes)]
    return {form: spec for part in _parts(wanted, gain) for form, spec in part.items() if len(part) > 1 or pins[form]}


def _parts(forms: Sequence[SharedForm], gain: int) -> Iterator[Mapping[SharedForm, ConvSpec]]:
    """`forms`, equal but for what they add to their outputs, by the function that they share.

    An addition is made apart from it unless all make the same one, or enough of them that a function with it is worth its bytes.
    """
    kinds: dict[FusedAddition | None, list[SharedForm]] = {}
    for form in forms:
        kinds.setdefault(form.spec.addition, []).append(form)
    together: list[SharedForm] = []
    for addition, members in kinds.items():
        if addition is not None and (len(kinds) == 1 or not addition.clamped_by_saturation or _is_worth_adding(members, gain)):
            yield {form: form.spec for form in members}
        else:
            together += members
    yield {form: replace(form.spec, adds_apart=form.spec.addition is not None) for form in together}


def _is_worth_adding(members: Sequence[SharedForm], gain: int) -> bool:
    """Whether a function of their own, with the addition that they have in common, saves enough for its bytes."""
    return len(members) > 1 and sum(form.adding for form in members) >= gain * max(form.code_bytes for form in members)


def _equal_but_for_additions(module: ModuleOp, gain: int) -> Iterator[tuple[CallOp, ConvSpec]]:
    """Convolutions with code of their own that the compiler would fold into that of others, if it were not for what they add, and whose
    additions save too little for the bytes."""
    groups: dict[str, dict[FusedAddition | None, list[tuple[CallOp, ConvSpec]]]] = {}
    for call in (call for step in steps_of(module) for call in step.calls):
        spec = decode_kernel(call.kernel)
        if isinstance(spec, ConvSpec) and not spec.shares_code:
            plain = replace(spec, addition=None, adds_apart=False)
            groups.setdefault(plain.source("SYMBOL"), {}).setdefault(spec.addition, []).append((call, spec))
    for kinds in groups.values():
        cheap = [
            members
            for addition, members in kinds.items()
            if addition is not None
            and addition.clamped_by_saturation
            and sum(adding_cost(*member) for member in members) < gain * _code_bytes(members[0][1])
        ]
        if None in kinds or len(cheap) > 1:
            yield from ((call, replace(spec, adds_apart=True)) for members in cheap for call, spec in members)


def adding_cost(call: CallOp, spec: ConvSpec) -> int:
    """About what it saves to add as the tiles are stored, and not apart, which only an addition without bounds of its own can be made."""
    if spec.addition is None:
        return 0
    rows = row_shape(call.output)[0]
    return convolution_cost(replace(spec, adds_apart=True), rows) - convolution_cost(replace(spec, adds_apart=False), rows)


@dataclass(frozen=True)
class _Room:
    """The arena as it is, which code that takes more scratch must not make larger, and what each step needs besides its scratch."""

    module: ModuleOp
    limit: int
    others: Mapping[StreamOp, int]

    @staticmethod
    def of(module: ModuleOp) -> _Room:
        schedule = build_schedule(module)
        others = [bound - scratch_bytes(step) for step, bound in zip(schedule.steps, schedule.step_bounds, strict=True)]
        return _Room(module, arena_bytes(schedule), dict(zip(schedule.steps, others, strict=True)))

    def scratch_bytes(self, step: StreamOp) -> int:
        """What the scratch of `step` may take."""
        return self.limit - self.others[step]

    def take(self, call: CallOp, spec: ConvSpec) -> bool:
        """Gives `call` the kernel `spec` if there is the memory for it."""
        former, step, scratch = call.kernel, call.parent_op(), scratch_of(call)
        assert isinstance(step, StreamOp)
        before = 0 if scratch is None else scratch.size_bytes
        set_kernel(call, spec)
        if spec.scratch_bytes > before:
            resize_scratches(step, before)
            if arena_bytes(build_schedule(self.module), self.limit) > self.limit:
                call.properties["kernel"] = former
                resize_scratches(step, before)
                # The step may have asked for less than it has; it keeps that.
                return False
        return True


def _refuse_code(call: CallOp, pinned: Pinned) -> None:
    """Raises PassError for a pinned form of code that `call`, which has no shared form, does not have."""
    spec, pin = decode_kernel(call.kernel), pinned.get(call, "code")
    is_compact = isinstance(spec, (CompactConvSpec, CompactDepthwiseSpec, CompactFullyConnectedSpec))
    if pin == "shared":
        pinned.refuse(call, "code", "only convolutions by im2col of several tiles of columns, into channels last, can share code")
    if pin == "compact" and not is_compact:
        pinned.refuse(call, "code", "the pipeline has no compact-code")


def _recorded(form: SharedForm, shared: bool, group: int, gain: int, pinned: Pinned) -> Choice:
    """The choice for one convolution; code that several layers share is counted for each of them."""
    pin = pinned.get(form.call, "code")
    rows = row_shape(form.call.output)[0]
    former = convolution_cost(form.former, rows)
    saved = f"{form.saved_cost / form.code_bytes:.1f} {form.spec.core.cost_unit} a byte"
    if pin is not None:
        own_reason = shared_reason = "pinned"
    elif shared:
        own_reason, shared_reason = f"would save {saved}, less than {gain}", f"{group} layers have the same text"
    else:
        alone = group == 1 or form.saved_cost < gain * form.code_bytes
        own_reason = "no other layer would share it" if alone else f"saves {saved}"
        shared_reason = "no other layer would share it" if alone else f"a byte is worth {gain} {form.spec.core.cost_unit}"
    own = Alternative("specialised", not shared, own_reason, former, form.code_bytes)
    return Choice(
        pinned.names[form.call],
        "code",
        ShareCode.name,
        (own, Alternative("shared", shared, shared_reason, former + form.saved_cost, form.code_bytes // max(group, 1))),
        pin is not None,
    )


def _compact_depthwise(call: CallOp, gain: int, pinned: Pinned) -> Choice | None:
    """Gives a depthwise convolution whose channels without a proof are few the code that all kernels share for them."""
    spec = decode_kernel(call.kernel)
    if not isinstance(spec, (DepthwiseSpec, DepthwiseInPlaceSpec, DepthwiseRingSpec)) or spec.output_stage.form is not OutputForm.MIXED:
        pinned.refuse(call, "unproved", "only a depthwise layer with code of its own, some of whose channels have no proof, has the choice")
        return None
    rows, row_bytes = row_shape(call.output)
    more = round(rows * row_bytes / TILE_COLUMNS * _UNPROVED * CONV[spec.core].unproved)
    code, pin = _FALLBACK_BYTES * len(spec.tiles), pinned.get(call, "unproved")
    shared = more < gain * code if pin is None else pin == "shared"
    if shared:
        set_kernel(call, replace(spec, output_stage=replace(spec.output_stage, compact=True)))
    worth = f"saves {more / code:.1f} {spec.core.cost_unit} a byte, {gain} are asked for"
    inline = Alternative("inline", not shared, "pinned" if pin else worth, 0, code)
    other = Alternative("shared", shared, "pinned" if pin else f"code {worth}" if not shared else "costs little", more, 0)
    return Choice(pinned.names[call], "unproved", ShareCode.name, (inline, other), pin is not None)


def _code_bytes(spec: ConvSpec) -> int:
    """About what the code of the tiles takes."""
    kinds = 2 if spec.output_width % TILE_COLUMNS else 1
    mixed = spec.output_stage.form is OutputForm.MIXED
    further = _FURTHER_BYTES + (2 * _FALLBACK_BYTES if mixed else 0) + (_ADDITION_BYTES if spec.addition is not None else 0)
    return spec.loop_bytes + kinds * further


def _shared_form(step: StreamOp, call: CallOp, room_bytes: int) -> SharedForm | None:
    """The form of `call` that can share code, None where it has none with `room_bytes` of scratch."""
    spec = decode_kernel(call.kernel)
    if not isinstance(spec, ConvSpec) or spec.plane_words:
        return None
    hoisted = spec if spec.hoisted else _hoisted(spec, room_bytes)
    if hoisted is None:
        return None
    shared = replace(hoisted, shares_code=True, output_stage=replace(spec.output_stage, compact=True))
    mixed = spec.output_stage.form is OutputForm.MIXED
    rows, costs = row_shape(call.output)[0], CONV[spec.core]
    tiles = -(-spec.output_width // TILE_COLUMNS) * rows * -(-spec.output_channels // 2)
    more = tiles * (costs.arguments + (2 * _UNPROVED * costs.unproved if mixed else 0))
    saved = round(more) + convolution_cost(hoisted, rows) - convolution_cost(spec, rows)
    return SharedForm(call, spec, shared, _code_bytes(spec), saved)


def _hoisted(spec: ConvSpec, room_bytes: int) -> ConvSpec | None:
    """`spec` with several tiles of columns, which one that takes a tile at a time can be turned into: the fastest within `room_bytes`."""
    if spec.weights_are_wide or spec.tile_channels != 2:
        return None
    fitting = [variant for variant in variants(spec) if variant.hoisted and variant.scratch_bytes <= room_bytes]
    return min(fitting, key=lambda variant: variant.estimated_cost, default=None)
