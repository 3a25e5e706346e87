"""widen-weights: convolutions get weights that take more flash and less time, where that saves most per byte of flash.

Two of the 13 instructions of a step, or one of 9 cycles on Cortex-M7, unpack its word of weights. Where the scratch for several tiles of
columns is not to be had, as in streams of narrow rows, flash buys the same: int16 weights. Convolutions 3x3 with stride 1 can have weights
transformed for Winograd's @@
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
from tinyc.backends.cortexm.kernels.conv import FEW_COLUMNS, TILE_COLUMNS, ConvSpec, by_four_channels, unpack, widen
from tinyc.backends.cortexm.kernels.winograd import WinogradSpec, pack_weights, sums_fit, winograd_spec
from tinyc.backends.cortexm.size_im2col import arena_bytes, convolution_cost, resize_scratches
from tinyc.ir.dense import DenseAttr
from tinyc.ir.edit import erase
from tinyc.ir.mcu import CallOp, RowAccessAttr, StreamOp, TableOp, ViewOp, buffer_of, row_shape
from tinyc.ir.schedule import build_schedule, steps_of
from tinyc.memory.row_access import RowAccess
from tinyc.passes.choices import recorder
from tinyc.passes.pins import Pinned
from tinyc.report.choices import Alternative, Choice


@dataclass(frozen=True)
class Variant:
    """Another kernel for a convolution: bytes of flash for its weights, and what it costs in one inference."""

    spec: ConvSpec | WinogradSpec
    weight_bytes: int
    cost: int

    @property
    def unit(self) -> str:
        """What `cost` counts."""
        return self.spec.core.cost_unit


@dataclass(frozen=True)
class Candidate:
    """A convolution as it is, and its variants."""

    step: StreamOp
    call: CallOp
    spec: ConvSpec
    table: TableOp
    former: Mapping[str, Attribute]
    seen: Mapping[int, SSAValue]
    """Operands that become views where a call takes two rows, by position: the output, and what is added to it."""
    variants: tuple[Variant, ...]
    scratch_bytes: int
    """Of the step before anything changed. It does not shrink before all is chosen, since smaller buffers may be placed worse."""

    @property
    def original(self) -> Variant:
        """The convolution as it is."""
        return Variant(self.spec, self.table.size_bytes, convolution_cost(self.spec, row_shape(self.seen[len(self.call.inputs)])[0]))

    def use(self, variant: Variant) -> None:
        """Gives the call the kernel of `variant`, or its own again; weights follow in `store`."""
        self._reset_views()
        self.call.properties.update(self.former)
        set_kernel(self.call, variant.spec)
        if isinstance(variant.spec, WinogradSpec):
            access = self.call.row_accesses()[0]
            rows = variant.spec.output_rows
            wide = RowAccess(access.window + rows - 1, rows, 1, access.pad)
            self.call.properties["accesses"] = ArrayAttr([RowAccessAttr.of(wide), *self.call.accesses.data[1:]])
            for position, value in self.seen.items() if rows > 1 else ():
                count, row_bytes = row_shape(value)
                view = ViewOp.make(value, count // rows, rows * row_bytes)
                block = self.step.parent
                assert block is not None
                block.insert_ops_before([view], self.step)
                self.call.operands[position] = view.result
        resize_scratches(self.step, self.scratch_bytes)

    def store(self, variant: Variant) -> None:
        """Writes the weights of `variant`, once it is final."""
        packed = self.table.fields.data[0].array.ravel().view(np.uint32)
        if isinstance(variant.spec, WinogradSpec):
            _set_values(self.table, pack_weights(variant.spec, unpack(self.spec, packed)))
        elif isinstance(variant.spec, ConvSpec) and variant.spec != self.spec:
            four = variant.spec.tile_channels == 4
            ordered = by_four_channels(packed, len(self.spec.pairs)) if four else packed
            _set_values(self.table, widen(ordered) if variant.spec.weights_are_wide else ordered)

    def _reset_views(self) -> None:
        for position, value in self.seen.items():
            present = self.call.operands[position]
            if present is not value:
                self.call.operands[position] = value
                assert isinstance(present.owner, ViewOp)
                erase(present.owner)


@dataclass(frozen=True)
class WidenWeights(ModulePass):
    """Larger weights where a byte saves `gain` instructions (M7: cycles) or more; tables may grow by `growth` %, the peak by `slack`.

    `single_tiles` admits Winograd's filtering in groups of one tile, which spends flash on what scratch would do better.
    """

    name = "widen-weights"
    growth: int = 70
    gain: int = 22
    slack: int = 0
    single_tiles: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        left = sum(table.size_bytes for table in op.ops if isinstance(table, TableOp)) * self.growth // 100
        pinned, found = Pinned.of(op, *_DECISIONS, "columns", "unroll"), recorder(ctx)
        choices = []
        for step in steps_of(op):
            for call in step.calls:
                single_tiles = self.single_tiles or (pinned.get(call, "winograd") or "").endswith("one-tile")
                choice = _choice(step, call, single_tiles)
                choices += [choice] if choice is not None else []
        _refuse_others(pinned, choices)
        if not any(choice.variants for choice in choices):
            return
        limit = arena_bytes(build_schedule(op)) * (100 + self.slack) // 100
        originals = [choice.original for choice in choices]
        all_variants = [(original, *choice.variants) for original, choice in zip(originals, choices, strict=True)]
        chosen = list(originals)
        for number, choice in enumerate(choices):
            allowed = _allowed(choice, all_variants[number], pinned)
            if originals[number] in allowed:
                choices[number] = replace(choice, variants=tuple(variant for variant in allowed if variant != originals[number]))
                continue
            # Nothing is left to the compiler but which of the pinned ones is the fastest.
            chosen[number] = min(allowed, key=lambda variant: variant.cost)
            left -= chosen[number].weight_bytes - originals[number].weight_bytes
            choice.use(chosen[number])
            choices[number] = replace(choice, variants=())
        refused: set[tuple[int, Variant]] = set()
        while True:
            upgrades = [
                (gain, -number, variant)
                for number, choice in enumerate(choices)
                for variant in choice.variants
                if variant != choice.original
                and (number, variant) not in refused
                and variant.weight_bytes - chosen[number].weight_bytes <= left
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
        if found is not None:
            for number, variants in enumerate(all_variants):
                name, pin = pinned.names[choices[number].call], pinned.has(choices[number].call, *_DECISIONS)
                why = {
                    variant: self._reason(variant, chosen[number], variants[0], left, limit, pin, (number, variant) in refused)
                    for variant in variants
                }
                found += _recorded(name, variants, chosen[number], why, pin)
        for choice, variant in zip(choices, chosen, strict=True):
            choice.store(variant)
        _shrink_scratches(op, choices)

    def _reason(self, variant: Variant, taken: Variant, original: Variant, left: int, limit: int, pin: bool, refused: bool) -> str:
        """Why `variant` was taken, or `taken` instead."""
        if pin:
            return "pinned"
        gain, present = _gain(original, variant), _gain(taken, variant)
        if variant is taken and variant is original:
            return "no other is worth its bytes"
        if variant is taken:
            return "saves without a byte more" if gain == float("inf") else f"saves {gain:.0f} {original.unit} a byte"
        if refused:
            return f"the arena would exceed {limit:,} bytes"
        if variant is original or present <= 0:
            return "costs no less"
        if variant.weight_bytes - taken.weight_bytes > left:
            return f"tables may grow by {max(left, 0):,} bytes more"
        if present < max(self.gain, 1):
            return f"saves {present:.1f} {original.unit} a byte, less than {self.gain}"
        return "is pinned away by another choice"


_DECISIONS = ("weights", "winograd")


def _form(spec: ConvSpec) -> str:
    """The value of the decision `weights`."""
    return ("int16" if spec.weights_are_wide else "int8") + ("-by-four" if spec.tile_channels == 4 else "")


_WINOGRAD = {"one-row": (1, 2), "two-rows": (2, 2), "one-row-one-tile": (1, 1), "two-rows-one-tile": (2, 1)}
"""Rows and tiles of a group by the values of the decision `winograd`."""


def _refuse_others(pinned: Pinned, choices: Sequence[Candidate]) -> None:
    """Raises PassError for pins of layers that have no variants."""
    possible = {choice.call for choice in choices}
    for call in pinned.names:
        if call in possible:
            continue
        spec = decode_kernel(call.kernel)
        if isinstance(spec, ConvSpec):
            reason = "its weights are wide already, or other layers use them too"
        else:
            reason = f"it is no convolution by im2col, but {spec.family}"
        if pinned.get(call, "winograd") != "off":
            pinned.refuse(call, "winograd", reason)
        if pinned.get(call, "weights") != "int8":
            pinned.refuse(call, "weights", reason)


def _allowed(choice: Candidate, variants: Sequence[Variant], pinned: Pinned) -> tuple[Variant, ...]:
    """The variants, the convolution as it is among them, that the pins leave. Raises PassError where they leave none."""
    weights, winograd = (pinned.get(choice.call, decision) for decision in _DECISIONS)
    # Who pins the columns or the loop of im2col wants im2col, and tiles of unpacked weights where the columns are several tiles.
    plain = pinned.has(choice.call, "columns", "unroll")
    unpacked = pinned.has(choice.call, "columns") and choice.spec.hoisted and weights is None
    left = []
    for variant in variants:
        spec = variant.spec
        if isinstance(spec, WinogradSpec):
            form = (spec.output_rows, spec.tiles)
            wanted = _WINOGRAD.get(winograd or "", form) == form
            keep = winograd != "off" and wanted and weights is None and (winograd is not None or not plain)
        else:
            assert isinstance(spec, ConvSpec)
            # Other columns than the pinned ones are another choice.
            other = pinned.has(choice.call, "columns") and spec.columns != choice.spec.columns
            keep = winograd in (None, "off") and weights in (None, _form(spec)) and not other and not (spec.weights_are_wide and unpacked)
        if keep:
            left.append(variant)
    if not left:
        if weights is not None and winograd not in (None, "off"):
            pinned.refuse(choice.call, "winograd", f"weights={weights} is pinned too, and Winograd's filtering has weights of its own")
        pinned.refuse(choice.call, "winograd", _why_no_winograd(choice, winograd or ""))
    return tuple(left)


def _why_no_winograd(choice: Candidate, value: str) -> str:
    spec, access = choice.spec, choice.call.row_accesses()[0]
    if (spec.kernel_height, spec.kernel_width) != (3, 3) or access.stride != 1 or spec.stride_width != 1:
        return f"it is for 3x3 convolutions with stride 1, the layer is {spec.family}"
    if spec.input_channels % 4 or spec.output_channels % 4:
        return f"channels must be multiples of 4, the layer has {spec.input_channels} and {spec.output_channels}"
    if value.startswith("two-rows") and any(isinstance(variant.spec, WinogradSpec) for variant in choice.variants):
        return "two rows at a time need an even number of rows, outside of streams"
    return "dilation, a ring of planes, or sums too large for 32 bits are in the way"


def _recorded(name: str, variants: Sequence[Variant], taken: Variant, why: Mapping[Variant, str], pin: bool) -> list[Choice]:
    """The choice as two: how weights lie in flash, and whether Winograd's filtering computes the layer."""

    def alternative(value: str, variant: Variant, chosen: bool) -> Alternative:
        size = variant.spec.scratch_bytes
        return Alternative(value, chosen, why[variant], variant.cost, variant.weight_bytes, size)

    plain = [(_form(variant.spec), variant) for variant in variants if isinstance(variant.spec, ConvSpec)]
    winograd = [variant for variant in variants if isinstance(variant.spec, WinogradSpec)]
    best = taken if isinstance(taken.spec, ConvSpec) else variants[0]
    weights = tuple(alternative(value, variant, variant is best) for value, variant in plain)
    found = [] if winograd and taken in winograd else [Choice(name, "weights", WidenWeights.name, weights, pin)]
    if winograd:
        names = {form: value for value, form in _WINOGRAD.items()}
        others = [(names[spec.output_rows, spec.tiles], variant) for variant in winograd if isinstance(spec := variant.spec, WinogradSpec)]
        entries = [alternative("off", best, best is taken), *(alternative(value, variant, variant is taken) for value, variant in others)]
        found.append(Choice(name, "winograd", WidenWeights.name, tuple(entries), pin))
    return found


def _shrink_scratches(module: ModuleOp, choices: Sequence[Candidate]) -> None:
    """Gives back scratch that nobody needs any more, unless the smaller buffers are placed worse."""
    before = arena_bytes(build_schedule(module))
    for choice in choices:
        resize_scratches(choice.step)
    if arena_bytes(build_schedule(module), before) > before:
        for choice in choices:
            resize_scratches(choice.step, choice.scratch_bytes)


def _gain(present: Variant, variant: Variant) -> float:
    """What is saved per byte of flash; a variant that saves without more flash comes first."""
    saved, extra = present.cost - variant.cost, variant.weight_bytes - present.weight_bytes
    if saved <= 0:
        return 0.0
    return saved / extra if extra > 0 else float("inf")


def _choice(step: StreamOp, call: CallOp, single_tiles: bool) -> Candidate | None:
    spec = decode_kernel(call.kernel)
    if not isinstance(spec, ConvSpec) or spec.weights_are_wide:
        return None
    table = call.tables[0].owner
    if not isinstance(table, TableOp) or len(list(table.result.uses)) > 1:
        return None
    rows = row_shape(call.output)[0]
    wide = replace(spec, weights_are_wide=True)
    forms = [wide]
    if not spec.hoisted and spec.tile_columns < TILE_COLUMNS and spec.output_channels % 4 == 0:
        few = replace(spec, columns=min(spec.tile_columns, FEW_COLUMNS), tile_channels=4)
        forms += [few, replace(few, weights_are_wide=True)]
    variants = [Variant(form, table.size_bytes * (2 if form.weights_are_wide else 1), convolution_cost(form, rows)) for form in forms]
    variants += _winograd_variants(step, call, spec, table, single_tiles)
    former = {name: call.properties[name] for name in ("kernel", "accesses")}
    scratch = scratch_of(call)
    seen = {position: call.operands[position] for position in range(1, len(call.inputs) + 1)}
    return Candidate(step, call, spec, table, former, seen, tuple(variants), scratch.size_bytes if scratch is not None else 0)


def _winograd_variants(step: StreamOp, call: CallOp, spec: ConvSpec, table: TableOp, single_tiles: bool) -> Iterator[Variant]:
    access, rows = call.row_accesses()[0], row_shape(call.output)[0]
    if (access.window, access.stride, access.dilation, access.divisor) != (3, 1, 1, 1):
        return
    weights = unpack(spec, table.fields.data[0].array.ravel().view(np.uint32))
    for output_rows, tiles in _WINOGRAD.values():
        # Rows in pairs are a view of the output, and rings have none.
        alone = len(step.calls) == 1 and step.pushed_input is None
        whole = all(buffer_of(value).slots == buffer_of(value).rows for value in (*call.inputs[1:], call.output))
        if output_rows == 2 and (rows % 2 or not alone or not whole):
            continue
        if tiles == 1 and not single_tiles:
            continue
        changed = winograd_spec(spec, output_rows, tiles)
        if changed is not None and sums_fit(weights, output_rows):
            yield Variant(changed, changed.weight_bytes, changed.estimated_cost * rows)


def _set_values(table: TableOp, values: npt.NDArray[np.uint32]) -> None:
    table.properties["fields"] = ArrayAttr([DenseAttr.of(values.view(np.int32))])
