"""What the pieces of convolution kernels cost on the core that they have the form for, for choosing between variants of a layer.

On Cortex-M4 the unit is an executed instruction, on Cortex-M7 an estimated cycle (`CoreForm.cost_unit`). Steps and loops of Cortex-M7 are
what `tinyc.cycles` makes of the scheduled statements: tests/kernels/test_costs.py renders kernels and holds this table against the model.
What the compiler writes around them (pointers, jumps, gathering) was fitted to profiles of networks on both cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tinyc.backends.cortexm.kernels.statements import CoreForm


@dataclass(frozen=True)
class LoopCost:
    """Of a loop over pairs besides its steps: one that runs through once; otherwise each round, and the way out."""

    once: float
    round: float
    exit: float

    def of(self, rounds: int) -> float:
        """Of a loop of `rounds` rounds."""
        return self.once if rounds == 1 else self.round * rounds + self.exit


@dataclass(frozen=True)
class ConvCosts:
    """Convolution by im2col. Steps are by the columns and channels of a tile."""

    narrow_step: Mapping[tuple[int, int], float]
    """With weights that are still to be unpacked."""
    wide_step: Mapping[tuple[int, int], float]
    """With weights that are int16 pairs."""
    narrow_instructions: Mapping[tuple[int, int], float]
    """How many instructions the steps have, of four bytes each."""
    wide_instructions: Mapping[tuple[int, int], float]
    loop: LoopCost
    tile: float
    """Pointers and jumps of a tile."""
    channel: float
    """Start values and constants of a channel of it."""
    output: float
    """Requantising and storing one value."""
    unpacked_pair: float
    """Unpacking the weights of two channels to scratch, for each pair of values."""
    unpacking: float
    """The same, once."""
    gathered_pair: float
    """Gathering a patch, for each pair of values."""
    gathered_run: float
    """The same, for each stretch of input bytes."""
    arguments: float
    """More for a tile whose sizes are arguments."""
    unproved: float
    """More for four outputs of a channel without a proof whose requantisation is a call."""


@dataclass(frozen=True)
class DepthwiseCosts:
    """Depthwise convolution on planes. Narrow rows, as strips have them, spend most on what does not depend on their width."""

    step: float
    """A load or a product of a tile."""
    output: float
    """Requantising and storing one value."""
    scaled: float
    """More for each value of a layer without any proof."""
    unproved: float
    """More for a tile of a layer some of whose channels have no proof."""
    line: float
    """A row of outputs of one channel, once."""
    weights_word: float
    """Unpacking four weights, calls included."""
    padding: float
    """Writing a word of the planes before the first row."""
    gathering: float
    """Gathering a row of up to four channels, once."""
    gathered: float
    """The same, for each value of two neighbouring columns."""
    edge: float
    """The same, for each value whose neighbour is padding."""


@dataclass(frozen=True)
class WinogradCosts:
    """Winograd's filtering; pairs are by rows of output (1 by F(2, 3), 2 by F(2x2, 3x3))."""

    step: Mapping[int, float]
    """Products of a pair and four channels, by the tiles of a group."""
    loop: LoopCost
    """Of one position, with its sums stored."""
    outputs: float
    """Four channels of a group of columns, once."""
    output: Mapping[int, float]
    """Each value of them."""
    transform: float
    """The inputs of a group, once."""
    transformed: Mapping[int, float]
    """Each of their channels."""


@dataclass(frozen=True)
class AddingCosts:
    """The addition of a tensor to the outputs of a convolution, fitted to profiles of synthetic convolutions with and without it.

    A tile's addition varies by a third around this, with what the compiler makes of the registers that it takes.
    """

    output: float
    """Each value that the convolution adds to as it stores it."""
    channel: float
    """The same, once for a channel of a tile."""
    bounded: float
    """More for each value where the sum has bounds of its own, in whatever kernel."""
    apart: float
    """Each value, where a function for a row adds behind the convolution."""
    alone: float
    """Each value, where the addition is a call of its own."""
    row: float
    """The same, once for a row."""

    def fused(self, outputs: float, channels: float, bounded: bool) -> float:
        """Of a convolution's addition to so many values, of so many channels of tiles."""
        return (self.output + (self.bounded if bounded else 0)) * outputs + self.channel * channels


CONV: Final[Mapping[CoreForm, ConvCosts]] = {
    CoreForm.CORTEX_M4: ConvCosts(
        narrow_step={(1, 2): 6, (2, 2): 8, (3, 2): 11, (4, 2): 13, (1, 4): 9, (2, 4): 15},
        wide_step={(1, 2): 4, (2, 2): 6, (3, 2): 9, (4, 2): 11, (1, 4): 5.5, (2, 4): 11},
        narrow_instructions={(1, 2): 6, (2, 2): 8, (3, 2): 11, (4, 2): 13, (1, 4): 9, (2, 4): 15},
        wide_instructions={(1, 2): 4, (2, 2): 6, (3, 2): 9, (4, 2): 11, (1, 4): 5.5, (2, 4): 11},
        loop=LoopCost(once=3, round=7, exit=0),
        tile=8,
        channel=6,
        output=3,
        unpacked_pair=4.5,
        unpacking=25,
        gathered_pair=1.5,
        gathered_run=30,
        arguments=4,
        unproved=35,
    ),
    CoreForm.CORTEX_M7: ConvCosts(
        narrow_step={(1, 2): 3, (2, 2): 4.5, (3, 2): 7, (4, 2): 9, (1, 4): 6, (2, 4): 10},
        wide_step={(1, 2): 2.5, (2, 2): 4, (3, 2): 6, (4, 2): 8, (1, 4): 4.5, (2, 4): 8},
        narrow_instructions={(1, 2): 6, (2, 2): 9, (3, 2): 12, (4, 2): 15, (1, 4): 11, (2, 4): 16},
        wide_instructions={(1, 2): 5, (2, 2): 8, (3, 2): 11, (4, 2): 14, (1, 4): 9, (2, 4): 14},
        loop=LoopCost(once=5, round=5, exit=6),
        tile=4,
        channel=3,
        output=2.6,
        unpacked_pair=3.4,
        unpacking=40,
        gathered_pair=2.6,
        gathered_run=20,
        arguments=7,
        unproved=35,
    ),
}
DEPTHWISE: Final[Mapping[CoreForm, DepthwiseCosts]] = {
    CoreForm.CORTEX_M4: DepthwiseCosts(
        step=1,
        output=4.5,
        scaled=4,
        unproved=6.2,
        line=24,
        weights_word=7.2,
        padding=2.3,
        gathering=0,
        gathered=1.6,
        edge=2.8,
    ),
    CoreForm.CORTEX_M7: DepthwiseCosts(
        step=0.86,
        output=3,
        scaled=8,
        unproved=4.4,
        line=29,
        weights_word=6.9,
        padding=0.4,
        gathering=11.4,
        gathered=1.5,
        edge=3.6,
    ),
}
WINOGRAD: Final[Mapping[CoreForm, WinogradCosts]] = {
    CoreForm.CORTEX_M4: WinogradCosts(
        step={1: 5.5, 2: 11},
        loop=LoopCost(once=20, round=4, exit=16),
        outputs=20,
        output={1: 9, 2: 16},
        transform=60,
        transformed={1: 32, 2: 54},
    ),
    CoreForm.CORTEX_M7: WinogradCosts(
        step={1: 4.5, 2: 8},
        loop=LoopCost(once=14, round=5, exit=34),
        outputs=0,
        output={1: 9, 2: 12},
        transform=60,
        transformed={1: 41, 2: 77},
    ),
}
ADDING: Final[Mapping[CoreForm, AddingCosts]] = {
    CoreForm.CORTEX_M4: AddingCosts(output=5, channel=2.3, bounded=6.2, apart=8.4, alone=7.2, row=10),
    CoreForm.CORTEX_M7: AddingCosts(output=5, channel=1.7, bounded=4.6, apart=9.5, alone=8.3, row=10),
}
