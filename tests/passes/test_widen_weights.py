"""widen-weights: int16 weights where a byte of flash saves most instructions, within the growth allowed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from support.batch import PLATFORMS, run_networks
from support.kernel_harness import missing_tools
from support.network_builder import NetworkBuilder, random_inputs
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import ConvSpec, widen
from tinyc.backends.cortexm.kernels.winograd import WinogradSpec
from tinyc.backends.cortexm.size_im2col import arena_bytes
from tinyc.driver.compile import compile_module
from tinyc.driver.pipeline import CompileOptions
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.mcu import CallOp, TableOp
from tinyc.ir.schedule import build_schedule
from tinyc.ir.text import print_module
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes
from tinyc.targets import load_target


def network() -> ModuleOp:
    """A layer with many pixels and few weights, then one with few pixels and many weights."""
    builder = NetworkBuilder(9)
    large = builder.conv(builder.input((1, 32, 32, 4)), 4, (3, 3), pads=(1, 1, 1, 1))
    small = builder.pool(large, False, (8, 8), (8, 8))
    return builder.finish(builder.conv(small, 32, (3, 3), pads=(1, 1, 1, 1)))


def table_bytes(module: ModuleOp) -> int:
    return sum(op.size_bytes for op in module.ops if isinstance(op, TableOp))


def run(options: str) -> tuple[list[bool], int]:
    module = network()
    run_passes(module, parse_passes(f"select-kernels{options}"))
    return [found == "true" for found in re.findall(r"weights_are_wide = (\w+)", print_module(module))], table_bytes(module)


def test_only_the_layer_with_many_pixels_is_worth_the_flash() -> None:
    wide, _ = run(",widen-weights")
    assert wide == [True, False]


@pytest.mark.parametrize("growth", [0, 5, 50, 200])
def test_tables_grow_by_no_more_than_allowed(growth: int) -> None:
    _, before = run("")
    wide, after = run(f",widen-weights{{growth={growth} gain=0}}")
    assert after * 100 <= before * (100 + growth)
    assert any(wide) == (after > before)


def test_convolutions_whose_weights_are_unpacked_once_a_row_gain_little_and_are_left_alone() -> None:
    wide, _ = run(",size-im2col{slack=400},widen-weights")
    assert not wide[0]


def square_network(height: int = 8, depth: int = 8, width: int = 10) -> ModuleOp:
    """Two convolutions 3x3 with stride 1 and multiples of 4 channels, then one of another shape."""
    builder = NetworkBuilder(11)
    value = builder.conv(builder.input((1, height, width, depth)), 8, (3, 3), pads=(1, 1, 1, 1))
    value = builder.conv(value, 12, (3, 3), pads=(1, 1, 1, 1))
    return builder.finish(builder.conv(value, 3, (3, 3), (2, 2)))


def winograd_rows(module: ModuleOp) -> list[int]:
    """Rows of output of each convolution by Winograd's filtering."""
    specs = [decode_kernel(op.kernel) for op in module.walk() if isinstance(op, CallOp)]
    return [spec.output_rows for spec in specs if isinstance(spec, WinogradSpec)]


def scheduled(module: ModuleOp, options: str) -> ModuleOp:
    run_passes(module, parse_passes(f"select-kernels,size-im2col,{options}"))
    return module


def test_flash_and_scratch_enough_make_convolutions_3x3_two_dimensional_winograd() -> None:
    assert winograd_rows(scheduled(square_network(), "widen-weights{growth=1000 gain=1 slack=1000}")) == [2, 2]


def test_an_odd_number_of_rows_is_filtered_row_by_row() -> None:
    assert winograd_rows(scheduled(square_network(height=7), "widen-weights{growth=1000 gain=1 slack=1000}")) == [1, 1]


def test_channels_in_other_than_fours_keep_their_kernel() -> None:
    assert winograd_rows(scheduled(square_network(depth=6), "widen-weights{growth=1000 gain=1 slack=1000}")) == [2]


def test_the_peak_bounds_the_scratch_of_winograd() -> None:
    def arena(options: str) -> int:
        return arena_bytes(build_schedule(scheduled(square_network(), f"widen-weights{{{options}}}")))

    before = arena("growth=0")
    assert arena("growth=1000 gain=1 slack=0") <= before < arena("growth=1000 gain=1 slack=1000")


def winograd_tiles(module: ModuleOp) -> list[int]:
    """Tiles of a group of each convolution by Winograd's filtering."""
    specs = [decode_kernel(op.kernel) for op in module.walk() if isinstance(op, CallOp)]
    return [spec.tiles for spec in specs if isinstance(spec, WinogradSpec)]


def test_single_tiles_serve_where_the_scratch_of_two_would_raise_the_peak() -> None:
    def found(slack: int, single_tiles: str) -> list[int]:
        options = f"growth=1000 gain=1 slack={slack} single_tiles={single_tiles}"
        return winograd_tiles(scheduled(square_network(depth=16, width=12), f"widen-weights{{{options}}}"))

    assert found(1000, "true") == [2, 2]
    assert 1 in found(0, "true")
    assert 1 not in found(0, "false")


def test_on_cortex_m4_columns_that_two_tiles_would_waste_are_left_to_single_tiles() -> None:
    options = "growth=1000 gain=1 slack=1000 single_tiles=true"
    assert winograd_tiles(scheduled(square_network(depth=16, width=10), f"widen-weights{{{options}}}")) == [1, 1]


@pytest.mark.parametrize("growth", [0, 60, 120, 250, 400])
def test_winograd_weights_count_as_growth(growth: int) -> None:
    before = table_bytes(scheduled(square_network(), "widen-weights{growth=0}"))
    after = table_bytes(scheduled(square_network(), f"widen-weights{{growth={growth} gain=1 slack=1000}}"))
    assert after * 100 <= before * (100 + growth)


def check_results(modules: list[ModuleOp], passes: str, platform: str, directory: Path) -> list[ModuleOp]:
    """Compiles by `passes` (of which %s is the profile), compares C with the interpreter, and returns the scheduled networks."""
    tools = missing_tools(
        *(["gcc"] if platform == "host" else ["arm-none-eabi-gcc"] if platform == "unicorn" else ["arm-none-eabi-gcc", "qemu-system-arm"])
    )
    if tools:
        pytest.skip(tools)
    networks, inputs, expected = [], [], []
    for number, module in enumerate(modules):
        profile = Profile.LITERT if number % 2 else Profile.TFLM
        options = CompileOptions(profile, passes=passes % profile.value, measure=False)
        networks.append(compile_module(module, f"n{number}", load_target("cortex-m4"), options))
        inputs.append(random_inputs(module))
        expected.append(evaluate(module, inputs[-1], profile))
    for network, found, wanted in zip(
        networks, run_networks(networks, [values for arrays in inputs for values in arrays], platform, directory), expected, strict=True
    ):
        np.testing.assert_array_equal(found[0], wanted[0], err_msg=network.name)
    return [network.module for network in networks]


@pytest.mark.parametrize(("streams", "slack"), [("", 1000), ("stream-rows,", 1000), ("", 30)])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_networks_with_winograd_compute_what_the_interpreter_does(platform: str, streams: str, slack: int, tmp_path: Path) -> None:
    modules = [square_network(height, depth) for height in (4, 7, 10) for depth in (4, 8)]
    widening = f"widen-weights{{growth=1000 gain=1 slack={slack} single_tiles=true}}"
    passes = f"select-kernels{{numerics=%s}},{streams}size-im2col{{slack=10}},{widening},plan-memory"
    assert all(winograd_rows(module) for module in check_results(modules, passes, platform, tmp_path))


def tiles(module: ModuleOp) -> list[tuple[int, int]]:
    """Columns and channels of the tiles of each convolution by im2col."""
    specs = [decode_kernel(op.kernel) for op in module.walk() if isinstance(op, CallOp)]
    return [(spec.tile_columns, spec.tile_channels) for spec in specs if isinstance(spec, ConvSpec)]


def scarce_network(height: int, depth: int) -> ModuleOp:
    """Convolutions that leave little room for scratch; the second has channels in fours."""
    builder = NetworkBuilder(13)
    value = builder.conv(builder.input((1, height, 9, depth)), 6, (3, 3), pads=(1, 1, 1, 1))
    value = builder.conv(value, 12, (2, 3), (1, 2), pads=(1, 0, 1, 0))
    return builder.finish(builder.conv(value, 5, (1, 1)))


def test_convolutions_with_little_scratch_take_four_channels_at_a_time() -> None:
    assert tiles(scheduled(scarce_network(8, 4), "widen-weights{growth=0}"))[1] in ((1, 4), (2, 4))


def test_channels_in_other_than_fours_are_taken_in_twos() -> None:
    found = tiles(scheduled(scarce_network(8, 4), "widen-weights{growth=100}"))
    assert (found[0][1], found[2][1]) == (2, 2)


@pytest.mark.parametrize("growth", [0, 200])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_networks_with_tiles_of_four_channels_compute_what_the_interpreter_does(platform: str, growth: int, tmp_path: Path) -> None:
    modules = [scarce_network(height, depth) for height in (5, 8, 9) for depth in (3, 4)]
    passes = f"select-kernels{{numerics=%s}},size-im2col{{slack=0}},widen-weights{{growth={growth} gain=0}},plan-memory"
    assert any(channels == 4 for module in check_results(modules, passes, platform, tmp_path) for _, channels in tiles(module))


def test_widening_gives_the_pairs_that_unpacking_would() -> None:
    values = np.array([1, -2, 3, -4, 127, -128, 0, 5], dtype=np.int8)
    pairs = widen(values.view(np.uint32)).view(np.int16).reshape(-1, 2)
    assert pairs.tolist() == [[1, 3], [-2, -4], [127, 0], [-128, 5]]


def test_weights_that_need_less_scratch_never_cost_arena() -> None:
    arenas = [arena_bytes(build_schedule(scheduled(network(), f"widen-weights{{growth={growth} gain=1}}"))) for growth in (0, 1000)]
    assert arenas[1] <= arenas[0]
