"""size-im2col: how many output columns each convolution gathers at a time, adapted to the whole model (MCUNet, equations 1 and 2).

The paper gives every layer the scratch that one column of the neediest layer takes. Here the scratch of a layer comes and goes with its
step, so a layer may have whatever the network's peak leaves free at that moment: more columns mean fewer passes over the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import resize_scratch, scratch_of, set_kernel
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import MAXIMUM_COLUMNS, ConvSpec
from tinyc.ir.mcu import StreamOp
from tinyc.ir.schedule import build_schedule


def columns_for(spec: ConvSpec, budget_bytes: int) -> int:
    """The most columns whose patches fit `budget_bytes` of scratch; at least 1."""
    fitting = [columns for columns in range(1, MAXIMUM_COLUMNS + 1) if replace(spec, columns=columns).scratch_bytes <= budget_bytes]
    return max(fitting, default=1)


@dataclass(frozen=True)
class SizeIm2col(ModulePass):
    """Gather as many columns as the peak leaves room for; `slack` is how many percent the peak may grow for it."""

    name = "size-im2col"
    slack: int = 4

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for step in build_schedule(op).steps:
            self._apply_columns(step, 0)
        narrow = build_schedule(op)
        limit = max(narrow.step_bounds, default=0) * (100 + self.slack) // 100
        for step, bound in zip(narrow.steps, narrow.step_bounds, strict=True):
            scratches = {buffer for call in step.calls if (buffer := scratch_of(call)) is not None}
            self._apply_columns(step, limit - bound + sum(buffer.size_bytes for buffer in scratches))

    def _apply_columns(self, step: StreamOp, budget_bytes: int) -> None:
        """Sets the columns of the step's convolutions and its scratch, which all calls of a step share."""
        needs: dict[object, int] = {}
        for call in step.calls:
            spec = decode_kernel(call.kernel)
            if isinstance(spec, ConvSpec):
                spec = replace(spec, columns=columns_for(spec, budget_bytes))
                set_kernel(call, spec)
            scratch = scratch_of(call)
            if scratch is not None:
                needs[scratch] = max(needs.get(scratch, 0), spec.scratch_bytes)
                resize_scratch(scratch, needs[scratch])
