"""Convolution: patches of four output columns as an int16 matrix, times all output channels, two at a time.

The body gathers the patches of up to four neighbouring output columns into scratch, unpacked to int16 pairs and interleaved by column,
so that one LDRD loads the same pair of two columns. Then it walks the output channels in twos: eight accumulators stay in registers,
each weight word feeds eight SMLAD. Weights stay int8 in flash: a word holds a pair of values of two channels, in the byte order in which
SXTB16 and SXTB16 with a rotation by 8 deliver the pairs. The input zero point is part of the bias, and padding is the zero point.

Where scratch is short, a tile is two columns or one, of four channels at a time: as many products a load with half the scratch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table, narrowed_window, render
from tinyc.backends.cortexm.kernels.costs import ADDING, CONV
from tinyc.backends.cortexm.kernels.output_stage import OutputStage, channel_table
from tinyc.backends.cortexm.kernels.residual import FusedAddition
from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.memory.row_access import EACH_ROW, RowAccess
from tinyc.memory.strips import Across, Range
from tinyc.numerics.requantize import ChannelRequantization

_UNROLLED_AT_MOST = 16
_LOOP_STEPS = range(12, 5, -1)
_LOOP_BYTES = 20
"""Code of a loop besides its steps."""
_TEMPORARIES = {1: (4, 4), 2: (4, 4), 3: (2, 4), 4: (2, 2)}
"""Registers for weights and for values of patches by the columns of a tile, beside two accumulators a column and two pointers."""

_TEMPORARIES_OF_FOUR = {1: (4, 4), 2: (2, 2)}
"""The same for tiles of four channels; the form for Cortex-M4 takes two and two."""

LONGEST_BODY = 32
"""Pairs in the body of the inner loop at most: its loads reach no further."""

TILE_COLUMNS = 4
"""Columns whose accumulators, for two channels, fit the registers."""
FEW_COLUMNS = 2
"""The same for four channels."""


@dataclass(frozen=True)
class ConvSpec(KernelSpec):
    """One output row of a convolution.

    The rows passed in are those under the kernel, so vertical stride, dilation and padding are the caller's. Columns right of the
    input are padding like those left of it. `columns` is the number of output columns gathered at a time: up to 4 are one tile, for
    which weights are unpacked as they are used; several tiles share weights that are unpacked to scratch once for all of them. Fewer
    columns need less scratch and more instructions.

    A 1x1 convolution with stride 1 and no padding takes a plain pointer instead of a window; its "row" may then be any number of pixels
    that lie one after the other, for instance several rows or a whole tensor.
    """

    output_stage: OutputStage
    input_width: int
    input_channels: int
    output_width: int
    output_channels: int
    kernel_height: int
    kernel_width: int
    input_zero_point: int
    stride_width: int = 1
    dilation_width: int = 1
    pad_left: int = 0
    columns: int = TILE_COLUMNS
    rows_padded: bool = False
    """Whether some output row reaches above or below the input, so that a row passed in can be NULL."""
    weights_are_wide: bool = False
    """Whether the table of weights holds int16 pairs, ready to be multiplied, instead of int8."""
    plane_words: int = 0
    """For an output in a ring of int16 planes (`DepthwiseRingSpec`): words of a channel's plane. 0 is an output of int8, channels last."""
    plane_pitch: int = 0
    """Words of a row of a plane."""
    plane_pad: int = 0
    """Columns of padding before the first output column of a plane's row."""
    shares_code: bool = False
    """Whether sizes are arguments of the function that computes all channels of several tiles, so that other layers can share it."""
    core: CoreForm = CoreForm.CORTEX_M4

    unroll: int = 0
    """Pairs in the body of the inner loop; 0 leaves it to the rule of `loops`."""
    tile_channels: int = 2
    """Output channels of a tile: 2, or 4 of at most two columns, where channels are a multiple of 4."""
    addition: FusedAddition | None = None
    """What is done with the outputs and a row of another tensor, the second input; its constants are a third table."""
    adds_apart: bool = False
    """Whether outputs go to scratch first, a pass or a tile at a time, so that all other code is that of a layer without an addition."""

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_kernels.h",)

    def __post_init__(self) -> None:
        sizes = (self.input_width, self.input_channels, self.output_width, self.output_channels, self.kernel_height, self.kernel_width)
        if min(*sizes, self.stride_width, self.dilation_width) < 1 or self.pad_left < 0:
            raise ValueError(f"sizes, strides and dilations must be positive and padding not negative: {self}")
        if self.plane_words and 2 * self.plane_pitch < self.plane_pad + self.output_width:
            raise ValueError(f"{self.output_width} columns do not fit the rows of a plane: {self}")
        if self.shares_code and (not self.hoisted or self.plane_words):
            raise ValueError(f"only convolutions of several tiles into channels last can share code: {self}")
        if self.addition is not None and self.plane_words:
            raise ValueError(f"outputs in planes have no place in common with another tensor: {self}")
        if self.adds_apart and (self.addition is None or not self.addition.clamped_by_saturation):
            raise ValueError(f"only an addition without bounds of its own can be made apart: {self}")
        if not 0 <= self.unroll <= LONGEST_BODY:
            raise ValueError(f"the body of the inner loop can hold 1 to {LONGEST_BODY} pairs, not {self.unroll}")
        if self.tile_channels not in (2, 4):
            raise ValueError(f"a tile has 2 or 4 channels, not {self.tile_channels}")
        if self.tile_channels == 4 and (self.columns > FEW_COLUMNS or self.output_channels % 4):
            raise ValueError(f"tiles of 4 channels have 1 or 2 columns, and need a multiple of 4 channels: {self}")
        if self.columns < 1 or (self.columns > TILE_COLUMNS and self.columns % TILE_COLUMNS and self.columns < self.output_width):
            raise ValueError(f"columns must be 1 to {TILE_COLUMNS}, a multiple of {TILE_COLUMNS} or the whole row, but is {self.columns}")

    @property
    def family(self) -> str:
        stride = f"_s{self.stride_width}" if self.stride_width > 1 else ""
        return f"conv_{self.kernel_height}x{self.kernel_width}{stride}{'_add' if self.addition is not None else ''}"

    def across(self, width: int) -> Across | None:
        access = RowAccess(self.kernel_width, self.stride_width, self.dilation_width, self.pad_left)
        added = () if self.addition is None else ((width, EACH_ROW),)
        return Across(width, ((self.input_width, access), *added)) if self.output_width == width else None

    def narrowed(self, columns: Range, inputs: tuple[Range | None, ...], width: int) -> KernelSpec:
        return narrowed_window(self, self.stride_width, columns, inputs)

    @property
    def takes_row(self) -> bool:
        return self.plane_words > 0

    @property
    def output_slot_bytes(self) -> int | None:
        return 4 * self.plane_pitch if self.plane_words else None

    @property
    def column_bytes(self) -> int:
        """Bytes between outputs of neighbouring columns."""
        return 2 if self.plane_words else self.output_channels

    @property
    def channel_bytes(self) -> int:
        """Bytes between outputs of neighbouring channels."""
        return 4 * self.plane_words or 1

    @property
    def direct(self) -> bool:
        """Whether a patch is just the pixel itself, so that the input is one contiguous row."""
        single = self.kernel_height == self.kernel_width == self.stride_width == 1
        return single and self.pad_left == 0 and self.output_width == self.input_width and not self.rows_padded

    @property
    def windows(self) -> tuple[int, ...]:
        window = 0 if self.direct else self.kernel_height
        return (window,) if self.addition is None else (window, 0)

    @property
    def padded(self) -> bool:
        """Whether some output column's patch reaches over the left or right edge of the input."""
        last = (self.output_width - 1) * self.stride_width - self.pad_left + (self.kernel_width - 1) * self.dilation_width
        return self.pad_left > 0 or last >= self.input_width

    @property
    def tile_columns(self) -> int:
        """Output columns that share one pass over the weights."""
        return min(self.columns, self.output_width, TILE_COLUMNS)

    @property
    def hoisted(self) -> bool:
        """Whether weights are unpacked to scratch, once for all tiles of a pass, instead of in each tile."""
        return min(self.columns, self.output_width) > TILE_COLUMNS and not self.weights_are_wide

    @property
    def pairs_of_weights(self) -> bool:
        """Whether the inner loop finds weights as int16 pairs."""
        return self.hoisted or self.weights_are_wide

    @property
    def passes(self) -> list[tuple[int, int]]:
        """How a row is divided: (repetitions, columns gathered at a time)."""
        gathered = min(self.columns, self.output_width) if self.hoisted else self.tile_columns
        full, rest = divmod(self.output_width, gathered)
        return [(repetitions, columns) for repetitions, columns in ((full, gathered), (1, rest)) if repetitions and columns]

    @property
    def runs_per_row(self) -> int:
        """Contiguous stretches of input bytes in one kernel row."""
        return 1 if self.dilation_width == 1 else self.kernel_width

    @property
    def run_length(self) -> int:
        """Bytes of one such stretch."""
        return self.kernel_width * self.input_channels // self.runs_per_row

    @property
    def border_bytes(self) -> int:
        """Scratch for one stretch that is partly padding; dilated kernels pad whole pixels and need none."""
        return -(-self.run_length // 8) * 8 if self.padded and self.runs_per_row == 1 and self.kernel_width > 1 else 0

    @property
    def scratch_bytes(self) -> int:
        unpacked = 8 * len(self.pairs) if self.hoisted else 0
        return self.matrix_words * 4 + unpacked + self.border_bytes + self.apart_bytes

    @property
    def apart_bytes(self) -> int:
        """Scratch for the outputs that wait for an addition apart, at its end."""
        columns = self.passes[0][1] if self.hoisted else self.tile_columns
        return -(-columns * self.output_channels // 8) * 8 if self.adds_apart else 0

    @property
    def matrix_words(self) -> int:
        """Words of the gathered patches, rounded up to 8 bytes."""
        tiles = -(-self.passes[0][1] // self.tile_columns)
        return -(-len(self.pairs) * self.tile_columns * tiles // 2) * 2

    @cached_property
    def _layout(self) -> tuple[list[tuple[int, int | None]], list[tuple[int, int, bool]]]:
        pairs: list[tuple[int, int | None]] = []
        runs: list[tuple[int, int, bool]] = []
        waiting: int | None = None
        for run in range(self.kernel_height * self.runs_per_row):
            start, first = run * self.run_length, len(pairs)
            words = self.run_length // 4 * 4
            for word in range(start, start + words, 4):
                pairs += [(word, word + 2), (word + 1, word + 3)]
            if self.run_length % 4 >= 2:
                pairs.append((start + words, start + words + 1))
            slot, upper = -1, False
            if self.run_length % 2:
                value = start + self.run_length - 1
                if waiting is None:
                    slot = waiting = len(pairs)
                    pairs.append((value, None))
                else:
                    slot, upper = waiting, True
                    pairs[slot] = (pairs[slot][0], value)
                    waiting = None
            runs.append((first, slot, upper))
        return pairs, runs

    @property
    def pairs(self) -> list[tuple[int, int | None]]:
        """Which two values of a patch (indices into kernel height x width x channels) each int16 pair holds; None is nothing."""
        return self._layout[0]

    @property
    def runs(self) -> list[tuple[int, int, bool]]:
        """Per stretch: its first pair, the pair of its odd last value (-1: none), and whether that value is the upper one."""
        return self._layout[1]

    @property
    def loops(self) -> list[tuple[int, int]]:
        """The loops over a patch's pairs, as (pairs in the body, iterations): long bodies spend little on the loop, but cost flash."""
        count = len(self.pairs)
        if self.unroll:
            whole, rest = divmod(count, self.unroll)
            return [(pairs, times) for pairs, times in ((self.unroll, whole), (rest, 1)) if pairs and times]
        if count <= _UNROLLED_AT_MOST:
            return [(count, 1)]
        exact = next((steps for steps in _LOOP_STEPS if count % steps == 0), None)
        return [(exact, count // exact)] if exact else [(8, count // 8), (count % 8, 1)]

    def temporaries(self, columns: int) -> tuple[list[str], list[str]]:
        """Variables for weights and for values of patches, in the form for Cortex-M7: as many as there are registers left over."""
        longest = max(steps for steps, _ in self.loops)
        weights, values = _TEMPORARIES[columns] if self.tile_channels == 2 else self._temporaries_of_four(columns)
        return [f"w{number}" for number in range(min(weights, 2 * longest))], [
            f"x{number}" for number in range(min(values, columns * longest))
        ]

    def takes_weights(self, columns: int) -> bool:
        """Whether weights of four channels are loaded by one instruction. Of more columns the sums leave no registers for that; on
        Cortex-M7 it goes beside no other instruction.
        """
        return self.core is CoreForm.CORTEX_M4 and self.tile_channels == 4 and columns == 1

    def _temporaries_of_four(self, columns: int) -> tuple[int, int]:
        return _TEMPORARIES_OF_FOUR[columns] if self.core is CoreForm.CORTEX_M7 else (2, 2)

    @property
    def estimated_gathering(self) -> int:
        """About what it costs to gather the patches of one row, in the unit of `core`."""
        costs = CONV[self.core]
        return round(
            self.output_width * (costs.gathered_pair * len(self.pairs) + (0 if self.direct else costs.gathered_run * len(self.runs)))
        )

    @property
    def estimated_cost(self) -> int:
        """About what one row costs, in the unit of `core`, gathering left out: for comparing variants."""
        costs, pairs = CONV[self.core], len(self.pairs)
        unpacking = costs.unpacked_pair * pairs + costs.unpacking if self.hoisted else 0
        total = sum(
            repetitions * (unpacking + sum(count * self._tile_cost(columns) for columns, count in self.tiles_of(gathered)))
            for repetitions, gathered in self.passes
        )
        return round(total * -(-self.output_channels // self.tile_channels))

    def tiles_of(self, gathered: int) -> list[tuple[int, int]]:
        """How so many columns are divided into tiles: (columns, repetitions)."""
        full, rest = divmod(gathered, self.tile_columns)
        return [(columns, count) for columns, count in ((self.tile_columns, full), (rest, 1)) if columns and count]

    def step_bytes(self, columns: int) -> int:
        """Bytes of code of a step, in a tile of so many columns; those of two steps differ by one load, if at all."""
        costs = CONV[self.core]
        return round(4 * (costs.wide_instructions if self.pairs_of_weights else costs.narrow_instructions)[columns, self.tile_channels])

    @property
    def loop_bytes(self) -> int:
        """Bytes of code of all inner loops: those of whole tiles, and those of what is left of a row."""
        kinds = {columns for _, gathered in self.passes for columns, _ in self.tiles_of(gathered)}
        return sum(steps * self.step_bytes(columns) + _LOOP_BYTES for columns in kinds for steps, _ in self.loops)

    def _tile_cost(self, columns: int) -> float:
        """Of a tile."""
        costs = CONV[self.core]
        step = (costs.wide_step if self.pairs_of_weights else costs.narrow_step)[columns, self.tile_channels]
        products = sum(rounds * steps * step + costs.loop.of(rounds) for steps, rounds in self.loops)
        adding = self._adding(columns * self.tile_channels)
        return products + costs.tile + self.tile_channels * (costs.channel + columns * costs.output) + adding

    def _adding(self, outputs: int) -> float:
        """Of the addition to so many outputs of a tile."""
        if self.addition is None:
            return 0.0
        costs = ADDING[self.core]
        bounded = not self.addition.clamped_by_saturation
        return costs.apart * outputs if self.adds_apart else costs.fused(outputs, self.tile_channels, bounded)

    def shared_source(self, symbol: str) -> str:
        return self._render("shared", symbol, symbol) if self.shares_code else ""

    def own_source(self, symbol: str, shared: str) -> str:
        return self._render("own", symbol, shared)

    def source(self, symbol: str) -> str:
        return self.shared_source(f"{symbol}_columns") + self._render("own", symbol, f"{symbol}_columns")

    def _render(self, part: str, symbol: str, columns: str) -> str:
        return render("conv.c.j2", part=part, symbol=symbol, columns_symbol=columns, spec=self, stage=self.output_stage)


def pack(
    spec: ConvSpec,
    weights: npt.NDArray[np.int8],
    bias: npt.NDArray[np.int32] | None,
    requantization: ChannelRequantization,
) -> tuple[Table, ...]:
    """Tables `weights` and `channels` of a layer with int8 `weights` (O, H, W, I) and int32 `bias` (O,) or None.

    Raises ValueError when the shapes or the requantisation are not those of `spec`.
    """
    expected = (spec.output_channels, spec.kernel_height, spec.kernel_width, spec.input_channels)
    if weights.shape != expected:
        raise ValueError(f"weights have shape {weights.shape}, the spec needs {expected}")
    matrix = weights.reshape(spec.output_channels, -1)
    # One more column of zeros stands for the missing value of a half-filled pair, one more row for the partner of an odd channel.
    padded = np.zeros((-(-spec.output_channels // 2) * 2, matrix.shape[1] + 1), dtype=np.int8)
    padded[: matrix.shape[0], :-1] = matrix
    low = [low for low, _ in spec.pairs]
    high = [matrix.shape[1] if high is None else high for _, high in spec.pairs]
    channel_pairs = padded.reshape(-1, 2, padded.shape[1])
    words = np.stack([channel_pairs[:, 0, low], channel_pairs[:, 1, low], channel_pairs[:, 0, high], channel_pairs[:, 1, high]], axis=-1)
    packed = np.ascontiguousarray(words).view("<u4").reshape(-1).astype(np.uint32)
    if spec.tile_channels == 4:
        packed = by_four_channels(packed, len(spec.pairs))
    table = Table("weights", "uint32_t", widen(packed) if spec.weights_are_wide else packed)
    return table, channel_table(spec.output_stage, requantization, matrix, bias, spec.input_zero_point, multiple=2)


def unpack(spec: ConvSpec, packed: npt.NDArray[np.uint32]) -> npt.NDArray[np.int8]:
    """The weights (O, H, W, I) in a table of int8 weights that `pack` made for `spec`, with tiles of two channels."""
    words = packed.astype("<u4").view(np.int8).reshape(-1, len(spec.pairs), 4)
    size = spec.kernel_height * spec.kernel_width * spec.input_channels
    matrix = np.zeros((words.shape[0], 2, size + 1), dtype=np.int8)
    low = [low for low, _ in spec.pairs]
    high = [size if high is None else high for _, high in spec.pairs]
    for byte, places in enumerate((low, low, high, high)):
        matrix[:, byte % 2, places] = words[:, :, byte]
    weights = matrix[:, :, :size].reshape(-1, spec.kernel_height, spec.kernel_width, spec.input_channels)
    return weights[: spec.output_channels]


def widen(packed: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Words of four int8 weights as two int16 pairs each: bytes 0 and 2, then bytes 1 and 3."""
    pairs = packed.astype("<u4").view(np.int8).reshape(-1, 2, 2).swapaxes(1, 2).astype("<i2")
    return np.ascontiguousarray(pairs).reshape(-1).view("<u4").astype(np.uint32)


def by_four_channels(packed: npt.NDArray[np.uint32], pairs: int) -> npt.NDArray[np.uint32]:
    """Words of int8 weights for tiles of two channels, `pairs` each, in the order for tiles of four."""
    return np.ascontiguousarray(packed.reshape(-1, 2, pairs).swapaxes(1, 2)).reshape(-1)
