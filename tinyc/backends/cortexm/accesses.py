"""About how many loads and stores each buffer of a schedule takes in one inference: what decides which of them lie in the fastest bank.

Convolutions are counted by the loops of their kernels, everything else by the bytes that it moves. tests/backends/test_accesses.py holds
the sums against the loads and stores that Unicorn counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp

from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.base import KernelSpec
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseRingSpec, DepthwiseSpec
from tinyc.backends.cortexm.kernels.elementwise import BinarySpec
from tinyc.backends.cortexm.kernels.fully_connected import FullyConnectedReductionSpec, FullyConnectedSpec
from tinyc.backends.cortexm.kernels.winograd import GROUP_CHANNELS, WinogradSpec
from tinyc.ir.mcu import BufferOp, CallOp, buffer_of, row_shape
from tinyc.ir.schedule import build_schedule, steps_of

_BYTE_LOADS = 0.5
"""Loads for a byte of an input where no rule is known: some kernels load words, some single bytes."""
_PUSHED_WORD = 0.25
"""Stores for a byte of a row that is copied."""


@dataclass(frozen=True)
class _Load:
    """Loads and stores of one call in one inference."""

    inputs: float
    output: float
    scratch: float


def counted_accesses(module: ModuleOp) -> Mapping[BufferOp, int]:
    """Loads and stores of every buffer of a module of the `mcu` level, estimated; a word is one, and so is a byte that is moved alone."""
    found: Counter[BufferOp] = Counter()
    for step in steps_of(module):
        if step.pushed_input is not None:
            found[step.pushed_input] += _rounded(_PUSHED_WORD * step.pushed_input.rows.value.data * step.pushed_input.row_bytes.value.data)
            for kept in step.kept:
                # Every call looks at its counter, for each row that is pushed.
                found[buffer_of(kept)] += 2 * int(step.pushed_input.rows.value.data) * len(step.calls)
        for call in step.calls:
            spec = decode_kernel(call.kernel)
            load = _load(call, spec)
            inputs = call.inputs
            if isinstance(spec, (ConvSpec, WinogradSpec)) and spec.addition is not None:
                # A byte is loaded for each that is stored.
                inputs, residual = call.inputs[:-1], call.inputs[-1]
                found[buffer_of(residual)] += _rounded(_size(residual))
            total = sum(_size(value) for value in inputs)
            for value in inputs:
                # Several inputs share the loads by their sizes: an element of each makes a result.
                found[buffer_of(value)] += _rounded(load.inputs * _size(value) / total)
            found[buffer_of(call.output)] += _rounded(load.output)
            if call.scratch is not None:
                found[buffer_of(call.scratch)] += _rounded(load.scratch)
            if call.accumulator is not None:
                found[buffer_of(call.accumulator)] += _rounded(_accumulated(call))
    return {buffer: found[buffer] for buffer in build_schedule(module).buffers}


def _rounded(count: float) -> int:
    return max(1, round(count))


def _size(value: object) -> int:
    rows, row_bytes = row_shape(value)  # type: ignore[arg-type]
    return rows * row_bytes


def _load(call: CallOp, spec: KernelSpec) -> _Load:
    rows, row_bytes = row_shape(call.output)
    macs = int(call.macs.value.data)
    if isinstance(spec, ConvSpec):
        return _convolution(spec, rows)
    if isinstance(spec, WinogradSpec):
        return _winograd(spec, rows)
    if isinstance(spec, DepthwiseRingSpec):
        lines = rows * spec.output_channels
        return _Load(lines * _plane_loads(spec), float(rows * row_bytes), lines * _weight_loads(spec))
    if isinstance(spec, (DepthwiseSpec, DepthwiseInPlaceSpec)):
        height = spec.height if isinstance(spec, DepthwiseInPlaceSpec) else rows
        # In place each row is gathered once, otherwise once for each kernel row.
        gathered = height * spec.columns * spec.channels * (1 if isinstance(spec, DepthwiseInPlaceSpec) else spec.kernel_height)
        outputs = float(height * spec.output_width * spec.output_channels)
        scratch = gathered / 2 + height * spec.output_channels * (_plane_loads(spec) + _weight_loads(spec))
        return _Load(gathered / spec.gathered, outputs, scratch)
    if isinstance(spec, (FullyConnectedSpec, FullyConnectedReductionSpec)):
        return _Load(macs / 16, float(rows * row_bytes), 0.0)
    if isinstance(spec, BinarySpec):
        return _Load(float(len(call.inputs) * rows * row_bytes), float(rows * row_bytes), 0.0)
    reads = max(sum(_size(value) for value in call.inputs), macs)
    scratch = buffer_of(call.scratch).size_bytes if call.scratch is not None else 0
    return _Load(_BYTE_LOADS * reads, float(rows * row_bytes), float(rows * scratch))


def _convolution(spec: ConvSpec, rows: int) -> _Load:
    """A pair of values is gathered by a store, and loaded for the output channels of a tile at a time."""
    pairs, outputs = len(spec.pairs), spec.output_width * spec.output_channels
    walked = 0
    for repetitions, gathered in spec.passes:
        tiles = -(-gathered // spec.tile_columns)
        # Weights that are unpacked to scratch are stored and then loaded for each tile.
        unpacked = 2 * pairs * (1 + tiles) if spec.hoisted else 0
        walked += repetitions * (pairs * gathered + unpacked)
    gathered_words = spec.output_width * pairs
    scratch = gathered_words + walked * -(-spec.output_channels // spec.tile_channels)
    # Whole words of a kernel row are loaded as such, what is left of it byte by byte.
    loaded = spec.output_width * len(spec.runs) * (spec.run_length // 4 + spec.run_length % 4)
    return _Load(float(rows * loaded), float(rows * outputs), float(rows * scratch))


def _winograd(spec: WinogradSpec, rows: int) -> _Load:
    groups = sum(count for count, _ in spec.groups) * rows / spec.output_rows
    quads = spec.output_channels // GROUP_CHANNELS
    products, sums = spec.transformed_words, spec.sum_words
    inputs = groups * spec.windows[0] * spec.group_inputs * spec.input_channels / 4 * 2
    return _Load(inputs, float(rows * spec.output_width * spec.output_channels), groups * (products + quads * (products + 2 * sums)))


def _plane_loads(spec: DepthwiseSpec | DepthwiseInPlaceSpec | DepthwiseRingSpec) -> float:
    """Loads from a channel's plane for one row of its outputs."""
    return float(spec.kernel_height * sum(count * sum(words for _, words, _ in tile.loads) for count, tile in spec.tiles))


def _weight_loads(spec: DepthwiseSpec | DepthwiseInPlaceSpec | DepthwiseRingSpec) -> float:
    """Loads of weights from scratch for one row of a channel's outputs, and the stores that put them there."""
    words = spec.kernel_height * len(spec.row_weights)
    return float(words * (1 + sum(count for count, _ in spec.tiles)))


def _accumulated(call: CallOp) -> float:
    """A reduction loads and stores its sums for each row of its input."""
    assert call.accumulator is not None
    rows = row_shape(call.inputs[0])[0]
    return rows * buffer_of(call.accumulator).size_bytes / 4 * 2
