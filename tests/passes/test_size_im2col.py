"""size-im2col: wide gathering where the peak leaves room, narrow where it does not."""

from __future__ import annotations

import re

import pytest
from xdsl.dialects.builtin import ModuleOp

from support.network_builder import NetworkBuilder
from tinyc.ir.schedule import build_schedule
from tinyc.ir.text import print_module
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes


def network() -> ModuleOp:
    """A layer at the peak with a large patch, then one with room to spare."""
    builder = NetworkBuilder(9)
    image = builder.input((1, 16, 16, 8))
    deep = builder.conv(image, 8, (3, 3), pads=(1, 1, 1, 1))
    small = builder.pool(deep, False, (4, 4), (4, 4))
    return builder.finish(builder.conv(small, 8, (3, 3), pads=(1, 1, 1, 1)))


def columns(module: ModuleOp) -> list[int]:
    return [int(found) for found in re.findall(r"columns = (\d+) : i64", print_module(module))]


def test_the_layer_at_the_peak_is_narrow_and_the_one_with_room_is_wide() -> None:
    module = network()
    run_passes(module, parse_passes("select-kernels,size-im2col{slack=0}"))
    assert columns(module) == [1, 4]


@pytest.mark.parametrize("slack", [0, 4, 10, 50])
def test_the_peak_grows_by_no_more_than_the_slack(slack: int) -> None:
    def peak(passes: str) -> int:
        module = network()
        run_passes(module, parse_passes(passes))
        return max(build_schedule(module).step_bounds)

    assert peak(f"select-kernels,size-im2col{{slack={slack}}}") * 100 <= peak("select-kernels,size-im2col{slack=0}") * (100 + slack)


def test_much_slack_lets_the_tiles_of_a_row_share_unpacked_weights() -> None:
    module = network()
    run_passes(module, parse_passes("select-kernels,size-im2col{slack=400}"))
    assert columns(module) == [16, 4]


def test_scratch_has_the_size_that_the_chosen_kernel_asks_for() -> None:
    sizes = []
    for slack in (0, 100):
        module = network()
        run_passes(module, parse_passes(f"select-kernels,size-im2col{{slack={slack}}}"))
        sizes.append([int(found) for found in re.findall(r'kind = "scratch".*?row_bytes = (\d+)', print_module(module))])
    narrow, wide = sizes
    assert narrow[0] < wide[0]
    assert narrow[1] == wide[1]
