"""share-code: convolutions that few pixels go through take less code instead of fewer instructions.

Specialised code is unrolled and knows every size. Where a byte of it saves few instructions, sizes become arguments, so that layers with
the same loops and the same requantisation share one function, and channels without a proof are left to a function that all kernels share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import set_kernel
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import TILE_COLUMNS, ConvSpec
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseRingSpec, DepthwiseSpec
from tinyc.backends.cortexm.kernels.output_stage import OutputForm
from tinyc.ir.mcu import CallOp, row_shape
from tinyc.ir.schedule import steps_of

_BYTES_OF_INSTRUCTION = 4
_FURTHER_BYTES, _FALLBACK_BYTES = 240, 110
"""Code of a tile besides its products and outputs, and of the requantisation of channels without a proof, once for each of two channels."""
_ARGUMENTS_PER_TILE, _CALL = 4, 35
"""Instructions more: of a tile whose sizes are arguments, and of a call for four outputs of a channel without a proof."""
_UNPROVED = 0.04
"""Share of channels without a proof, in layers that have some."""


@dataclass(frozen=True)
class SharedForm:
    """A convolution, its form that can share code, how many bytes of code a specialised form takes, and how many instructions it saves."""

    call: CallOp
    spec: ConvSpec
    code_bytes: int
    saved_instructions: int


@dataclass(frozen=True)
class ShareCode(ModulePass):
    """Let layers share code where a byte of code of their own would save fewer than `gain` instructions."""

    name = "share-code"
    gain: int = 20

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        groups: dict[str, list[SharedForm]] = {}
        for step in steps_of(op):
            for call in step.calls:
                _compact_depthwise(call, self.gain)
                form = _shared_form(call)
                if form is not None:
                    groups.setdefault(form.spec.shared_source("SYMBOL"), []).append(form)
        for group in groups.values():
            for form in _worth_sharing(group, self.gain):
                set_kernel(form.call, form.spec)


def _worth_sharing(group: Sequence[SharedForm], gain: int) -> Sequence[SharedForm]:
    """Those of `group` that save few instructions by code of their own; a function for one layer alone would share nothing."""
    chosen = [form for form in group if form.saved_instructions < gain * form.code_bytes]
    return chosen if len(chosen) > 1 else ()


def _compact_depthwise(call: CallOp, gain: int) -> None:
    """Gives a depthwise convolution whose channels without a proof are few the code that all kernels share for them."""
    spec = decode_kernel(call.kernel)
    if not isinstance(spec, (DepthwiseSpec, DepthwiseInPlaceSpec, DepthwiseRingSpec)) or spec.output_stage.form is not OutputForm.MIXED:
        return
    rows, row_bytes = row_shape(call.output)
    more = round(rows * row_bytes / TILE_COLUMNS * _UNPROVED * _CALL)
    if more < gain * _FALLBACK_BYTES * len(spec.tiles):
        set_kernel(call, replace(spec, output_stage=replace(spec.output_stage, compact=True)))


def _shared_form(call: CallOp) -> SharedForm | None:
    spec = decode_kernel(call.kernel)
    if not isinstance(spec, ConvSpec) or not spec.hoisted or spec.plane_words:
        return None
    shared = replace(spec, shares_code=True, output_stage=replace(spec.output_stage, compact=True))
    mixed = spec.output_stage.form is OutputForm.MIXED
    kinds = 2 if spec.output_width % TILE_COLUMNS else 1
    steps = sum(pairs for pairs, _ in spec.loops)
    code = kinds * (steps * 11 * _BYTES_OF_INSTRUCTION + _FURTHER_BYTES + (2 * _FALLBACK_BYTES if mixed else 0))
    tiles = -(-spec.output_width // TILE_COLUMNS) * row_shape(call.output)[0] * -(-spec.output_channels // 2)
    more = _ARGUMENTS_PER_TILE + (2 * _UNPROVED * _CALL if mixed else 0)
    return SharedForm(call, shared, code, round(tiles * more))
