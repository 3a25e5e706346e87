"""stream-rows: chains run row by row where that lowers the peak; the tensors between them become rings."""

from __future__ import annotations

import pytest
from xdsl.dialects.builtin import ModuleOp

from support.filecheck import file_check
from support.network_builder import NetworkBuilder
from tinyc.errors import PassError
from tinyc.ir.text import print_module
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes


def inverted_bottleneck() -> ModuleOp:
    """Expand 4 to 24 channels, 5x5 depthwise, project to 4, add the input."""
    builder = NetworkBuilder(5)
    image = builder.input((1, 12, 12, 4))
    wide = builder.depthwise(builder.conv(image, 24), (5, 5), pads=(2, 2, 2, 2))
    return builder.finish(builder.add(builder.conv(wide, 4), image))


def after(module: ModuleOp, passes: str) -> str:
    run_passes(module, parse_passes(passes))
    return print_module(module)


def test_an_inverted_bottleneck_becomes_one_stream_with_rings() -> None:
    text = after(inverted_bottleneck(), "select-kernels,stream-rows")
    file_check(
        text,
        """
           // CHECK: kind = "input"
           // CHECK: kind = "ring", layer = "{{.*}}", rows = 12 : i64, row_bytes = 288 : i64, slots = 5 : i64
           // CHECK: kind = "ring", {{.*}} row_bytes = 288 : i64, slots = 1 : i64
           // CHECK: kind = "ring", {{.*}} row_bytes = 48 : i64, slots = 1 : i64
           // CHECK: kind = "output"
           // CHECK: mcu.stream {
           // CHECK-NEXT: op = "CONV_2D"
           // CHECK-NEXT: op = "DEPTHWISE_CONV_2D"
           // CHECK-NEXT: op = "CONV_2D"
           // CHECK-NEXT: op = "ADD"
           // CHECK-NEXT: }
           // CHECK-NOT: mcu.stream
        """,
    )


def test_a_layer_that_only_looks_back_runs_backwards_over_its_input() -> None:
    builder = NetworkBuilder(4)
    module = builder.finish(builder.conv(builder.input((1, 20, 5, 4)), 4, (7, 1), pads=(6, 0, 0, 0)))
    file_check(
        after(module, "select-kernels,stream-rows"),
        """
           // CHECK: mcu.stream {
           // CHECK-NEXT: op = "CONV_2D"
           // CHECK-NEXT: } {backwards}
        """,
    )


def test_calls_of_a_stream_share_the_largest_scratch() -> None:
    whole = after(inverted_bottleneck(), "select-kernels")
    streamed = after(inverted_bottleneck(), "select-kernels,stream-rows")
    assert whole.count('kind = "scratch"') > 1
    assert streamed.count('kind = "scratch"') == 1


def test_longest_bounds_the_calls_of_a_stream_and_one_switches_streaming_off() -> None:
    for longest in (1, 2, 3):
        text = after(inverted_bottleneck(), f"select-kernels,stream-rows{{longest={longest}}}")
        streams = text.split("mcu.stream")[1:]
        assert max(stream.count("mcu.call") for stream in streams) <= longest
    assert 'kind = "ring"' not in after(inverted_bottleneck(), "select-kernels,stream-rows{longest=1}")


def test_streaming_lowers_the_arena() -> None:
    def arena(passes: str) -> int:
        module = inverted_bottleneck()
        run_passes(module, parse_passes(passes))
        return int(module.attributes["arena_bytes"].value.data)  # type: ignore[attr-defined]

    assert 3 * arena("select-kernels,stream-rows,plan-memory") < 2 * arena("select-kernels,plan-memory")


def test_a_network_that_gains_nothing_keeps_its_steps() -> None:
    builder = NetworkBuilder(6)
    value = builder.input((1, 4, 4, 8))
    for _ in range(3):
        value = builder.clamp(value, (-20, 20))
    text = after(builder.finish(value), "select-kernels,stream-rows")
    assert text.count("mcu.stream") == 3
    assert 'kind = "ring"' not in text


def test_a_tensor_that_is_an_output_or_needed_later_is_not_made_a_ring() -> None:
    builder = NetworkBuilder(7)
    image = builder.input((1, 8, 8, 2))
    wide = builder.conv(image, 32)
    narrow = builder.conv(wide, 2)
    text = after(builder.finish(narrow, wide), "select-kernels,stream-rows")
    assert 'kind = "ring"' not in text


def test_running_twice_is_refused() -> None:
    with pytest.raises(PassError, match="has run already"):
        after(inverted_bottleneck(), "select-kernels,stream-rows,stream-rows")
