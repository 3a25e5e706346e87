"""Changing calls of the `mcu` level after kernels were selected."""

from __future__ import annotations

from tinyc.backends.cortexm.kernel_attr import encode_kernel
from tinyc.backends.cortexm.kernels.base import KernelSpec
from tinyc.ir.mcu import BufferOp, CallOp, buffer_of, number


def set_kernel(call: CallOp, spec: KernelSpec) -> None:
    """Gives `call` another kernel with the same operands; its scratch buffer is resized by `resize_scratch`."""
    call.properties["kernel"] = encode_kernel(spec)


def resize_scratch(buffer: BufferOp, size: int) -> None:
    """Makes a private buffer at least `size` bytes large, a multiple of 8."""
    buffer.properties["row_bytes"] = number(max(8, -(-size // 8) * 8))


def scratch_of(call: CallOp) -> BufferOp | None:
    """The call's scratch buffer."""
    return buffer_of(call.scratch) if call.scratch else None
