"""About how many instructions a schedule takes, for comparing schedules of one network where no emulator is at hand.

Convolutions know their inner loops; the other constants were fitted to counts in QEMU. docs/memory.md says how far off the sum is.
"""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp

from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.compact import CompactConvSpec, CompactDepthwiseSpec, CompactFullyConnectedSpec
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseRingSpec, DepthwiseSpec
from tinyc.backends.cortexm.kernels.winograd import WinogradSpec
from tinyc.ir.mcu import CallOp, row_shape
from tinyc.ir.schedule import steps_of

_CONV_GATHER = 5.0
"""For a pair of values of one output column's patch."""
_PLANE_GATHER = 4.0
"""For a value that is gathered into a plane of a depthwise convolution; in place, each row is gathered once instead of once a tap."""
_WEIGHTS = 20.0
"""For unpacking a kernel row of a channel's weights, once for each row of output."""
_DEPTHWISE_MAC, _OTHER_MAC, _OTHER_OUTPUT = 1.2, 1.5, 8.0
_CALL = 60.0
"""For calling a kernel for one row."""


def estimated_instructions(module: ModuleOp) -> int:
    """Instructions of one inference of a module of the `mcu` level on a Cortex-M4."""
    return round(sum(call_instructions(call) for step in steps_of(module) for call in step.calls))


def call_instructions(call: CallOp) -> float:
    """Those of one call's layer."""
    spec = decode_kernel(call.kernel)
    rows, row_bytes = row_shape(call.output)
    macs = int(call.macs.value.data)
    if isinstance(spec, ConvSpec):
        return rows * (spec.estimated_instructions + _CONV_GATHER * len(spec.pairs) * spec.output_width + _CALL)
    if isinstance(spec, WinogradSpec):
        return rows * (spec.estimated_instructions * spec.output_rows + _CALL)
    if isinstance(spec, CompactConvSpec):
        return rows * (spec.estimated_instructions + _CALL)
    if isinstance(spec, CompactDepthwiseSpec):
        return (1 if spec.in_place else rows) * (spec.estimated_instructions + _CALL)
    if isinstance(spec, CompactFullyConnectedSpec):
        return spec.estimated_instructions + _CALL
    if isinstance(spec, DepthwiseRingSpec):
        return rows * (_WEIGHTS * spec.output_channels * spec.kernel_height + _CALL) + _DEPTHWISE_MAC * macs
    if isinstance(spec, DepthwiseInPlaceSpec):
        return _PLANE_GATHER * spec.height * spec.columns * spec.channels + _DEPTHWISE_MAC * macs + _CALL
    if isinstance(spec, DepthwiseSpec):
        gathered = spec.kernel_height * spec.columns * spec.channels
        return rows * (_PLANE_GATHER * gathered + _CALL) + _DEPTHWISE_MAC * macs
    return rows * (_OTHER_OUTPUT * row_bytes + _CALL) + _OTHER_MAC * macs
