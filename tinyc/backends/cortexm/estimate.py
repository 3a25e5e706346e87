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
from tinyc.backends.cortexm.kernels.costs import GATHERED
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseRingSpec, DepthwiseSpec
from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.backends.cortexm.kernels.winograd import WinogradSpec
from tinyc.ir.mcu import CallOp, row_shape
from tinyc.ir.schedule import steps_of


@dataclass(frozen=True)
class _Costs:
    """Of depthwise convolutions a multiply-accumulate, an output, one channel's row of outputs, and a kernel row of its weights that is
    unpacked; a call of a row body; of other kernels a multiply-accumulate and a byte of output; of compact code an instruction."""

    mac: float
    output: float
    line: float
    weights_row: float
    call: float
    other_mac: float
    other_output: float
    instruction: float


_COSTS: Final[Mapping[CoreForm, _Costs]] = {
    CoreForm.CORTEX_M4: _Costs(mac=0.92, output=4.6, line=28, weights_row=13, call=60, other_mac=1.5, other_output=8, instruction=1),
    CoreForm.CORTEX_M7: _Costs(mac=0.66, output=4, line=37, weights_row=13.7, call=110, other_mac=1, other_output=8.4, instruction=1),
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
        return _depthwise_cost(spec, rows, costs)
    return rows * (costs.other_output * row_bytes + costs.call) + costs.other_mac * int(call.macs.value.data)


def _depthwise_cost(spec: DepthwiseSpec | DepthwiseInPlaceSpec | DepthwiseRingSpec, rows: int, costs: _Costs) -> float:
    """Of `rows` calls, or of one call in place, which gathers each row and unpacks the weights only once."""
    gathered = 0 if isinstance(spec, DepthwiseRingSpec) else spec.columns * spec.channels
    calls, lines = (1, spec.height) if isinstance(spec, DepthwiseInPlaceSpec) else (rows, rows)
    gathered *= spec.height if isinstance(spec, DepthwiseInPlaceSpec) else rows * spec.kernel_height
    output = costs.output + costs.mac * spec.kernel_height * spec.kernel_width
    line = costs.line + output * spec.output_width
    weights = costs.weights_row * spec.weight_rows * calls
    return GATHERED[spec.core] * gathered + spec.output_channels * (line * lines + weights) + costs.call * calls
