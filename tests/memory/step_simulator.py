"""Random steps, and a simulator that executes their events on real memory in which every byte carries the name of what it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from tinyc.memory.row_access import EACH_ROW, RowAccess
from tinyc.memory.stream import Event, StreamCall, StreamInput, Trace, replay

FIRST_OUTPUT = 10
Tag = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """Calls and the sizes (rows, bytes per row) of all buffers; ids below FIRST_OUTPUT are inputs of the step."""

    calls: tuple[StreamCall, ...]
    sizes: Mapping[int, tuple[int, int]]

    @property
    def result(self) -> int:
        """Buffer of the last call."""
        return self.calls[-1].output

    @property
    def sources(self) -> list[int]:
        """Inputs of the step that are read."""
        return sorted({entry.buffer for call in self.calls for entry in call.inputs if entry.buffer < FIRST_OUTPUT})

    def bytes_of(self, buffer: int) -> int:
        """Size of a whole buffer."""
        rows, row_bytes = self.sizes[buffer]
        return rows * row_bytes


def simulate(step: Step, trace: Trace, offsets: Mapping[int, int], slots: Mapping[int, int]) -> str | None:
    """Executes the events, sources and result at `offsets`, rings of `slots` rows apart from them; the first wrong read, or None."""
    memory: dict[int, Tag] = {}
    ring_base = {buffer: 1_000_000 * (index + 1) for index, buffer in enumerate(slots)}

    def address(buffer: int, position: int) -> int:
        if buffer in ring_base:
            row, column = divmod(position, step.sizes[buffer][1])
            return ring_base[buffer] + row % slots[buffer] * step.sizes[buffer][1] + column
        return offsets[buffer] + position

    for source in step.sources:
        for position in range(step.bytes_of(source)):
            # Sources that are not under test lie far away.
            memory[offsets[source] + position] = (source, position)
    for number, event in enumerate(trace.events):
        wrong = _execute(event, memory, address)
        if wrong is not None:
            return f"event {number}: {wrong}"
    return None


def _execute(event: Event, memory: dict[int, Tag], address: Callable[[int, int], int]) -> str | None:
    def wrong_byte(buffer: int, position: int) -> str | None:
        found = memory.get(address(buffer, position))
        return None if found == (buffer, position) else f"byte {position} of buffer {buffer} holds {found}"

    plain = [(read.buffer, position) for read in event.reads if not read.in_place for position in range(read.first, read.end)]
    in_place = [read for read in event.reads if read.in_place]
    for entry in plain:
        if (wrong := wrong_byte(*entry)) is not None:
            return wrong
    # Element by element: all in-place operands of an element are read, then it is written.
    for index in range(event.write_end - event.write_first):
        for read in in_place:
            if (wrong := wrong_byte(read.buffer, read.first + index)) is not None:
                return wrong
        memory[address(event.output, event.write_first + index)] = (event.output, event.write_first + index)
    # A kernel may write before it has read everything.
    for entry in plain:
        if (wrong := wrong_byte(*entry)) is not None:
            return f"after writing, {wrong}"
    return None


accesses = st.builds(RowAccess, st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.sampled_from([1, 1, 1, 2]))


@st.composite
def steps(draw: st.DrawFn, dilations: bool = True, most_calls: int = 4) -> Step:
    """One to `most_calls` calls, each reading the one before it; second operands from anywhere before; reductions and whole reads."""
    sizes = {index: (draw(st.integers(1, 8)), draw(st.integers(1, 4))) for index in range(draw(st.integers(1, 2)))}
    calls: list[StreamCall] = []
    count = draw(st.integers(1, most_calls))
    for number in range(count):
        previous = FIRST_OUTPUT + number - 1 if number else 0
        known = [*sizes]
        output = FIRST_OUTPUT + number
        kind = draw(st.sampled_from(["row", "row", "row", "row", "reduce", "in place"]))
        if kind == "reduce":
            inputs = [StreamInput(previous, *sizes[previous], None)]
            sizes[output] = draw(st.integers(1, 2)), draw(st.integers(1, 4))
        elif kind == "in place":
            sizes[output] = sizes[previous]
            inputs = [StreamInput(previous, *sizes[previous], EACH_ROW, True)]
            equal = [buffer for buffer in known if sizes[buffer] == sizes[previous] and buffer != previous]
            has_second = draw(st.booleans())
            if equal and has_second:
                in_place = draw(st.booleans())
                inputs.append(StreamInput(equal[0], *sizes[equal[0]], EACH_ROW, in_place))
        else:
            sizes[output] = draw(st.integers(1, 8)), draw(st.integers(1, 4))
            inputs = [StreamInput(previous, *sizes[previous], _access(draw, dilations))]
            if draw(st.booleans()):
                other = draw(st.sampled_from(known))
                inputs.append(StreamInput(other, *sizes[other], _access(draw, dilations)))
        calls.append(StreamCall(tuple(inputs), output, *sizes[output], kind == "reduce"))
    return Step(tuple(calls), sizes)


def _access(draw: st.DrawFn, dilations: bool) -> RowAccess | None:
    if draw(st.integers(0, 7)) == 0:
        return None
    access = draw(accesses)
    return access if dilations else RowAccess(access.window, access.stride, 1, access.pad)


def far_offsets(step: Step) -> dict[int, int]:
    """Places in which nothing touches."""
    return {buffer: 10_000 * (index + 1) for index, buffer in enumerate([*step.sources, step.result])}


def replayed(step: Step) -> Trace:
    """The events of the step."""
    return replay(step.calls)
