"""recompute-patches: a stream in vertical strips, one after the other, where the rings of whole rows do not fit.

Each strip computes some columns of the stream's result, from rings as narrow as that takes. What the windows of two neighbouring strips
both see is computed twice: this is the price, and the reason why only a budget that nothing else keeps is worth it. The input of the
stream and its result stay whole tensors; strips read columns of the one and write columns of the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, IntAttr, IntegerAttr, ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import scratch_of
from tinyc.backends.cortexm.depthwise_in_place import DepthwiseInPlace
from tinyc.backends.cortexm.kernel_attr import decode_kernel, encode_kernel
from tinyc.backends.cortexm.kernels.base import KernelSpec
from tinyc.errors import PassError
from tinyc.ir.edit import detach, erase
from tinyc.ir.mcu import AGAIN, RECOMPUTED, STRIP, BufferOp, CallOp, ColumnsOp, PartAttr, StreamOp, buffer_of, number, row_shape
from tinyc.ir.schedule import build_schedule
from tinyc.ir.tensor_type import Tensor, TensorType
from tinyc.memory.segments import InStrips
from tinyc.memory.strips import Across, Range, Strip, StripCall, computed_again, cut_strips
from tinyc.passes.pins import layer_names, pins_of
from tinyc.passes.stream_rows import StreamRows, choose_streams


@dataclass(frozen=True)
class RecomputePatches(ModulePass):
    """Run streams in 2 to `parts` vertical strips where the peak would be above `budget` bytes otherwise; the rest as for stream-rows."""

    name = "recompute-patches"
    budget: int = 0
    longest: int = StreamRows.longest
    parts: int = 8
    input: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        schedule = build_schedule(op)
        if any(len(step.calls) != 1 or step.kept for step in schedule.steps):
            raise PassError("recompute-patches expects steps of one call each; it stands before stream-rows")
        if not schedule.steps or self.longest <= 1:
            return
        # A layer about which the user has a choice of his own is computed as that says: once.
        pinned, names = {pin.layer for pin in pins_of(op)}, layer_names(op)
        calls = [_Call.of(step.calls[0], names[step.calls[0]] in pinned) for step in schedule.steps]
        ways = _Ways(calls, {buffer: index for index, buffer in enumerate(schedule.buffers)}, self.parts)
        segments = choose_streams(schedule, self.input, self.longest, self.budget, ways.possible)
        if all(segment.parts == 1 for segment in segments):
            return
        whole = op.clone()
        for segment in segments:
            if segment.parts > 1:
                _divide(op, schedule.steps[segment.begin : segment.end], calls[segment.begin : segment.end], segment.parts)
        # Whole depthwise layers in place may need less than the streams that were compared above.
        before = self._streamed_peak(whole)
        if before <= self.budget or before <= self._streamed_peak(op):
            _restore(op, whole)

    def _streamed_peak(self, module: ModuleOp) -> int:
        """The most bytes that a step needs once streams are formed."""
        trial = module.clone()
        StreamRows(self.longest, self.budget, self.input).apply(Context(), trial)
        DepthwiseInPlace().apply(Context(), trial)
        return max(build_schedule(trial).step_bounds)


def _restore(module: ModuleOp, former: ModuleOp) -> None:
    """Gives `module` the ops of `former`, which loses them."""
    for op in list(reversed(list(module.ops))):
        erase(op)
    for op in list(former.ops):
        detach(op)
        module.body.block.add_op(op)


@dataclass(frozen=True)
class _Call:
    """A call with its kernel, and how that goes over columns; None where it cannot do some of them."""

    call: CallOp
    spec: KernelSpec
    across: Across | None
    width: int = 0

    @staticmethod
    def of(call: CallOp, pinned: bool) -> _Call:
        spec, width = decode_kernel(call.kernel), _width(call.output)
        if call.form.data != "row" or width is None or call.part is not None or pinned:
            return _Call(call, spec, None)
        across = spec.across(width)
        if across is not None:
            for value, entry in zip(call.inputs, across.inputs, strict=True):
                if entry is not None and _width(value) != entry[0]:
                    return _Call(call, spec, None)
        return _Call(call, spec, across, width)

    @property
    def column_bytes(self) -> int:
        """Bytes of a column in a row of the output."""
        return row_shape(self.call.output)[1] // self.width

    def narrowed(self, strip: Strip, output: Range, index: int) -> KernelSpec:
        """The kernel for the columns `output`; the call is number `index` of its strip."""
        return self.spec.narrowed(output, strip.read[index], self.width)


def _width(value: SSAValue) -> int | None:
    """Columns of the image that `value` is; None where it is none, or seen through a view."""
    buffer = buffer_of(value)
    shape = () if buffer.tensor is None else buffer.tensor.data.shape
    is_image = value is buffer.result and len(shape) == 4 and shape[1] == buffer.rows.value.data and buffer.slots == buffer.rows
    return shape[2] if is_image and row_shape(value)[1] % shape[2] == 0 else None


@dataclass(frozen=True)
class _Ways:
    """Which ways there are to run some of the calls in strips."""

    calls: Sequence[_Call]
    ids: Mapping[BufferOp, int]
    most: int

    def possible(self, begin: int, end: int, slots: Mapping[int, int]) -> Iterator[InStrips]:
        """Calls [begin, end) in 2, 3, ... strips, where they are one stream with rings of `slots` rows, by buffer."""
        part = self.calls[begin:end]
        strip_calls = _strip_calls(part, self.ids)
        if strip_calls is None:
            return
        for parts in range(2, self.most + 1):
            strips = cut_strips(strip_calls, parts)
            if strips is None:
                return
            again = 0
            for call, entry in zip(part, strip_calls, strict=True):
                again += _macs(call, sum(computed_again(strips, entry.output)))
            yield InStrips(parts, max(self._own_bytes(part, strip_calls, strip, slots) for strip in strips), again)

    def _own_bytes(self, part: Sequence[_Call], strip_calls: Sequence[StripCall], strip: Strip, slots: Mapping[int, int]) -> int:
        """Bytes of the rings and the scratch of one strip."""
        rings = scratch = 0
        for index, (call, entry) in enumerate(zip(part, strip_calls, strict=True)):
            first, end = strip.computed[entry.output]
            rings += slots.get(entry.output, 0) * (end - first) * call.column_bytes
            scratch = max(scratch, call.narrowed(strip, (first, end), index).scratch_bytes)
        return rings + -(-scratch // 8) * 8


def _strip_calls(part: Sequence[_Call], ids: Mapping[BufferOp, int]) -> list[StripCall] | None:
    """The calls with their buffers by number; None where one of them cannot do some columns."""
    found = []
    for entry in part:
        if entry.across is None:
            return None
        inputs = tuple(ids[buffer_of(value)] for value in entry.call.inputs)
        found.append(StripCall(inputs, ids[buffer_of(entry.call.output)], entry.across))
    return found


def _macs(call: _Call, columns: int) -> int:
    """Multiply-adds of so many columns of the call's output."""
    return int(call.call.macs.value.data) * columns // call.width


def _divide(module: ModuleOp, steps: Sequence[StreamOp], part: Sequence[_Call], parts: int) -> None:
    """Puts steps of one call each, which compute one strip after the other, in the place of `steps`, which run the calls `part`."""
    buffers = [op for op in module.ops if isinstance(op, BufferOp)]
    ids = {buffer: index for index, buffer in enumerate(buffers)}
    strip_calls = _strip_calls(part, ids)
    strips = None if strip_calls is None else cut_strips(strip_calls, parts)
    assert strip_calls is not None
    assert strips is not None
    last = buffer_of(part[-1].call.output)
    marks = _marks([buffer_of(entry.call.output) for entry in part[:-1]], buffers)
    again = [computed_again(strips, entry.output) for entry in strip_calls]
    new: list[Operation] = []
    for number_of_strip, strip in enumerate(strips):
        values: dict[int, tuple[SSAValue, Range]] = {ids[last]: (last.result, (0, part[-1].width))}
        for index, (entry, numbers) in enumerate(zip(part, strip_calls, strict=True)):
            output = strip.computed[numbers.output]
            if entry is not part[-1]:
                buffer = _strip_buffer(entry, output, marks[buffer_of(entry.call.output)], number_of_strip)
                new.append(buffer)
                values[numbers.output] = buffer.result, output
            operands = []
            for value, source, wanted in zip(entry.call.inputs, numbers.inputs, strip.read[index], strict=True):
                whole = value, (0, 0 if wanted is None else _width(value) or 0)
                operands.append(value if wanted is None else _columns(*values.get(source, whole), wanted, new))
            result = _columns(*values[numbers.output], output, new)
            spec = entry.narrowed(strip, output, index)
            part_again = _macs(entry, again[index][number_of_strip])
            whole_again = buffer_of(entry.call.output).again
            macs = _macs(entry, output[1] - output[0])
            attribute = PartAttr(IntAttr(number_of_strip), IntAttr(parts), IntAttr(macs if whole_again else part_again))
            new += _step(entry.call, operands, result, spec, macs, attribute)
    block = steps[-1].parent
    assert isinstance(block, Block)
    block.insert_ops_before(new, steps[-1])
    private = [buffer for entry in part for buffer in (buffer_of(entry.call.output), scratch_of(entry.call)) if buffer is not None]
    for former in (*steps, *(buffer for buffer in private if buffer is not last)):
        erase(former)


def _marks(inner: Sequence[BufferOp], buffers: Sequence[BufferOp]) -> Mapping[BufferOp, tuple[IntegerAttr | None, IntegerAttr]]:
    """Per inner tensor the marks of its strips: `recomputed` of the first, if it has one, and `again` of the others.

    A tensor that is computed again itself has no first strip: all of them are computed again.
    """
    known = [buffer.attributes.get(name) for buffer in buffers for name in (RECOMPUTED, AGAIN)]
    free = 1 + max((int(mark.value.data) for mark in known if isinstance(mark, IntegerAttr)), default=len(buffers))
    found: dict[BufferOp, tuple[IntegerAttr | None, IntegerAttr]] = {}
    for buffer in inner:
        former = buffer.attributes.get(AGAIN)
        if isinstance(former, IntegerAttr):
            found[buffer] = None, former
            continue
        own = buffer.attributes.get(RECOMPUTED)
        mark = own if isinstance(own, IntegerAttr) else number(free)
        free += 1
        found[buffer] = mark, mark
    return found


def _strip_buffer(entry: _Call, columns: Range, marks: tuple[IntegerAttr | None, IntegerAttr], strip: int) -> BufferOp:
    """The buffer for these columns of an inner tensor."""
    former = buffer_of(entry.call.output)
    first, size = columns[0] * entry.column_bytes, (columns[1] - columns[0]) * entry.column_bytes
    assert former.tensor is not None
    tensor: Tensor = former.tensor.data
    shape = (1, tensor.shape[1], columns[1] - columns[0], tensor.shape[3])
    kind = TensorType(Tensor(shape, tensor.element, tensor.scale, tensor.zero_point))
    alignment = int(former.alignment.value.data)
    buffer = BufferOp.make(former.kind.data, former.layer.data, int(former.rows.value.data), size, kind, alignment)
    recomputed, again = marks
    if strip == 0 and recomputed is not None:
        buffer.attributes[RECOMPUTED] = recomputed
    else:
        buffer.attributes[AGAIN] = again
    buffer.attributes[STRIP] = ArrayAttr([IntAttr(first), IntAttr(size)])
    return buffer


def _columns(value: SSAValue, there: Range, wanted: Range, new: list[Operation]) -> SSAValue:
    """Columns `wanted` of `value`, which holds the columns `there`."""
    if there == wanted:
        return value
    column_bytes = row_shape(value)[1] // (there[1] - there[0])
    view = ColumnsOp.make(value, (wanted[0] - there[0]) * column_bytes, (wanted[1] - wanted[0]) * column_bytes)
    new.append(view)
    return view.result


def _step(call: CallOp, inputs: Sequence[SSAValue], output: SSAValue, spec: KernelSpec, macs: int, part: PartAttr) -> list[Operation]:
    """A step that runs `call` with another kernel, from and to other values, and what it needs besides."""
    scratch: list[BufferOp] = []
    if spec.scratch_bytes:
        scratch = [BufferOp.make("scratch", call.layer.data, 1, -(-spec.scratch_bytes // 8) * 8, alignment=8)]
    properties = {**call.properties, "kernel": encode_kernel(spec), "macs": number(macs), "part": part}
    del properties["operandSegmentSizes"]
    copy = CallOp.build(
        operands=[list(inputs), output, list(call.tables), [buffer.result for buffer in scratch], []], properties=properties
    )
    copy.attributes.update(call.attributes)
    return [*scratch, StreamOp.make([copy])]
