"""About what a schedule costs, for comparing schedules of one network where no emulator is at hand.

The unit is that of the core that kernels have the form for: instructions on Cortex-M4, estimated cycles on Cortex-M7. Convolutions know
their inner loops; the other constants were fitted to profiles of networks. docs/memory.md says how far off the sum is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from xdsl.dialects.builtin import ModuleOp

from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.base import KernelSpec
from tinyc.backends.cortexm.kernels.compact import CompactConvSpec, CompactDepthwiseSpec, CompactFullyConnectedSpec
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseRingSpec, DepthwiseSpec
from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.backends.cortexm.kernels.winograd import WinogradSpec
from tinyc.ir.mcu import CallOp, row_shape
from tinyc.ir.schedule import steps_of
from tinyc.memory.row_access import RowAccess


@dataclass(frozen=True)
class _Costs:
    """A call of a row body; of other kernels a multiply-accumulate and a byte of output; of compact code an instruction."""

    call: float
    other_mac: float
    other_output: float
    instruction: float


_COSTS: Final[Mapping[CoreForm, _Costs]] = {
    CoreForm.CORTEX_M4: _Costs(call=60, other_mac=1.5, other_output=8, instruction=1),
    CoreForm.CORTEX_M7: _Costs(call=110, other_mac=1, other_output=8.4, instruction=1),
}


def core_of(module: ModuleOp) -> CoreForm:
    """The core that the kernels of a module of the `mcu` level have the form for: Cortex-M4 where none has a form."""
    forms = (getattr(decode_kernel(call.kernel), "core", None) for step in steps_of(module) for call in step.calls)
    return next((form for form in forms if isinstance(form, CoreForm)), CoreForm.CORTEX_M4)


def estimated_cost(module: ModuleOp) -> int:
    """Of one inference of a module of the `mcu` level."""
    core = core_of(module)
    return round(sum(call_cost(call, core) for step in steps_of(module) for call in step.calls))


def call_cost(call: CallOp, core: CoreForm, kernel: KernelSpec | None = None) -> float:
    """That of one call's layer, with `kernel` where that is given instead of its own."""
    spec, costs = decode_kernel(call.kernel) if kernel is None else kernel, _COSTS[core]
    rows, row_bytes = row_shape(call.output)
    if isinstance(spec, ConvSpec):
        return rows * (spec.estimated_cost + spec.estimated_gathering + costs.call)
    if isinstance(spec, WinogradSpec):
        return rows * (spec.estimated_cost * spec.output_rows + costs.call)
    if isinstance(spec, CompactConvSpec):
        return rows * (costs.instruction * spec.estimated_instructions + costs.call)
    if isinstance(spec, CompactDepthwiseSpec):
        return (1 if spec.in_place else rows) * (costs.instruction * spec.estimated_instructions + costs.call)
    if isinstance(spec, CompactFullyConnectedSpec):
        return costs.instruction * spec.estimated_instructions + costs.call
    if isinstance(spec, (DepthwiseSpec, DepthwiseInPlaceSpec, DepthwiseRingSpec)):
        return _depthwise_cost(call, spec, costs)
    return rows * (costs.other_output * row_bytes + costs.call) + costs.other_mac * int(call.macs.value.data)


def _depthwise_cost(call: CallOp, spec: DepthwiseSpec | DepthwiseInPlaceSpec | DepthwiseRingSpec, costs: _Costs) -> float:
    """Of a call for each row, or of one in place, which gathers each row and unpacks the weights only once."""
    rows = row_shape(call.output)[0]
    if isinstance(spec, DepthwiseInPlaceSpec):
        gathering = spec.height * spec.estimated_gathering
        return costs.call + spec.estimated_padding + spec.estimated_unpacking + gathering + spec.height * spec.estimated_line
    row = costs.call + spec.estimated_unpacking + spec.estimated_line
    if isinstance(spec, DepthwiseRingSpec):
        return rows * row
    gathered = seen_rows(call.row_accesses()[0], rows, row_shape(call.inputs[0])[0])
    return rows * (row + spec.estimated_padding) + gathered * spec.estimated_gathering


def seen_rows(access: RowAccess, rows: int, input_rows: int) -> int:
    """How often the windows of `rows` rows of output see a row of the input, which has `input_rows`: not those that are padding."""
    seen = (access.first(row) + tap * access.dilation for row in range(rows) for tap in range(access.window))
    return sum(0 <= row < input_rows for row in seen)
