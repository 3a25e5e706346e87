"""The memory report of a scheduled module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, ModuleOp, StringAttr

from tinyc.backends.cortexm.accesses import counted_accesses
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.ir.arenas import arenas_of
from tinyc.ir.mcu import BufferOp, CallOp, StreamOp, TableOp, buffer_of, row_shape
from tinyc.ir.schedule import Schedule, build_schedule
from tinyc.memory.stream import UNCONSTRAINED
from tinyc.report.memory import (
    BankReport,
    BufferReport,
    CallReport,
    FlashReport,
    HeldBytes,
    LayerReport,
    MemoryReport,
    OverlapReport,
    RamReport,
)
from tinyc.targets import Target

_PRIVATE = ("scratch", "accumulator", "ring", "input_ring", "counters", "state")


def integer_attribute(module: ModuleOp, name: str) -> int:
    """An integer that plan-memory left on the module."""
    attribute = module.attributes[name]
    assert isinstance(attribute, IntegerAttr)
    return int(attribute.value.data)


def weights_bytes(module: ModuleOp) -> int:
    """Bytes of all constant tables."""
    return sum(op.size_bytes for op in module.ops if isinstance(op, TableOp))


def approximate_layers(module: ModuleOp) -> tuple[str, ...]:
    """Names of the layers that the front end computes in integers where ONNX Runtime computes in float32."""
    found = module.attributes.get("approximate_layers")
    return tuple(item.data for item in found.data if isinstance(item, StringAttr)) if isinstance(found, ArrayAttr) else ()


def memory_report(module: ModuleOp, name: str, target: Target, numerics: str) -> MemoryReport:
    """What a module with planned memory needs; code and stack are unknown here."""
    schedule = build_schedule(module)
    numbers = {buffer: index for index, buffer in enumerate(schedule.buffers)}
    return MemoryReport(
        name=name,
        target=target.name,
        numerics=numerics,
        ram=RamReport(integer_attribute(module, "arena_bytes"), integer_attribute(module, "lower_bound_bytes"), 0, None),
        ram_limit_bytes=ram_limit(module, target),
        flash=FlashReport(weights_bytes(module), None),
        flash_limit_bytes=None if target.is_host else target.flash_bytes,
        macs=sum(int(call.macs.value.data) for step in schedule.steps for call in step.calls),
        layers=tuple(_layer(schedule, numbers, number, step) for number, step in enumerate(schedule.steps)),
        buffers=tuple(_buffer(buffer, life.first, life.last) for buffer, life in zip(schedule.buffers, schedule.lives, strict=True)),
        overlaps=tuple(_overlaps(schedule)),
        approximate_layers=approximate_layers(module),
        banks=_banks(module, target),
    )


def _banks(module: ModuleOp, target: Target) -> tuple[BankReport, ...]:
    """The banks that a user chose; none without."""
    arenas = [arena for arena in arenas_of(module) if arena.limit_bytes is not None]
    if not arenas:
        return ()
    accesses = counted_accesses(module)
    found = []
    for arena in arenas:
        count = sum(number for buffer, number in accesses.items() if buffer.bank_name == arena.bank or len(arenas) == 1)
        capacity = None if target.is_host else target.bank(arena.bank).bytes
        assert arena.limit_bytes is not None
        holds_stack = arena.bank == target.stack_bank and not target.is_host
        found.append(BankReport(arena.bank, arena.bytes, arena.limit_bytes, capacity, holds_stack, count))
    return tuple(found)


def ram_limit(module: ModuleOp, target: Target) -> int | None:
    """What the network may use of the target's RAM: in banks that the user chose, all of them and that of the stack; None on the host."""
    chosen = [arena.bank for arena in arenas_of(module) if arena.limit_bytes is not None]
    if target.is_host or not chosen:
        return None if target.is_host else target.ram_bytes
    return sum(target.bank(name).bytes for name in {*chosen, target.stack_bank})


def _buffer(buffer: BufferOp, first: int, last: int) -> BufferReport:
    return BufferReport(
        name=_buffer_name(buffer),
        kind=buffer.kind.data,
        offset=buffer.start,
        bytes=buffer.size_bytes,
        first_step=first,
        last_step=last,
        rows=int(buffer.rows.value.data),
        slots=int(buffer.slots.value.data),
        row_bytes=int(buffer.row_bytes.value.data),
        shape=() if buffer.tensor is None else tuple(buffer.tensor.data.shape),
        bank=buffer.bank_name,
    )


def _overlaps(schedule: Schedule) -> Iterator[OverlapReport]:
    """Pairs of buffers that both have some bytes in the step in which one dies and the other is written."""
    for overlap in schedule.overlaps:
        result, source = schedule.buffers[overlap.result], schedule.buffers[overlap.source]
        shared = min(result.start + result.size_bytes, source.start + source.size_bytes) - max(result.start, source.start)
        if shared > 0 and result.bank_name == source.bank_name:
            least = None if overlap.gap == UNCONSTRAINED else overlap.gap
            step = schedule.lives[overlap.result].first
            distance = source.start - result.start
            if overlap.backwards:
                distance = result.start + result.size_bytes - source.start - source.size_bytes
            if overlap.coinciding and distance == 0:
                least = 0
            yield OverlapReport(step, overlap.result, overlap.source, shared, distance, least, overlap.backwards)


def _buffer_name(buffer: BufferOp) -> str:
    return buffer.layer.data


def _layer(schedule: Schedule, numbers: Mapping[BufferOp, int], number: int, step: StreamOp) -> LayerReport:
    live = schedule.live_in(number)
    return LayerReport(
        step=number,
        name=step.calls[-1].layers_text,
        op=" + ".join(call.ops_text for call in step.calls),
        kernels=tuple(decode_kernel(call.kernel).family for call in step.calls),
        macs=sum(int(call.macs.value.data) for call in step.calls),
        live_bytes=schedule.step_bounds[number],
        scratch_bytes=sum(buffer.size_bytes for buffer in live if buffer.kind.data in _PRIVATE),
        live=tuple(f"{_buffer_name(buffer)} [{buffer.kind.data}] {buffer.size_bytes}" for buffer in live),
        calls=tuple(_call(numbers, call) for call in step.calls),
        held=tuple(HeldBytes(buffer, size) for buffer, size in schedule.moments[number].items() if size),
    )


def _call(numbers: Mapping[BufferOp, int], call: CallOp) -> CallReport:
    return CallReport(
        name=call.layers_text,
        op=call.ops_text,
        kernel=decode_kernel(call.kernel).family,
        macs=int(call.macs.value.data),
        rows=row_shape(call.output)[0],
        inputs=tuple(numbers[buffer_of(value)] for value in call.inputs),
        output=numbers[buffer_of(call.output)],
        in_place=call.form.data == "in_place",
        again=call.part is None and buffer_of(call.output).again,
        again_macs=call.again_macs,
        part=0 if call.part is None else int(call.part.number.data) + 1,
        parts=1 if call.part is None else int(call.part.parts.data),
    )
