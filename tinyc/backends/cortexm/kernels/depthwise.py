"""Depthwise convolution, one channel at a time on int16 planes.

Channels of an HWC tensor lie apart, so the rows under the kernel are gathered into planes: int16, padded with the input zero point,
up to four channels at a time. On a plane two neighbouring taps are one SMLAD; four outputs share the loaded words. `DepthwiseSpec`
computes one output row from the rows passed in; `DepthwiseInPlaceSpec` overwrites a whole tensor, gathering each row once into a ring of
kernel height rows, in which the weights rotate instead of the data. `DepthwiseRingSpec` finds such a ring of planes as its input: the
convolution before it has stored its outputs there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table, narrowed_window, render
from tinyc.backends.cortexm.kernels.costs import DEPTHWISE
from tinyc.backends.cortexm.kernels.depthwise_tile import Tile, WeightLayout, plan_tile, weight_layout
from tinyc.backends.cortexm.kernels.output_stage import OutputForm, OutputStage, channel_table
from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.memory.row_access import RowAccess
from tinyc.memory.strips import Across, Range
from tinyc.numerics.requantize import ChannelRequantization

_TILE_OUTPUTS = 4


@dataclass(frozen=True)
class _Depthwise(KernelSpec):
    """What both forms have in common. `channels` are the input's; `together` of them, 1, 2 or 4, are gathered at a time.

    Gathering more channels at a time takes fewer instructions and more scratch.
    """

    output_stage: OutputStage
    input_width: int
    output_width: int
    channels: int
    multiplier: int
    kernel_height: int
    kernel_width: int
    input_zero_point: int
    stride_width: int = 1
    dilation_width: int = 1
    pad_left: int = 0
    together: int = 4
    core: CoreForm = field(default=CoreForm.CORTEX_M4, kw_only=True)

    headers: ClassVar[tuple[str, ...]] = ("tinyc_kernels.h",)

    def __post_init__(self) -> None:
        sizes = (self.input_width, self.output_width, self.channels, self.multiplier, self.kernel_height, self.kernel_width)
        if min(*sizes, self.stride_width, self.dilation_width) < 1 or self.pad_left < 0:
            raise ValueError(f"sizes, strides and dilations must be positive and padding not negative: {self}")
        if self.together not in (1, 2, 4):
            raise ValueError(f"1, 2 or 4 channels can be gathered together, not {self.together}")

    @property
    def output_channels(self) -> int:
        """Channels of the output."""
        return self.channels * self.multiplier

    @property
    def groups(self) -> list[tuple[int, int]]:
        """How the channels are divided: (channels gathered at a time, repetitions), largest first."""
        groups, rest = [], self.channels
        for size in (4, 2, 1):
            if size <= self.together and rest >= size:
                groups.append((size, rest // size))
                rest %= size
        return groups

    @property
    def gathered(self) -> int:
        """The most channels that are gathered at a time."""
        return self.groups[0][0]

    @property
    def tiles(self) -> list[tuple[int, Tile]]:
        """How a row of outputs is computed: (repetitions, tile), first the full tiles, then the remainder."""
        full, rest = divmod(self.output_width, _TILE_OUTPUTS)
        counts = [(full, _TILE_OUTPUTS), (1, rest)]
        return [
            (count, plan_tile(outputs, self.kernel_width, self.stride_width, self.dilation_width))
            for count, outputs in counts
            if count and outputs
        ]

    @property
    def row_weights(self) -> list[tuple[int | None, int | None]]:
        """The pairs of taps of one kernel row that the tiles multiply with."""
        return list(self.weight_layout.pairs)

    @property
    def weight_layout(self) -> WeightLayout:
        """How the weights of one kernel row lie in flash."""
        return weight_layout(self.kernel_width, self.stride_width, self.dilation_width)

    @property
    def pitch(self) -> int:
        """Words of one row of a plane: all that the tiles load."""
        end = start = 0
        for count, tile in self.tiles:
            end = start + (count - 1) * self.tile_advance + tile.data_words
            start += count * self.tile_advance
        return end

    @property
    def tile_advance(self) -> int:
        """Words between the starts of two full tiles."""
        return _TILE_OUTPUTS * self.stride_width // 2

    @property
    def columns(self) -> int:
        """Input columns that lie on the plane; those further right are under no tap."""
        return max(0, min(self.input_width, 2 * self.pitch - self.pad_left))

    @property
    def plane_words(self) -> int:
        """Words of one channel's plane."""
        return self.kernel_height * self.pitch

    @property
    def padding_pair(self) -> int:
        """The input zero point twice, as a word."""
        return (self.input_zero_point % 65536) * 65537

    @property
    def weight_rows(self) -> int:
        """Rows of weights that a line finds in scratch."""
        return self.kernel_height

    @property
    def estimated_line(self) -> float:
        """About what a row of outputs of all channels costs, in the unit of `core`, from planes and unpacked weights."""
        costs, form = DEPTHWISE[self.core], self.output_stage.form
        unproved = costs.unproved if form is OutputForm.MIXED else 0
        output = costs.output + (costs.scaled if form is OutputForm.FLOAT else 0)
        products = sum(
            count * (costs.step * self.kernel_height * tile.instructions + unproved + output * tile.outputs) for count, tile in self.tiles
        )
        return self.output_channels * (costs.line + products)

    @property
    def estimated_unpacking(self) -> float:
        """About what the weights of all channels cost to unpack."""
        return DEPTHWISE[self.core].weights_word * self.output_channels * self.weight_rows * len(self.weight_layout.offsets)

    @property
    def estimated_padding(self) -> float:
        """About what it costs to fill the planes with padding."""
        return DEPTHWISE[self.core].padding * self.gathered * self.plane_words

    @property
    def estimated_gathering(self) -> float:
        """About what it costs to gather one row of all channels into planes."""
        costs, single = DEPTHWISE[self.core], self.columns and self.pad_left % 2
        edges = single + (self.columns - single) % 2
        groups = sum(count for _, count in self.groups)
        return costs.gathering * groups + self.channels * (costs.edge * edges + costs.gathered * (self.columns - edges))

    def across(self, width: int) -> Across | None:
        access = RowAccess(self.kernel_width, self.stride_width, self.dilation_width, self.pad_left)
        return Across(width, ((self.input_width, access),)) if self.output_width == width else None

    def narrowed(self, columns: Range, inputs: tuple[Range | None, ...], width: int) -> KernelSpec:
        return narrowed_window(self, self.stride_width, columns, inputs)

    def line(self, symbol: str) -> str:
        """C functions that unpack the weights of some kernel rows, and that compute one row of outputs of one channel."""
        return render("depthwise_line.c.j2", symbol=symbol, spec=self, stage=self.output_stage)


@dataclass(frozen=True)
class DepthwiseSpec(_Depthwise):
    """One output row, from the rows under the kernel: vertical stride, dilation and padding are the caller's."""

    form: ClassVar[Form] = Form.ROW

    @property
    def family(self) -> str:
        stride = f"_s{self.stride_width}" if self.stride_width > 1 else ""
        return f"depthwise_{self.kernel_height}x{self.kernel_width}{stride}"

    @property
    def windows(self) -> tuple[int, ...]:
        return (self.kernel_height,)

    @property
    def scratch_bytes(self) -> int:
        words = self.gathered * self.plane_words + self.kernel_height * len(self.row_weights)
        return -(-words // 2) * 8

    def source(self, symbol: str) -> str:
        return self.line(symbol) + render("depthwise.c.j2", symbol=symbol, spec=self, stage=self.output_stage)


@dataclass(frozen=True)
class DepthwiseInPlaceSpec(_Depthwise):
    """A whole tensor of `height` rows, overwritten by an output of the same shape: stride 1, multiplier 1, no vertical dilation."""

    height: int = 1
    pad_top: int = 0

    form: ClassVar[Form] = Form.IN_PLACE

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride_width != 1 or self.multiplier != 1 or self.output_width != self.input_width or self.height < 1:
            raise ValueError(f"in place needs stride 1, multiplier 1 and an output like the input: {self}")
        if not 0 <= self.pad_top < self.kernel_height:
            raise ValueError(f"in place needs a padding above of less than {self.kernel_height} rows, but has {self.pad_top}")

    @property
    def family(self) -> str:
        return f"depthwise_{self.kernel_height}x{self.kernel_width}_in_place"

    @property
    def weight_rows(self) -> int:
        return 2 * self.kernel_height - 1

    @property
    def scratch_bytes(self) -> int:
        words = self.gathered * (self.plane_words + self.weight_rows * len(self.row_weights))
        return -(-words // 2) * 8

    def source(self, symbol: str) -> str:
        return self.line(symbol) + render("depthwise_in_place.c.j2", symbol=symbol, spec=self, stage=self.output_stage)


@dataclass(frozen=True)
class DepthwiseRingSpec(_Depthwise):
    """One output row from a ring of int16 planes, one plane of kernel height rows a channel; input row r lies in slot r % kernel height.

    Whoever computes the input fills the planes with padding before its first row. The body fills the slots of rows below the image, so it
    writes to its input. The layout is [channel][slot][column], and tiles address it by constants: the weights rotate.
    """

    height: int = 1
    """Rows of the input."""
    stride_height: int = 1
    pad_top: int = 0

    form: ClassVar[Form] = Form.ROW

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.height < 1 or self.stride_height < 1 or not 0 <= self.pad_top < self.kernel_height:
            raise ValueError(f"a ring needs rows, a stride, and a padding above of less than {self.kernel_height} rows: {self}")

    @property
    def family(self) -> str:
        stride = f"_s{self.stride_width}" if self.stride_width > 1 else ""
        return f"depthwise_{self.kernel_height}x{self.kernel_width}{stride}_ring"

    @property
    def takes_row(self) -> bool:
        return True

    @property
    def ring_inputs(self) -> tuple[bool, ...]:
        return (True,)

    @property
    def pitch(self) -> int:
        """Words of one row of a plane: all that the tiles load, and all that the input has."""
        return max(super().pitch, -(-(self.pad_left + self.input_width) // 2))

    @property
    def first_slot(self) -> int:
        """Slot of the topmost row under the kernel for output row 0."""
        return -self.pad_top % self.kernel_height

    @property
    def scratch_bytes(self) -> int:
        return -(-self.kernel_height * len(self.row_weights) // 2) * 8

    def source(self, symbol: str) -> str:
        return self.line(symbol) + render("depthwise_ring.c.j2", symbol=symbol, spec=self, stage=self.output_stage)


def pack(
    spec: DepthwiseSpec | DepthwiseInPlaceSpec,
    weights: npt.NDArray[np.int8],
    bias: npt.NDArray[np.int32] | None,
    requantization: ChannelRequantization,
) -> tuple[Table, ...]:
    """Tables `weights` and `channels` of a layer with int8 `weights` (1, H, W, C) and int32 `bias` (C,) or None; C = channels * multiplier.

    Raises ValueError when the shapes or the requantisation are not those of `spec`.
    """
    expected = (1, spec.kernel_height, spec.kernel_width, spec.output_channels)
    if weights.shape != expected:
        raise ValueError(f"weights have shape {weights.shape}, the spec needs {expected}")
    channels_first = np.transpose(weights[0], (2, 0, 1))
    padded = np.concatenate([channels_first, np.zeros_like(channels_first[:, :, :1])], axis=2)
    taps = [spec.kernel_width if tap is None else tap for tap in spec.weight_layout.taps]
    # The last word of the last row may reach beyond it.
    values = np.concatenate([padded[:, :, taps].reshape(-1), np.zeros(3, dtype=np.int8)])
    matrix = channels_first.reshape(spec.output_channels, -1)
    return Table("weights", "int8_t", values), channel_table(spec.output_stage, requantization, matrix, bias, spec.input_zero_point)
