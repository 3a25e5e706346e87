"""size-im2col,unroll-loops: long bodies where many pixels pay for them, short ones where few do, and no more code than is allowed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from support.network_builder import NetworkBuilder
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import LONGEST_BODY, ConvSpec
from tinyc.backends.cortexm.kernels.output_stage import OutputForm, OutputStage
from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.backends.cortexm.unroll_loops import Body, UnrollLoops, body_of, choose_bodies, lengths, worthwhile
from tinyc.driver.pipeline import LOOP_GROWTH, CompileOptions, pipeline
from tinyc.ir.schedule import steps_of
from tinyc.passes.manager import run_passes
from tinyc.passes.pins import attach_pins, parse_pins
from tinyc.passes.registry import parse_passes

STAGE = OutputStage(OutputForm.INTEGER, 0, -128, 127, 8, 8)
SPEC = ConvSpec(STAGE, 16, 48, 16, 32, 1, 1, 0)


def network(pixels: int) -> ModuleOp:
    """Two equal 1x1 convolutions of 24 pairs and one of 40, over `pixels` times `pixels`."""
    builder = NetworkBuilder(3)
    value = builder.conv(builder.conv(builder.input((1, pixels, pixels, 48)), 48), 80)
    return builder.finish(builder.conv(value, 8))


def convolutions(module: ModuleOp, options: str, *pins: str) -> list[ConvSpec]:
    attach_pins(module, parse_pins(pins))
    run_passes(module, parse_passes(f"select-kernels,{options}"))
    specs = [decode_kernel(call.kernel) for step in steps_of(module) for call in step.calls]
    return [spec for spec in specs if isinstance(spec, ConvSpec)]


def test_many_pixels_are_worth_a_long_body_and_few_a_short_one() -> None:
    many, few = (convolutions(network(pixels), "size-im2col,unroll-loops{growth=400}") for pixels in (64, 2))
    for long, short in zip(many, few, strict=True):
        assert long.loops[0][0] > short.loops[0][0]


@pytest.mark.parametrize("growth", [0, 10, 100])
def test_loops_take_no_more_bytes_than_allowed(growth: int) -> None:
    ruled = sum(spec.loop_bytes for spec in convolutions(network(64), "size-im2col"))
    taken = sum(spec.loop_bytes for spec in convolutions(network(64), f"size-im2col,unroll-loops{{growth={growth} gain=1}}"))
    assert taken * 100 <= ruled * (100 + growth)


def test_without_growth_no_estimate_is_worse_at_the_least_gain() -> None:
    ruled, chosen = (convolutions(network(16), options) for options in ("size-im2col", "size-im2col,unroll-loops{gain=1}"))
    assert sum(spec.estimated_cost for spec in chosen) <= sum(spec.estimated_cost for spec in ruled)


def test_a_pinned_length_stays() -> None:
    specs = convolutions(network(64), "size-im2col,unroll-loops{growth=400}", "conv2d_1:unroll=3")
    assert [spec.unroll == 3 for spec in specs] == [True, False, False]


def test_layers_that_share_a_function_keep_the_rule() -> None:
    """Pointwise convolutions of several depths, over few pixels."""
    depths = np.random.default_rng(1)
    builder = NetworkBuilder(1)
    value = builder.input((1, 3, 6, 24))
    for _ in range(5):
        value = builder.depthwise(builder.conv(value, 24 * int(depths.integers(2, 4))))
        value = builder.conv(value, 24)
    passes = "depthwise-in-place,merge-rows,size-im2col{slack=200},share-code,unroll-loops{growth=400 gain=1}"
    specs = convolutions(builder.finish(value), passes)
    assert any(spec.shares_code for spec in specs)
    assert all(spec.unroll == 0 for spec in specs if spec.shares_code)


@given(st.integers(1, 300))
@settings(deadline=None, max_examples=60)
def test_lengths_are_possible_and_the_loops_cover_all_pairs(pairs: int) -> None:
    spec = replace(SPEC, input_channels=2 * pairs)
    found = lengths(spec)
    assert found[0] == 1
    assert found == sorted(set(found))
    for steps in found:
        assert 1 <= steps <= LONGEST_BODY
        assert sum(count * rounds for count, rounds in body_of(spec, 1, steps).spec.loops) == pairs


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 1000)), min_size=1, max_size=12))
def test_what_is_worthwhile_is_faster_and_worth_ever_less(sizes: list[tuple[int, int]]) -> None:
    kept = worthwhile([Body(SPEC, size, cost) for size, cost in sizes])
    assert kept[0].code_bytes == min(size for size, _ in sizes)
    assert kept[-1].cost == min(cost for _, cost in sizes)
    slopes = [(a.cost - b.cost) / (b.code_bytes - a.code_bytes) for a, b in pairwise(kept)]
    assert all(slope > 0 for slope in slopes)
    assert slopes == sorted(slopes, reverse=True)


def test_bytes_go_to_whoever_saves_most_with_them() -> None:
    def bodies(*pairs: tuple[int, int]) -> list[Body]:
        return [Body(SPEC, size, cost) for size, cost in pairs]

    kernels = [bodies((10, 1000), (20, 100), (30, 50)), bodies((10, 1000), (20, 700)), bodies((10, 500), (20, 490))]
    assert [body.code_bytes for body in choose_bodies(kernels, 50, 5)] == [20, 20, 10]
    assert [body.code_bytes for body in choose_bodies(kernels, 40, 5)] == [20, 10, 10]
    assert [body.code_bytes for body in choose_bodies(kernels, 100, 5)] == [30, 20, 10]
    assert [body.code_bytes for body in choose_bodies(kernels, 100, 1)] == [30, 20, 20]


def test_the_form_for_cortex_m7_weighs_cycles() -> None:
    wide, m7 = replace(SPEC, weights_are_wide=True), replace(SPEC, core=CoreForm.CORTEX_M7)
    wide_m7 = replace(wide, core=CoreForm.CORTEX_M7)
    assert (SPEC.core.cost_unit, m7.core.cost_unit) == ("instructions", "est. cycles")
    assert m7.estimated_cost < SPEC.estimated_cost
    assert m7.estimated_cost - wide_m7.estimated_cost < SPEC.estimated_cost - wide.estimated_cost


def test_loops_grow_by_what_the_options_ask_for_at_least_by_what_is_usual_for_the_core_and_never_in_compact_code() -> None:
    def growth(options: CompileOptions) -> int:
        return next(entry.growth for entry in pipeline(options) if isinstance(entry, UnrollLoops))

    m7 = CompileOptions(core="cortex-m7")
    assert growth(CompileOptions()) == 0
    assert growth(m7) == LOOP_GROWTH == growth(replace(m7, loop_growth=1))
    assert [growth(replace(options, loop_growth=200)) for options in (CompileOptions(), m7)] == [200, 200]
    assert growth(CompileOptions(compact=True, loop_growth=200)) == 0
