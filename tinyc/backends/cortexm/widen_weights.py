"""widen-weights: weights of convolutions that are unpacked again and again are stored as int16, where that saves most per byte of flash.

Two of the 13 instructions of a step unpack its word of weights. Where the scratch for several tiles of columns is not to be had, as in
streams of narrow rows, flash buys the same: a knapsack, filled by saved instructions per byte.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import set_kernel
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import ConvSpec, widen
from tinyc.ir.dense import DenseAttr
from tinyc.ir.mcu import CallOp, TableOp, row_shape
from tinyc.ir.schedule import steps_of


@dataclass(frozen=True)
class Candidate:
    """A convolution whose weights could be int16: bytes of flash that it takes and instructions of one inference that it saves."""

    call: CallOp
    spec: ConvSpec
    table: TableOp
    extra_bytes: int
    saved_instructions: int

    @property
    def gain(self) -> float:
        """Instructions saved per byte."""
        return self.saved_instructions / self.extra_bytes


@dataclass(frozen=True)
class WidenWeights(ModulePass):
    """Store weights as int16 where a byte saves `gain` instructions or more; all tables together grow by at most `growth` percent."""

    name = "widen-weights"
    growth: int = 50
    gain: int = 20

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        total = sum(table.size_bytes for table in op.ops if isinstance(table, TableOp))
        left = total * self.growth // 100
        found = [candidate for step in steps_of(op) for call in step.calls if (candidate := _candidate(call)) is not None]
        for candidate in sorted(found, key=lambda candidate: -candidate.gain):
            if candidate.gain >= self.gain and candidate.extra_bytes <= left:
                left -= candidate.extra_bytes
                _widen(candidate)


def _candidate(call: CallOp) -> Candidate | None:
    spec = decode_kernel(call.kernel)
    if not isinstance(spec, ConvSpec) or spec.pairs_of_weights:
        return None
    table = call.tables[0].owner
    if not isinstance(table, TableOp) or len(list(table.result.uses)) > 1:
        return None
    wide = replace(spec, weights_are_wide=True)
    saved = (spec.estimated_instructions - wide.estimated_instructions) * row_shape(call.output)[0]
    return Candidate(call, wide, table, table.size_bytes, saved)


def _widen(candidate: Candidate) -> None:
    packed = candidate.table.fields.data[0].array.ravel().view(np.uint32)
    candidate.table.properties["fields"] = ArrayAttr([DenseAttr.of(widen(packed).view(np.int32))])
    set_kernel(candidate.call, candidate.spec)
