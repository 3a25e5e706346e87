"""stream-rows{input=true}: the input becomes a ring of rows, the first stream is chosen with it, and what cannot be pushed is refused."""

from __future__ import annotations

import pytest
from xdsl.dialects.builtin import ModuleOp

from support.filecheck import file_check
from support.network_builder import NetworkBuilder
from tinyc.errors import PassError, UnsupportedError
from tinyc.ir.mcu import BufferOp, StreamOp
from tinyc.ir.schedule import build_schedule, steps_of
from tinyc.ir.text import parse_module, print_module
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes

PUSHED = "select-kernels,stream-rows{input=true}"


def after(module: ModuleOp, passes: str = PUSHED) -> ModuleOp:
    run_passes(module, parse_passes(passes))
    module.verify()
    return module


def bottleneck() -> ModuleOp:
    """A strided stem and an inverted bottleneck with a skip."""
    builder = NetworkBuilder(5)
    stem = builder.conv(builder.input((1, 24, 12, 3)), 4, (3, 3), (2, 2), (1, 1, 1, 1))
    wide = builder.depthwise(builder.conv(stem, 24), (5, 5), pads=(2, 2, 2, 2))
    return builder.finish(builder.mean(builder.add(builder.conv(wide, 4), stem), (1, 2)))


def test_the_input_is_a_ring_and_the_first_step_keeps_its_state() -> None:
    file_check(
        print_module(after(bottleneck())),
        """
           // CHECK: kind = "input_ring", layer = "input_0", rows = 24 : i64, row_bytes = 36 : i64, slots = 3 : i64
           // CHECK: kind = "state"
           // CHECK: kind = "counters", {{.*}} row_bytes = 32 : i64
           // CHECK: mcu.stream keeps({{.*}}) {
           // CHECK-NEXT: op = "CONV_2D"
        """,
    )


def test_the_text_reads_back() -> None:
    text = print_module(after(bottleneck()), print_weights=True)
    assert print_module(parse_module(text), print_weights=True) == text


def test_only_what_outlives_the_first_step_is_live_after_it() -> None:
    module = after(bottleneck(), f"{PUSHED.replace('input=true', 'longest=2 input=true')},plan-memory")
    schedule = build_schedule(module)
    lives = {buffer.kind.data: life for buffer, life in zip(schedule.buffers, schedule.lives, strict=True)}
    assert len(schedule.steps) > 1
    assert (lives["input_ring"].first, lives["input_ring"].last) == (0, 0)
    assert (lives["counters"].first, lives["counters"].last) == (0, 0)
    assert (lives["state"].first, lives["state"].last) == (-1, len(schedule.steps) - 1)


def test_the_arena_is_smaller_by_most_of_an_input_that_set_the_peak() -> None:
    def arena(passes: str) -> int:
        return int(after(large_input(), f"{passes},size-im2col,plan-memory").attributes["arena_bytes"].value.data)  # type: ignore[attr-defined]

    assert arena(PUSHED) < arena("select-kernels,stream-rows") - 32 * 256 // 2


def test_a_stream_is_longer_where_the_input_no_longer_sets_the_peak() -> None:
    def first_step(passes: str) -> int:
        return len(steps_of(after(large_input(), passes))[0].calls)

    assert first_step(PUSHED) > first_step("select-kernels,stream-rows")


def large_input() -> ModuleOp:
    """The input sets the peak unless it is streamed; then the next tensors do."""
    builder = NetworkBuilder(8)
    value = builder.input((1, 32, 32, 8))
    for _ in range(3):
        value = builder.conv(value, 6, (3, 3), pads=(1, 1, 1, 1))
    return builder.finish(builder.conv(value, 2, (3, 3), (4, 4)))


@pytest.mark.parametrize("longest", [1, 2, 3, 12])
def test_longest_bounds_the_calls_of_the_first_stream_too(longest: int) -> None:
    steps = steps_of(after(large_input(), f"select-kernels,stream-rows{{longest={longest} input=true}}"))
    assert max(len(step.calls) for step in steps) <= longest
    assert steps[0].pushed_input is not None
    assert all(step.pushed_input is None for step in steps[1:])


def test_later_passes_leave_the_pushed_step_as_it_is() -> None:
    builder = NetworkBuilder(9)
    module = builder.finish(builder.depthwise(builder.input((1, 6, 6, 8))))
    after(module, f"{PUSHED},depthwise-in-place,merge-rows,size-im2col,widen-weights,plan-memory")
    (step,) = steps_of(module)
    assert step.calls[0].form.data == "row"
    assert {op.kind.data for op in module.ops if isinstance(op, BufferOp)} >= {"input_ring", "state", "counters", "output"}


def two_inputs(builder: NetworkBuilder) -> ModuleOp:
    return builder.finish(builder.add(builder.input((1, 4, 4, 2)), builder.input((1, 4, 4, 2))))


def input_as_output(builder: NetworkBuilder) -> ModuleOp:
    image = builder.input((1, 4, 4, 2))
    return builder.finish(builder.conv(image, 3), image)


def reshape_first(builder: NetworkBuilder) -> ModuleOp:
    return builder.finish(builder.conv(builder.reshape(builder.input((1, 4, 4, 2)), (1, 2, 8, 2)), 3))


def transpose_first(builder: NetworkBuilder) -> ModuleOp:
    return builder.finish(builder.transpose(builder.input((1, 4, 5, 2)), (0, 2, 1, 3)))


def single_row(builder: NetworkBuilder) -> ModuleOp:
    return builder.finish(builder.fully_connected(builder.input((1, 40)), 3))


def whole_tensor_between(builder: NetworkBuilder) -> ModuleOp:
    image = builder.input((1, 6, 6, 2))
    turned = builder.transpose(builder.conv(image, 2), (0, 2, 1, 3))
    return builder.finish(builder.add(turned, image))


def needed_later(builder: NetworkBuilder) -> ModuleOp:
    image = builder.input((1, 6, 6, 2))
    value = builder.conv(image, 2)
    return builder.finish(builder.add(builder.conv(value, 2), image), value)


def far_apart(builder: NetworkBuilder) -> ModuleOp:
    image = value = builder.input((1, 6, 6, 2))
    for _ in range(13):
        value = builder.depthwise(value)
    return builder.finish(builder.add(value, image))


def very_tall(builder: NetworkBuilder) -> ModuleOp:
    return builder.finish(builder.pool(builder.input((1, 70_000, 1, 1)), False, (1, 1), (1, 1)))


REFUSALS = {
    two_inputs: ("input_0: INPUT", "the network has 2 inputs (input_0, input_1)"),
    input_as_output: ("output_1: COPY", "reads the input with its elements in other rows"),
    reshape_first: (": CONV_2D", "reads the input with its elements in other rows"),
    transpose_first: (": TRANSPOSE", "needs the whole input at once"),
    single_row: ("input_0: INPUT", "the input is a single row of 40 bytes"),
    whole_tensor_between: (": TRANSPOSE", "it needs whole tensors, but after it ADD"),
    needed_later: (": ADD", "is needed whole or once more later"),
    very_tall: (": MAX_POOL_2D", "140000 rows; a stream has at most 65536"),
    far_apart: (": ADD", "13 ops after the first one; a stream has at most 12 (hint: stream-rows{longest=14}"),
}


@pytest.mark.parametrize("make", list(REFUSALS), ids=lambda make: make.__name__)
def test_what_cannot_be_pushed_is_refused_with_node_reason_and_hint(make) -> None:  # type: ignore[no-untyped-def]
    node, reason = REFUSALS[make]
    with pytest.raises(UnsupportedError) as refusal:
        after(make(NetworkBuilder(10)))
    text = str(refusal.value)
    assert text.startswith("1 node is not supported\n  --stream-input: ")
    assert node in text
    assert reason in text
    assert "compile without --stream-input" in text
    assert refusal.value.exit_code == 1


def test_a_longer_stream_reaches_the_far_reader() -> None:
    (step,) = steps_of(after(far_apart(NetworkBuilder(10)), "select-kernels,stream-rows{longest=14 input=true}"))
    assert isinstance(step, StreamOp)
    assert len(step.calls) == 14


def test_running_twice_is_refused() -> None:
    with pytest.raises(PassError, match="has run already"):
        after(bottleneck(), f"{PUSHED},stream-rows")
    builder = NetworkBuilder(11)
    single = builder.finish(builder.conv(builder.input((1, 5, 5, 2)), 3))
    with pytest.raises(PassError, match="has run already"):
        after(single, f"{PUSHED},stream-rows")
