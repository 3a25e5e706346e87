"""widen-weights: convolutions get weights that take more flash and fewer instructions, where that saves most per byte of flash.

Two of the 13 instructions of a step unpack its word of weights. Where the scratch for several tiles of columns is not to be had, as in
streams of narrow rows, flash buys the same: int16 weights. Convolutions 3x3 with stride 1 can have weights transformed for Winograd's
filtering instead, which saves products. Which convolution gets what is a knapsack with one choice for each, filled by saved instructions
per byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp
from xdsl.ir import Attribute, SSAValue
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import scratch_of, set_kernel
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.base import KernelSpec
from tinyc.backends.cortexm.kernels.conv import ConvSpec, unpack, widen
from tinyc.backends.cortexm.kernels.winograd import WinogradSpec, pack_weights, sums_fit, winograd_spec
from tinyc.backends.cortexm.size_im2col import arena_bytes, resize_scratches
from tinyc.ir.dense import DenseAttr
from tinyc.ir.edit import erase
from tinyc.ir.mcu import CallOp, RowAccessAttr, StreamOp, TableOp, ViewOp, buffer_of, row_shape
from tinyc.ir.schedule import build_schedule, steps_of
from tinyc.memory.row_access import RowAccess


@dataclass(frozen=True)
class Variant:
    """Another kernel for a convolution: bytes of flash for its weights, and instructions that it takes in one inference."""

    spec: KernelSpec
    weight_bytes: int
    instructions: int


@dataclass(frozen=True)
class Choice:
    """A convolution as it is, and its variants."""

    step: StreamOp
    call: CallOp
    spec: ConvSpec
    table: TableOp
    former: Mapping[str, Attribute]
    output: SSAValue
    variants: tuple[Variant, ...]
    scratch_bytes: int
    """Of the step before anything changed. It does not shrink before all is chosen, since smaller buffers may be placed worse."""

    @property
    def original(self) -> Variant:
        """The convolution as it is."""
        return Variant(self.spec, self.table.size_bytes, _instructions(self.spec, row_shape(self.output)[0]))

    def use(self, variant: Variant) -> None:
        """Gives the call the kernel of `variant`, or its own again; weights follow in `store`."""
        self._reset_output()
        self.call.properties.update(self.former)
        set_kernel(self.call, variant.spec)
        if isinstance(variant.spec, WinogradSpec):
            access = self.call.row_accesses()[0]
            rows = variant.spec.output_rows
            wide = RowAccess(access.window + rows - 1, rows, 1, access.pad)
            self.call.properties["accesses"] = ArrayAttr([RowAccessAttr.of(wide)])
            if rows > 1:
                count, row_bytes = row_shape(self.output)
                view = ViewOp.make(self.output, count // rows, rows * row_bytes)
                block = self.step.parent
                assert block is not None
                block.insert_ops_before([view], self.step)
                self.call.operands[self._position()] = view.result
        resize_scratches(self.step, self.scratch_bytes)

    def store(self, variant: Variant) -> None:
        """Writes the weights of `variant`, once it is final."""
        packed = self.table.fields.data[0].array.ravel().view(np.uint32)
        if isinstance(variant.spec, WinogradSpec):
            _set_values(self.table, pack_weights(variant.spec, unpack(self.spec, packed)))
        elif isinstance(variant.spec, ConvSpec) and variant.spec.weights_are_wide:
            _set_values(self.table, widen(packed))

    def _position(self) -> int:
        return len(self.call.inputs)

    def _reset_output(self) -> None:
        present = self.call.operands[self._position()]
        if present is not self.output:
            self.call.operands[self._position()] = self.output
            assert isinstance(present.owner, ViewOp)
            erase(present.owner)


@dataclass(frozen=True)
class WidenWeights(ModulePass):
    """Larger weights where a byte saves `gain` instructions or more; tables grow by at most `growth` percent, the peak by `slack`."""

    name = "widen-weights"
    growth: int = 70
    gain: int = 20
    slack: int = 0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        left = sum(table.size_bytes for table in op.ops if isinstance(table, TableOp)) * self.growth // 100
        choices = [choice for step in steps_of(op) for call in step.calls if (choice := _choice(step, call)) is not None]
        if not any(choice.variants for choice in choices):
            return
        limit = arena_bytes(build_schedule(op)) * (100 + self.slack) // 100
        chosen = [choice.original for choice in choices]
        refused: set[tuple[int, Variant]] = set()
        while True:
            upgrades = [
                (gain, -number, variant)
                for number, choice in enumerate(choices)
                for variant in choice.variants
                if (number, variant) not in refused and variant.weight_bytes - chosen[number].weight_bytes <= left
                if (gain := _gain(chosen[number], variant)) >= max(self.gain, 1)
            ]
            if not upgrades:
                break
            _, negated, variant = max(upgrades, key=lambda upgrade: upgrade[:2])
            number = -negated
            choices[number].use(variant)
            if variant.spec.scratch_bytes > choices[number].scratch_bytes and arena_bytes(build_schedule(op), limit) > limit:
                choices[number].use(chosen[number])
                refused.add((number, variant))
                continue
            left -= variant.weight_bytes - chosen[number].weight_bytes
            chosen[number] = variant
        for choice, variant in zip(choices, chosen, strict=True):
            choice.store(variant)
        _shrink_scratches(op, choices)


def _shrink_scratches(module: ModuleOp, choices: Sequence[Choice]) -> None:
    """Gives back scratch that nobody needs any more, unless the smaller buffers are placed worse."""
    before = arena_bytes(build_schedule(module))
    for choice in choices:
        resize_scratches(choice.step)
    if arena_bytes(build_schedule(module), before) > before:
        for choice in choices:
            resize_scratches(choice.step, choice.scratch_bytes)


def _gain(present: Variant, variant: Variant) -> float:
    """Instructions saved per byte of flash; a variant that saves without more flash comes first."""
    saved, extra = present.instructions - variant.instructions, variant.weight_bytes - present.weight_bytes
    if saved <= 0:
        return 0.0
    return saved / extra if extra > 0 else float("inf")


def _instructions(spec: ConvSpec, rows: int) -> int:
    return (spec.estimated_instructions + spec.estimated_gathering) * rows


def _choice(step: StreamOp, call: CallOp) -> Choice | None:
    spec = decode_kernel(call.kernel)
    if not isinstance(spec, ConvSpec) or spec.weights_are_wide:
        return None
    table = call.tables[0].owner
    if not isinstance(table, TableOp) or len(list(table.result.uses)) > 1:
        return None
    rows = row_shape(call.output)[0]
    wide = replace(spec, weights_are_wide=True)
    variants = [Variant(wide, 2 * table.size_bytes, _instructions(wide, rows)), *_winograd_variants(step, call, spec, table)]
    former = {name: call.properties[name] for name in ("kernel", "accesses")}
    scratch = scratch_of(call)
    return Choice(step, call, spec, table, former, call.output, tuple(variants), scratch.size_bytes if scratch is not None else 0)


def _winograd_variants(step: StreamOp, call: CallOp, spec: ConvSpec, table: TableOp) -> Iterator[Variant]:
    access, rows = call.row_accesses()[0], row_shape(call.output)[0]
    if (access.window, access.stride, access.dilation, access.divisor) != (3, 1, 1, 1):
        return
    weights = unpack(spec, table.fields.data[0].array.ravel().view(np.uint32))
    for output_rows in (1, 2):
        # Rows in pairs are a view of the output, and rings have none.
        alone = len(step.calls) == 1 and step.pushed_input is None
        if output_rows == 2 and (rows % 2 or not alone or buffer_of(call.output).slots != buffer_of(call.output).rows):
            continue
        changed = winograd_spec(spec, output_rows)
        if changed is not None and sums_fit(weights, output_rows):
            yield Variant(changed, changed.weight_bytes, changed.estimated_instructions * rows)


def _set_values(table: TableOp, values: npt.NDArray[np.uint32]) -> None:
    table.properties["fields"] = ArrayAttr([DenseAttr.of(values.view(np.int32))])
