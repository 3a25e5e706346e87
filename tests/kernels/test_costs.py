"""What the choice of kernels takes a step or a loop to cost on Cortex-M7 is what the cycle model says of the scheduled statements."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.kernels.costs import CONV, WINOGRAD
from tinyc.backends.cortexm.kernels.output_stage import OutputForm, OutputStage
from tinyc.backends.cortexm.kernels.statements import KNOWN, CoreForm, instruction_of
from tinyc.backends.cortexm.kernels.winograd import WinogradSpec
from tinyc.cycles import CortexM7
from tinyc.cycles.instruction import Instruction

MODEL, CORE = CortexM7(), CoreForm.CORTEX_M7
STAGE = OutputStage(OutputForm.INTEGER, 0, -128, 127, 8, 8)
POINTERS = 2
"""Cycles of a round for two pointers, the comparison and the jump."""


def blocks(source: str) -> list[list[Instruction]]:
    """The stretches of one-instruction statements with products of `source`."""
    found: list[list[Instruction]] = [[]]
    for line in source.splitlines():
        match = re.fullmatch(r"\s*TINYC_([A-Z0-9_]+)\(.*\);", line)
        if match and match.group(1) in KNOWN:
            found[-1].append(instruction_of(line.strip()))
        elif found[-1]:
            found.append([])
    return [block for block in found if any(entry.mnemonic == "smlad" for entry in block)]


def statements(source: str) -> int:
    """One-instruction statements of the first stretch with products in `source`."""
    body = next(body for body in re.split(r"\bdo \{|\} while", source) if "TINYC_MAC_2" in body)
    return len(re.findall(r"^\s*TINYC_(?!FOUR_WORDS)[A-Z0-9_]+\(.*\);$", body, re.MULTILINE))


def convolution(columns: int, channels: int, wide: bool, pairs: int, unroll: int) -> ConvSpec:
    spec = ConvSpec(STAGE, columns, 2 * pairs, columns, 8, 1, 1, 0, weights_are_wide=wide, core=CORE, unroll=unroll)
    return replace(spec, columns=columns, tile_channels=channels)


TILES = list(CONV[CORE].narrow_step)


@pytest.mark.parametrize(("columns", "channels"), TILES)
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("pairs", "unroll"), [(8, 8), (16, 16), (24, 12), (48, 8)])
def test_the_products_of_a_tile_cost_what_the_model_says(columns: int, channels: int, wide: bool, pairs: int, unroll: int) -> None:
    spec = convolution(columns, channels, wide, pairs, unroll)
    ((steps, rounds),) = spec.loops
    (block,) = blocks(spec.source("SYMBOL"))
    costs = CONV[CORE]
    once = MODEL.following_cycles(block, block, jumped=True) if rounds > 1 else MODEL.straight_cycles(block)
    modelled = rounds * (once + POINTERS) + (MODEL.mispredict_cycles if rounds > 1 else 0)
    told = rounds * steps * (costs.wide_step if wide else costs.narrow_step)[columns, channels] + costs.loop.of(rounds)
    # A single column of four channels waits less for its first loads.
    assert told == pytest.approx(modelled, abs=4 * rounds if (columns, channels) == (1, 4) else rounds)
    assert spec.step_bytes(columns) * steps == 4 * len(block)


@pytest.mark.parametrize(("columns", "channels"), TILES)
@pytest.mark.parametrize("wide", [False, True])
def test_a_further_step_costs_exactly_what_the_model_says(columns: int, channels: int, wide: bool) -> None:
    costs = CONV[CORE]
    short, long = (
        MODEL.straight_cycles(blocks(convolution(columns, channels, wide, pairs, pairs).source("SYMBOL"))[0]) for pairs in (8, 24)
    )
    assert (long - short) / 16 == (costs.wide_step if wide else costs.narrow_step)[columns, channels]


@pytest.mark.parametrize("tiles", [1, 2])
@pytest.mark.parametrize("output_rows", [1, 2])
def test_the_products_of_winograds_filtering_cost_what_the_model_says(output_rows: int, tiles: int) -> None:
    spec = WinogradSpec(STAGE, 16, 16, 16, 16, 0, 1, output_rows, tiles, CORE)
    steps, rounds = spec.loop
    block = next(block for block in blocks(spec.source("SYMBOL")) if len(block) >= 9 * steps)
    cycles = MODEL.following_cycles(block, block, jumped=True) if rounds > 1 else MODEL.straight_cycles(block)
    # The first products wait for their loads; the table counts that to the loop.
    assert cycles == WINOGRAD[CORE].step[tiles] * steps + (1 if tiles == 1 else 3)


def test_on_cortex_m4_a_step_costs_its_instructions() -> None:
    costs = CONV[CoreForm.CORTEX_M4]
    assert costs.narrow_step == costs.narrow_instructions
    assert costs.wide_step == costs.wide_instructions


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("columns", [1, 2])
def test_on_cortex_m4_a_step_of_four_channels_has_as_many_instructions_as_the_table_says(columns: int, wide: bool) -> None:
    short, long = (
        statements(replace(convolution(columns, 4, wide, pairs, pairs), core=CoreForm.CORTEX_M4).source("SYMBOL")) for pairs in (8, 24)
    )
    costs = CONV[CoreForm.CORTEX_M4]
    assert (long - short) / 16 == (costs.wide_step if wide else costs.narrow_step)[columns, 4]


@pytest.mark.parametrize("tiles", [1, 2])
def test_on_cortex_m4_a_step_of_winograds_filtering_has_as_many_instructions_as_the_table_says(tiles: int) -> None:
    specs = [WinogradSpec(STAGE, 16, channels, 16, 16, 0, 1, 2, tiles) for channels in (16, 32)]
    short, long = (statements(spec.source("SYMBOL").split("_products(")[1]) for spec in specs)
    assert (long - short) / 8 == WINOGRAD[CoreForm.CORTEX_M4].step[tiles]
