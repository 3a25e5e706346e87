"""The memory report of a scheduled module."""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerAttr, ModuleOp

from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.ir.mcu import BufferOp, StreamOp, TableOp
from tinyc.ir.schedule import Schedule, build_schedule
from tinyc.report.memory import BufferReport, FlashReport, LayerReport, MemoryReport, RamReport
from tinyc.targets import Target

_PRIVATE = ("scratch", "accumulator", "ring")


def integer_attribute(module: ModuleOp, name: str) -> int:
    """An integer that plan-memory left on the module."""
    attribute = module.attributes[name]
    assert isinstance(attribute, IntegerAttr)
    return int(attribute.value.data)


def weights_bytes(module: ModuleOp) -> int:
    """Bytes of all constant tables."""
    return sum(op.size_bytes for op in module.ops if isinstance(op, TableOp))


def memory_report(module: ModuleOp, name: str, target: Target, numerics: str) -> MemoryReport:
    """What a module with planned memory needs; code and stack are unknown here."""
    schedule = build_schedule(module)
    return MemoryReport(
        name=name,
        target=target.name,
        numerics=numerics,
        ram=RamReport(integer_attribute(module, "arena_bytes"), integer_attribute(module, "lower_bound_bytes"), 0, None),
        ram_limit_bytes=None if target.is_host else target.ram_bytes,
        flash=FlashReport(weights_bytes(module), None),
        flash_limit_bytes=None if target.is_host else target.flash_bytes,
        macs=sum(int(call.macs.value.data) for step in schedule.steps for call in step.calls),
        layers=tuple(_layer(schedule, number, step) for number, step in enumerate(schedule.steps)),
        buffers=tuple(
            BufferReport(_buffer_name(buffer), buffer.kind.data, buffer.start, buffer.size_bytes, life.first, life.last)
            for buffer, life in zip(schedule.buffers, schedule.lives, strict=True)
        ),
    )


def _buffer_name(buffer: BufferOp) -> str:
    return buffer.layer.data


def _layer(schedule: Schedule, number: int, step: StreamOp) -> LayerReport:
    live = schedule.live_in(number)
    return LayerReport(
        step=number,
        name=step.calls[-1].layer.data,
        op=" + ".join(call.op.data for call in step.calls),
        kernels=tuple(decode_kernel(call.kernel).family for call in step.calls),
        macs=sum(int(call.macs.value.data) for call in step.calls),
        live_bytes=schedule.step_bounds[number],
        scratch_bytes=sum(buffer.size_bytes for buffer in live if buffer.kind.data in _PRIVATE),
        live=tuple(f"{_buffer_name(buffer)} [{buffer.kind.data}] {buffer.size_bytes}" for buffer in live),
    )
