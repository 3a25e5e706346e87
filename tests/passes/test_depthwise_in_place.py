"""depthwise-in-place: a depthwise layer overwrites its input where that dies there and nobody else looks at it."""

from __future__ import annotations

import pytest
from xdsl.dialects.builtin import ModuleOp

from support.network_builder import NetworkBuilder
from tinyc.ir.text import print_module
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes

PASSES = "select-kernels,depthwise-in-place"


def text_of(module: ModuleOp, passes: str = PASSES) -> str:
    run_passes(module, parse_passes(passes))
    return print_module(module)


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_depthwise_layer_between_two_others_overwrites_its_input(kernel: int) -> None:
    builder = NetworkBuilder(8)
    pads = (kernel // 2,) * 4
    wide = builder.depthwise(builder.conv(builder.input((1, 8, 8, 2)), 6), (kernel, kernel), pads=pads)
    text = text_of(builder.finish(builder.conv(wide, 2)))
    assert text.count('form = "in_place"') == 1
    # Input, the one wide tensor, output: the depthwise layer has no buffer of its own.
    assert sum(text.count(f'kind = "{kind}"') for kind in ("input", "tensor", "output")) == 3


def test_a_chain_of_depthwise_layers_lives_in_one_buffer_that_ends_as_the_output() -> None:
    builder = NetworkBuilder(8)
    value = builder.conv(builder.input((1, 8, 8, 2)), 6)
    for _ in range(3):
        value = builder.depthwise(value)
    text = text_of(builder.finish(value))
    assert text.count('form = "in_place"') == 3
    assert 'kind = "tensor"' not in text
    assert text.count("output_index") == 1


def test_the_networks_input_may_be_overwritten_but_never_become_its_output() -> None:
    builder = NetworkBuilder(8)
    assert 'in_place"' in text_of(builder.finish(builder.conv(builder.depthwise(builder.input((1, 8, 8, 2))), 3)))
    builder = NetworkBuilder(8)
    assert 'form = "in_place"' not in text_of(builder.finish(builder.depthwise(builder.input((1, 8, 8, 2)))))


def blocked(case: str) -> ModuleOp:
    """A depthwise layer that must not run in place."""
    builder = NetworkBuilder(8)
    source = builder.conv(builder.input((1, 8, 8, 2)), 6)
    if case == "stride":
        return builder.finish(builder.conv(builder.depthwise(source, stride=(2, 2)), 2))
    if case == "multiplier":
        return builder.finish(builder.conv(builder.depthwise(source, multiplier=2), 2))
    if case == "valid":
        return builder.finish(builder.conv(builder.depthwise(source, pads=(0, 0, 0, 0)), 2))
    if case == "dilation":
        return builder.finish(builder.conv(builder.depthwise(source, pads=(2, 2, 2, 2), dilation=(2, 2)), 2))
    if case == "needed later":
        return builder.finish(builder.add(builder.depthwise(source), source))
    if case == "output":
        return builder.finish(builder.conv(builder.depthwise(source), 2), source)
    flat = builder.reshape(source, (1, 4, 16, 6))
    return builder.finish(builder.conv(builder.depthwise(flat), 2))


@pytest.mark.parametrize("case", ["stride", "multiplier", "valid", "dilation", "needed later", "output", "view"])
def test_stays_out_of_place(case: str) -> None:
    assert 'form = "in_place"' not in text_of(blocked(case))


def test_streamed_layers_are_left_alone() -> None:
    builder = NetworkBuilder(8)
    wide = builder.depthwise(builder.conv(builder.input((1, 12, 12, 2)), 24))
    text = text_of(builder.finish(builder.conv(wide, 2)), "select-kernels,stream-rows,depthwise-in-place")
    assert 'kind = "ring"' in text
    assert 'form = "in_place"' not in text
