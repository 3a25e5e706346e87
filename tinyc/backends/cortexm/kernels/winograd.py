"""Convolution 3x3 with stride 1 by Winograd's minimal filtering: fewer products for more weights and some additions.

F(2, 3) computes two neighbouring outputs of a 3-tap filter from four products instead of six, F(2x2, 3x3) four outputs from 16
products instead of 36 (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016). With G doubled, all its entries
are integers: twice or four times the accumulator comes out exactly, from int16 pairs that SMLAD multiplies, and the shift that adds
fraction bits, or one to the right, takes the factor away.

    G = [[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]            transforms weights, at compile time
    B = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]   transforms four neighbouring inputs
    A = [[1, 1, 1, 0], [0, 1, -1, -1]]                           transforms four sums of products into two outputs

A group is two tiles side by side, four output columns. Its inputs are transformed once; then four output channels at a time, each of the 4
(16) positions is a small matrix product of [2 tiles x pairs] and [pairs x 4 channels], whose eight sums stay in registers. Where scratch is
short, a group is a single tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, render
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.kernels.costs import ADDING, WINOGRAD
from tinyc.backends.cortexm.kernels.output_stage import OutputStage
from tinyc.backends.cortexm.kernels.residual import FusedAddition
from tinyc.backends.cortexm.kernels.statements import CoreForm

KERNEL = 3
TILE_COLUMNS, GROUP_CHANNELS = 2, 4
_LARGEST_SUM = 2**29
"""Sums of products that stay below can be added and subtracted in int32 by the output transform."""
_UNROLLED_AT_MOST = {1: 16, 2: 32}
"""Pairs in the body of the loop over them, by rows of output: F(2x2, 3x3) goes through it sixteen times a group."""
_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], dtype=np.int64)


@dataclass(frozen=True)
class WinogradSpec(KernelSpec):
    """`output_rows` rows of output, 1 by F(2, 3) or 2 by F(2x2, 3x3), from the `output_rows` + 2 rows under the kernel.

    Rows passed in may be NULL, padding; columns left and right of the input are padding. Input and output channels are multiples of 4.
    """

    output_stage: OutputStage
    input_width: int
    input_channels: int
    output_width: int
    output_channels: int
    input_zero_point: int
    pad_left: int = 0
    output_rows: int = 1
    tiles: int = 2
    """Tiles of a group, 1 or 2."""
    core: CoreForm = CoreForm.CORTEX_M4
    addition: FusedAddition | None = None
    """As in ConvSpec; `output_rows` rows of the other tensor."""

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_kernels.h",)

    def __post_init__(self) -> None:
        if min(self.input_width, self.input_channels, self.output_width, self.output_channels) < 1 or self.pad_left < 0:
            raise ValueError(f"sizes must be positive and padding not negative: {self}")
        if self.input_channels % 4 or self.output_channels % GROUP_CHANNELS or {self.output_rows, self.tiles} - {1, 2}:
            raise ValueError(f"needs multiples of 4 channels, 1 or 2 rows, and 1 or 2 tiles: {self}")

    @property
    def family(self) -> str:
        return ("winograd_2x2_3x3" if self.output_rows == 2 else "winograd_2_3") + ("_add" if self.addition is not None else "")

    @property
    def windows(self) -> tuple[int, ...]:
        window = self.output_rows + KERNEL - 1
        return (window,) if self.addition is None else (window, 0)

    @property
    def takes_weights(self) -> bool:
        """Whether the weights of four channels are loaded by one instruction, as in ConvSpec: the sums of two tiles leave no registers."""
        return self.core is CoreForm.CORTEX_M4 and self.tiles == 1

    @property
    def positions(self) -> int:
        """Products of one tile and pair of channels."""
        return 16 if self.output_rows == 2 else 4

    @property
    def pairs(self) -> int:
        """Pairs of values that are summed at one position: over channels, and over kernel rows where those are not transformed."""
        return self.input_channels // 2 * (1 if self.output_rows == 2 else KERNEL)

    @property
    def scale_bits(self) -> int:
        """The sums are 2**scale_bits times the accumulators."""
        return self.output_rows

    @property
    def groups(self) -> list[tuple[int, int]]:
        """How a row is divided: (repetitions, columns that are stored)."""
        full, rest = divmod(self.output_width, self.group_columns)
        return [(count, columns) for count, columns in ((full, self.group_columns), (1, rest)) if count and columns]

    @property
    def group_columns(self) -> int:
        """Columns of output of a whole group."""
        return self.tiles * TILE_COLUMNS

    @property
    def first_inside(self) -> int:
        """First group, by its first output column, whose inputs all lie in the image."""
        return -(-self.pad_left // self.group_columns) * self.group_columns

    @property
    def last_inside(self) -> int:
        """Last output column at which a group can start so that its inputs all lie in the image."""
        return self.input_width - self.group_inputs + self.pad_left

    @property
    def group_inputs(self) -> int:
        """Columns of input under a group."""
        return self.group_columns + KERNEL - 1

    @property
    def loop(self) -> tuple[int, int]:
        """The loop over pairs, as (pairs in the body, iterations)."""
        steps = next(steps for steps in range(_UNROLLED_AT_MOST[self.output_rows], 0, -1) if self.pairs % steps == 0)
        return steps, self.pairs // steps

    @property
    def transformed_words(self) -> int:
        """Words of a group's transformed inputs, in scratch: [position][pair][tile]."""
        return self.positions * self.pairs * self.tiles

    @property
    def sum_words(self) -> int:
        """Words of a group's sums for four channels, in scratch behind them: [position][channel][tile]."""
        return self.positions * GROUP_CHANNELS * self.tiles

    @property
    def border_bytes(self) -> int:
        """Bytes of the inputs of a group that lies partly outside the image: [row][column][channel]. Sums come into their place."""
        rows = self.output_rows + KERNEL - 1 if self.output_rows == 2 else 1
        return -(-rows * self.group_inputs * self.input_channels // 8) * 8

    @property
    def scratch_bytes(self) -> int:
        return 4 * self.transformed_words + max(4 * self.sum_words, self.border_bytes)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the table of weights."""
        return self.output_channels * self.positions * self.pairs * 4

    @property
    def estimated_cost(self) -> int:
        """About what one row of output costs, in the unit of `core`, input transform included."""
        costs, (steps, rounds) = WINOGRAD[self.core], self.loop
        groups = sum(count for count, _ in self.groups)
        products = self.positions * (costs.step[self.tiles] * steps * rounds + costs.loop.of(rounds))
        values = self.group_columns * self.output_rows
        outputs = GROUP_CHANNELS * values * costs.output[self.output_rows] + costs.outputs
        if self.addition is not None:
            outputs += ADDING[self.core].fused(GROUP_CHANNELS * values, GROUP_CHANNELS, not self.addition.clamped_by_saturation)
        # Counted for the six columns of input under two tiles.
        transform = costs.transformed[self.output_rows] * self.input_channels * self.group_inputs / 6 + costs.transform
        return round(groups * (transform + self.output_channels // GROUP_CHANNELS * (products + outputs)) / self.output_rows)

    def source(self, symbol: str) -> str:
        return render("winograd.c.j2", symbol=symbol, spec=self, stage=self.output_stage)


def winograd_spec(spec: ConvSpec, output_rows: int, tiles: int = 2) -> WinogradSpec | None:
    """`spec` by Winograd's filtering, or None where its shape is another one."""
    plain = (spec.kernel_height, spec.kernel_width, spec.stride_width, spec.dilation_width) == (KERNEL, KERNEL, 1, 1)
    if not plain or spec.input_channels % 4 or spec.output_channels % GROUP_CHANNELS or spec.plane_words:
        return None
    sizes = (spec.input_width, spec.input_channels, spec.output_width, spec.output_channels)
    return WinogradSpec(spec.output_stage, *sizes, spec.input_zero_point, spec.pad_left, output_rows, tiles, spec.core, spec.addition)


def sums_fit(weights: npt.NDArray[np.int8], output_rows: int) -> bool:
    """Whether no sum of products of `weights` (O, 3, 3, I) can grow beyond what the output transform can add up in int32."""
    transformed = np.abs(transform_weights(weights, output_rows))
    # An input transform adds two values, or four.
    return bool((transformed.sum(axis=(2, 3)) * (256 if output_rows == 1 else 512)).max(initial=0) < _LARGEST_SUM)


def transform_weights(weights: npt.NDArray[np.int8], output_rows: int) -> npt.NDArray[np.int64]:
    """`weights` (O, 3, 3, I) times 2 or 4, (O, positions, kernel rows that are left, I)."""
    across: npt.NDArray[np.int64] = np.einsum("jx,oyxi->ojyi", _G, weights.astype(np.int64))
    if output_rows == 1:
        return across
    both: npt.NDArray[np.int64] = np.einsum("ky,ojyi->okji", _G, across)
    return both.reshape(weights.shape[0], 16, 1, weights.shape[3])


def pack_weights(spec: WinogradSpec, weights: npt.NDArray[np.int8]) -> npt.NDArray[np.uint32]:
    """The table of weights (O, 3, 3, I): [group of channels][position][pair][channel], a pair being channels (c, c + 2) of the input.

    Raises ValueError for another shape.
    """
    if weights.shape != (spec.output_channels, KERNEL, KERNEL, spec.input_channels):
        raise ValueError(f"weights have shape {weights.shape}, the spec needs {spec.output_channels} x 3 x 3 x {spec.input_channels}")
    transformed = transform_weights(weights, spec.output_rows)
    # Unpacking a word of four bytes gives the channels (0, 2) and (1, 3).
    quads = transformed.reshape(*transformed.shape[:3], -1, 2, 2)
    pairs = quads.swapaxes(-1, -2).reshape(spec.output_channels, spec.positions, spec.pairs, 2)
    grouped = pairs.reshape(-1, GROUP_CHANNELS, spec.positions, spec.pairs, 2).transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(grouped.astype("<i2")).reshape(-1).view("<u4").astype(np.uint32)
