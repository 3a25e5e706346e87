"""merge-rows: narrow 1x1 convolutions over whole tensors take several rows in one call, where the peak does not grow."""

from __future__ import annotations

import re

import pytest
from xdsl.dialects.builtin import ModuleOp

from support.network_builder import NetworkBuilder
from tinyc.backends.cortexm.calls import scratch_of
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.merge_rows import groups_of_rows
from tinyc.ir.schedule import build_schedule
from tinyc.ir.text import print_module
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes


@pytest.mark.parametrize(
    ("rows", "width", "groups"),
    [(5, 5, [5]), (10, 10, [5, 2]), (11, 11, [11]), (3, 3, [3]), (20, 20, [2]), (12, 3, [12, 6, 4, 3, 2]), (40, 40, []), (7, 32, [])],
)
def test_groups_are_divisors_that_fill_about_32_pixels(rows: int, width: int, groups: list[int]) -> None:
    assert groups_of_rows(rows, width, 32) == groups


def network(kernel: int, strides: tuple[int, int] = (1, 1)) -> ModuleOp:
    builder = NetworkBuilder(3)
    image = builder.input((1, 40, 40, 4))
    small = builder.pool(image, False, (8, 8), (8, 8))
    return builder.finish(builder.conv(small, 8, (kernel, kernel), strides, pads=(kernel // 2,) * 4))


def widths(module: ModuleOp) -> list[tuple[int, int]]:
    text = print_module(module)
    return [
        (int(a), int(b)) for a, b in re.findall(r"input_width = (\d+) : i64.{0,200}?output_width = (\d+) : i64", text) if "ConvSpec" in text
    ]


def test_all_rows_of_a_small_image_are_one_row_of_the_call() -> None:
    module = network(1)
    run_passes(module, parse_passes("select-kernels,merge-rows"))
    module.verify()
    assert (25, 25) in widths(module)
    assert "mcu.view" in print_module(module)


def test_a_merged_call_has_the_scratch_of_its_wider_row_without_further_passes() -> None:
    builder = NetworkBuilder(3)
    small = builder.pool(builder.input((1, 24, 24, 4)), False, (8, 8), (8, 8))
    module = builder.finish(builder.conv(small, 8, (1, 1)))
    run_passes(module, parse_passes("select-kernels"))
    (call,) = (step.calls[0] for step in build_schedule(module).steps if isinstance(decode_kernel(step.calls[0].kernel), ConvSpec))
    narrow = decode_kernel(call.kernel).scratch_bytes
    run_passes(module, parse_passes("merge-rows"))
    needed, scratch = decode_kernel(call.kernel).scratch_bytes, scratch_of(call)
    assert needed > narrow
    assert scratch is not None
    assert scratch.size_bytes >= needed


@pytest.mark.parametrize(("kernel", "strides"), [(3, (1, 1)), (1, (2, 2)), (1, (2, 1)), (1, (1, 2))])
def test_convolutions_that_look_at_neighbours_or_skip_pixels_keep_their_rows(kernel: int, strides: tuple[int, int]) -> None:
    module, same = network(kernel, strides), network(kernel, strides)
    run_passes(module, parse_passes("select-kernels,merge-rows"))
    run_passes(same, parse_passes("select-kernels"))
    assert print_module(module) == print_module(same)


def test_streamed_convolutions_keep_their_rows() -> None:
    builder = NetworkBuilder(3)
    image = builder.input((1, 24, 24, 4))
    wide = builder.conv(image, 32, (1, 1))
    module = builder.finish(builder.conv(builder.depthwise(wide, (3, 3), pads=(1, 1, 1, 1)), 4, (1, 1)))
    run_passes(module, parse_passes("select-kernels,stream-rows"))
    before = print_module(module)
    assert "ring" in before
    run_passes(module, parse_passes("merge-rows"))
    assert print_module(module) == before


def test_the_peak_does_not_grow() -> None:
    builder = NetworkBuilder(3)
    first = builder.conv(builder.input((1, 9, 9, 8)), 40, (1, 1))
    module = builder.finish(builder.conv(first, 8, (1, 1)))
    run_passes(module, parse_passes("select-kernels"))
    before = max(build_schedule(module).step_bounds)
    run_passes(module, parse_passes("merge-rows"))
    assert max(build_schedule(module).step_bounds) <= before
