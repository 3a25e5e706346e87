"""widen-weights: int16 weights where a byte of flash saves most instructions, within the growth allowed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from support.network_builder import NetworkBuilder
from tinyc.backends.cortexm.kernels.conv import widen
from tinyc.ir.mcu import TableOp
from tinyc.ir.text import print_module
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes


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


def test_convolutions_whose_weights_are_unpacked_once_a_row_are_left_alone() -> None:
    wide, _ = run(",size-im2col{slack=400},widen-weights{gain=0}")
    assert not wide[0]


def test_widening_gives_the_pairs_that_unpacking_would() -> None:
    values = np.array([1, -2, 3, -4, 127, -128, 0, 5], dtype=np.int8)
    pairs = widen(values.view(np.uint32)).view(np.int16).reshape(-1, 2)
    assert pairs.tolist() == [[1, 3], [-2, -4], [127, 0], [-128, 5]]
