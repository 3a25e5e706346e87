"""share-code: convolutions that few pixels go through take less code instead of fewer instructions.

Specialised code is unrolled and knows every size. Where a byte of it saves few instructions, sizes become arguments, so that layers with
the same loops and the same requantisation share one function, and channels without a proof are left to a function that all kernels share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import scratch_of, set_kernel
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.compact import CompactConvSpec, CompactDepthwiseSpec, CompactFullyConnectedSpec
from tinyc.backends.cortexm.kernels.conv import TILE_COLUMNS, ConvSpec
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseRingSpec, DepthwiseSpec
from tinyc.backends.cortexm.kernels.output_stage import OutputForm
from tinyc.backends.cortexm.kernels.residual import FusedAddition
from tinyc.backends.cortexm.size_im2col import arena_bytes, convolution_instructions, resize_scratches
from tinyc.ir.mcu import CallOp, StreamOp, row_shape
from tinyc.ir.schedule import build_schedule, steps_of
from tinyc.passes.choices import recorder
from tinyc.passes.pins import Pinned
from tinyc.report.choices import Alternative, Choice

_BYTES_OF_INSTRUCTION = 4
_FURTHER_BYTES, _FALLBACK_BYTES = 240, 110
"""Code of a tile besides its products and outputs, and of the requantisation of channels without a proof, once for each of two channels."""
_ARGUMENTS_PER_TILE, _CALL = 4, 35
"""Instructions more: of a tile whose sizes are arguments, and of a call for four outputs of a channel without a proof."""
_ADDITION_BYTES = 130
"""Code of an addition to the outputs of a tile."""
_UNPROVED = 0.04
"""Share of channels without a proof, in layers that have some."""


@dataclass(frozen=True)
class SharedForm:
    """A convolution, its form that can share code, how many bytes of code a specialised form takes, and how many instructions it saves."""

    call: CallOp
    spec: ConvSpec
    code_bytes: int
    saved_instructions: int

    @property
    def adding(self) -> int:
        """Instructions that an addition saves as a part of the tile's code."""
        return adding_instructions(self.call, self.spec)


@dataclass(frozen=True)
class ShareCode(ModulePass):
    """Let layers share code where a byte of code of their own would save fewer than `gain` instructions."""

    name = "share-code"
    gain: int = 20

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        pinned, choices = Pinned.of(op, "code", "unproved"), recorder(ctx)
        groups: dict[str, list[SharedForm]] = {}
        room = _Room(op)
        for step in steps_of(op):
            for call in step.calls:
                recorded = _compact_depthwise(call, self.gain, pinned)
                if choices is not None and recorded is not None:
                    choices.append(recorded)
                form = _shared_form(call)
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
    """Those of `group` that save few instructions by code of their own; a function for one layer alone would share nothing."""
    pins = {form: pinned.get(form.call, "code") for form in group}
    wanted = [form for form in group if pins[form] == "shared" or (pins[form] is None and form.saved_instructions < gain * form.code_bytes)]
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
        worth = len(members) > 1 and sum(form.adding for form in members) >= gain * max(form.code_bytes for form in members)
        if addition is not None and (worth or len(kinds) == 1 or not addition.clamped_by_saturation):
            yield {form: form.spec for form in members}
        else:
            together += members
    yield {form: replace(form.spec, adds_apart=form.spec.addition is not None) for form in together}


def _equal_but_for_additions(module: ModuleOp, gain: int) -> Iterator[tuple[CallOp, ConvSpec]]:
    """Convolutions with code of their own that the compiler would fold into that of others, if it were not for what they add, and whose
    additions save too few instructions for the bytes."""
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
            and sum(adding_instructions(*member) for member in members) < gain * _code_bytes(members[0][1])
        ]
        if None in kinds or len(cheap) > 1:
            yield from ((call, replace(spec, adds_apart=True)) for members in cheap for call, spec in members)


def adding_instructions(call: CallOp, spec: ConvSpec) -> int:
    """About how many instructions it saves to add as the tiles are stored, and not apart."""
    return (
        0
        if spec.addition is None
        else convolution_instructions(replace(spec, adds_apart=True), rows := row_shape(call.output)[0])
        - (convolution_instructions(replace(spec, adds_apart=False), rows))
    )


@dataclass(frozen=True)
class _Room:
    """The arena, which code that takes more scratch must not make larger."""

    module: ModuleOp

    @cached_property
    def limit(self) -> int:
        return arena_bytes(build_schedule(self.module))

    def take(self, call: CallOp, spec: ConvSpec) -> bool:
        """Gives `call` the kernel `spec` if there is the memory for it."""
        former, step, scratch = call.kernel, call.parent_op(), scratch_of(call)
        assert isinstance(step, StreamOp)
        before = 0 if scratch is None else scratch.size_bytes
        limit = self.limit if spec.scratch_bytes > before else 0
        set_kernel(call, spec)
        if spec.scratch_bytes > before:
            resize_scratches(step, before)
            if arena_bytes(build_schedule(self.module), limit) > limit:
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
    former = convolution_instructions(form.spec, rows)
    saved = f"{form.saved_instructions / form.code_bytes:.1f} instructions a byte"
    if pin is not None:
        own_reason = shared_reason = "pinned"
    elif shared:
        own_reason, shared_reason = f"would save {saved}, less than {gain}", f"{group} layers have the same text"
    else:
        alone = group == 1 or form.saved_instructions < gain * form.code_bytes
        own_reason = "no other layer would share it" if alone else f"saves {saved}"
        shared_reason = "no other layer would share it" if alone else f"a byte is worth {gain} instructions"
    own = Alternative("specialised", not shared, own_reason, former, form.code_bytes)
    return Choice(
        pinned.names[form.call],
        "code",
        ShareCode.name,
        (own, Alternative("shared", shared, shared_reason, former + form.saved_instructions, form.code_bytes // max(group, 1))),
        pin is not None,
    )


def _compact_depthwise(call: CallOp, gain: int, pinned: Pinned) -> Choice | None:
    """Gives a depthwise convolution whose channels without a proof are few the code that all kernels share for them."""
    spec = decode_kernel(call.kernel)
    if not isinstance(spec, (DepthwiseSpec, DepthwiseInPlaceSpec, DepthwiseRingSpec)) or spec.output_stage.form is not OutputForm.MIXED:
        pinned.refuse(call, "unproved", "only a depthwise layer with code of its own, some of whose channels have no proof, has the choice")
        return None
    rows, row_bytes = row_shape(call.output)
    more = round(rows * row_bytes / TILE_COLUMNS * _UNPROVED * _CALL)
    code, pin = _FALLBACK_BYTES * len(spec.tiles), pinned.get(call, "unproved")
    shared = more < gain * code if pin is None else pin == "shared"
    if shared:
        set_kernel(call, replace(spec, output_stage=replace(spec.output_stage, compact=True)))
    worth = f"saves {more / code:.1f} instructions a byte, {gain} are asked for"
    inline = Alternative("inline", not shared, "pinned" if pin else worth, 0, code)
    other = Alternative("shared", shared, "pinned" if pin else f"code {worth}" if not shared else "costs few instructions", more, 0)
    return Choice(pinned.names[call], "unproved", ShareCode.name, (inline, other), pin is not None)


def _code_bytes(spec: ConvSpec) -> int:
    """About what the code of the tiles takes."""
    kinds = 2 if spec.output_width % TILE_COLUMNS else 1
    steps = sum(pairs for pairs, _ in spec.loops)
    mixed = spec.output_stage.form is OutputForm.MIXED
    further = _FURTHER_BYTES + (2 * _FALLBACK_BYTES if mixed else 0) + (_ADDITION_BYTES if spec.addition is not None else 0)
    return kinds * (steps * 11 * _BYTES_OF_INSTRUCTION + further)


def _shared_form(call: CallOp) -> SharedForm | None:
    spec = decode_kernel(call.kernel)
    if not isinstance(spec, ConvSpec) or not spec.hoisted or spec.plane_words:
        return None
    shared = replace(spec, shares_code=True, output_stage=replace(spec.output_stage, compact=True))
    mixed = spec.output_stage.form is OutputForm.MIXED
    code = _code_bytes(shared)
    tiles = -(-spec.output_width // TILE_COLUMNS) * row_shape(call.output)[0] * -(-spec.output_channels // 2)
    more = _ARGUMENTS_PER_TILE + (2 * _UNPROVED * _CALL if mixed else 0)
    return SharedForm(call, shared, code, round(tiles * more))
