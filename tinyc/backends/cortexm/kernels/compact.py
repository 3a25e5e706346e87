"""Kernels whose sizes are arguments: one C function for all layers of a kind, for less code and more instructions.

Each wraps the spec of a specialised kernel and computes the same from tables in another order: nothing is unrolled, no tile is written for
the columns that are left over, and one function requantises for all of them. `runtime/tinyc_compact.h` holds what depends on no profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table, render
from tinyc.backends.cortexm.kernels.conv import TILE_COLUMNS, ConvSpec
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseSpec
from tinyc.backends.cortexm.kernels.depthwise_tile import Tile, plan_tile
from tinyc.backends.cortexm.kernels.fully_connected import FullyConnectedReductionSpec, FullyConnectedSpec
from tinyc.backends.cortexm.kernels.output_stage import OutputForm, OutputStage
from tinyc.numerics.integer_requantization import FRACTION_BITS

_LARGEST = 2**15 - 1
"""Of a size in the C structs."""
_STRUCT_BYTES = 32
"""About what a layer's sizes take."""
_FORMS = {OutputForm.SHIFT: "TINYC_SHIFTED", OutputForm.GENERAL: "TINYC_GENERAL"}
FIXED_POINT = (OutputForm.SHIFT, OutputForm.GENERAL)
_STORING, _STORED = 22, 12
"""Instructions of a call that stores outputs, and of each output."""


@dataclass(frozen=True)
class _Compact(KernelSpec):
    """What all have in common. `fixed_point` says by which rules outputs are stored: those of the profile `tflm` or the others'."""

    fixed_point: bool
    headers: ClassVar[tuple[str, ...]] = ("tinyc_compact.h", "tinyc_kernels.h")
    template: ClassVar[str] = ""

    @property
    def layer(self) -> KernelSpec:
        """The specialised kernel of the same layer."""
        raise NotImplementedError(type(self).__name__)

    @property
    def stage(self) -> OutputStage:
        """The layer's requantisation."""
        raise NotImplementedError(type(self).__name__)

    @property
    def sizes(self) -> list[str]:
        """The fields of the C struct."""
        raise NotImplementedError(type(self).__name__)

    @property
    def family(self) -> str:
        return f"{self.layer.family}_compact"

    @property
    def channel_type(self) -> str:
        """C type of a channel's constants."""
        return compact_channel_type(self.stage)

    @property
    def constant_bytes(self) -> int:
        """Bytes of the C struct: all the flash that the layer takes besides its tables."""
        return _STRUCT_BYTES

    @property
    def output_sizes(self) -> str:
        """Initialiser of `tinyc_output_sizes`."""
        stage, form = self.stage, _FORMS.get(self.stage.form, "TINYC_MULTIPLIED")
        wide = 16 if stage.form in FIXED_POINT else 8
        quick = int(stage.form in (OutputForm.INTEGER, OutputForm.MIXED) and stage.clamped_by_saturation)
        assert not quick or stage.fraction_bits == FRACTION_BITS
        fields = (stage.zero_point, stage.minimum, stage.maximum, stage.fraction_bits, stage.shift, form, wide, quick)
        return "{ " + ", ".join(str(field) for field in fields) + " }"

    def shared_source(self, symbol: str) -> str:
        return self._render("shared", symbol, symbol)

    def own_source(self, symbol: str, shared: str) -> str:
        return self._render("own", symbol, shared)

    def source(self, symbol: str) -> str:
        shared = f"{symbol}_layers"
        return self.shared_source(shared) + self.own_source(symbol, shared)

    def _render(self, part: str, symbol: str, shared: str) -> str:
        store = "tinyc_store_fixed" if self.fixed_point else "tinyc_store_scaled"
        names = {"part": part, "symbol": symbol, "shared": shared, "store": store}
        return render(self.template, **names, spec=self, channel_type=self.channel_type, sizes=self.sizes)


def _check(*sizes: int) -> None:
    if max(sizes) > _LARGEST:
        raise ValueError(f"sizes beyond {_LARGEST} do not fit: {max(sizes)}")


def compact_channel_type(stage: OutputStage) -> str:
    """C type of a channel's constants: those of the float form become those of a channel without a proof."""
    return stage.channel_type if stage.form in FIXED_POINT else "tinyc_mixed_channel"


def _storing(outputs: int, calls: int) -> int:
    return outputs * _STORED + calls * _STORING


@dataclass(frozen=True)
class CompactConvSpec(_Compact):
    """One output row of `convolution`, or several pixels of a direct one: four columns at a time, patches as in specialised code."""

    convolution: ConvSpec
    form: ClassVar[Form] = Form.ROW
    template: ClassVar[str] = "compact_conv.c.j2"

    def __post_init__(self) -> None:
        spec = self.convolution
        _check(spec.input_width, spec.input_channels, spec.output_width, spec.output_channels, spec.kernel_height, spec.kernel_width)
        _check(self.words, spec.stride_width, spec.dilation_width, spec.pad_left)
        if spec.plane_words or spec.weights_are_wide or spec.shares_code:
            raise ValueError("it writes the planes of the layer behind it, or its weights have been given another form already")

    @property
    def layer(self) -> ConvSpec:
        return self.convolution

    @property
    def stage(self) -> OutputStage:
        return self.convolution.output_stage

    @property
    def windows(self) -> tuple[int, ...]:
        return self.convolution.windows

    @property
    def patch_bytes(self) -> int:
        """Bytes of input under the kernel."""
        return self.convolution.kernel_height * self.convolution.kernel_width * self.convolution.input_channels

    @property
    def words(self) -> int:
        """Words of four bytes of a patch, the last perhaps partial."""
        return -(-self.patch_bytes // 4)

    @property
    def direct(self) -> bool:
        """Whether a pixel of the input is read where it lies."""
        return self.convolution.direct and self.convolution.input_channels % 4 == 0

    @property
    def scratch_bytes(self) -> int:
        patch = 0 if self.direct else self.words * 4
        return -(-(self.words * 8 * TILE_COLUMNS + patch) // 8) * 8

    @property
    def weight_bytes(self) -> int:
        """Bytes of the table of weights."""
        return -(-self.convolution.output_channels // 2) * self.words * 8

    @property
    def sizes(self) -> list[str]:
        spec = self.convolution
        numbers = (spec.input_zero_point, int(self.direct), spec.input_width, spec.input_channels, spec.output_width, spec.output_channels)
        window = (spec.kernel_height, spec.kernel_width, spec.stride_width, spec.dilation_width, spec.pad_left, self.words)
        return [self.output_sizes, *(str(number) for number in (*numbers, *window))]

    @property
    def estimated_instructions(self) -> int:
        """About how many instructions one row takes on a Cortex-M4."""
        spec = self.convolution
        tiles, pairs = -(-spec.output_width // TILE_COLUMNS), -(-spec.output_channels // 2)
        sums = tiles * pairs * (33 * self.words + 60)
        copied = 0 if self.direct else spec.kernel_height * (60 if spec.dilation_width == 1 else 40 * spec.kernel_width) + self.patch_bytes
        return (
            sums
            + _storing(spec.output_width * spec.output_channels, tiles * spec.output_channels)
            + spec.output_width * (9 * self.words + copied + 40)
        )


def pack_conv(spec: CompactConvSpec, weights: npt.NDArray[np.int8]) -> npt.NDArray[np.uint32]:
    """The table of `weights` (O, H, W, I): for two channels at a time words of two bytes of each, a patch in its own order."""
    channels = spec.convolution.output_channels
    padded = np.zeros((-(-channels // 2) * 2, 4 * spec.words), dtype=np.int8)
    padded[:channels, : spec.patch_bytes] = weights.reshape(channels, -1)
    # Unpacking four bytes of a patch gives the pairs (0, 2) and (1, 3).
    quads = padded.reshape(-1, 2, spec.words, 4)
    words = np.stack([quads[..., [0, 1]], quads[..., [2, 3]]], axis=-1).transpose(0, 2, 3, 4, 1)
    return np.ascontiguousarray(words).reshape(-1).view("<u4").astype(np.uint32)


@dataclass(frozen=True)
class CompactDepthwiseSpec(_Compact):
    """`depthwise`, a row of it or in place: as specialised code computes it, row of the kernel by row, and outputs in whole tiles only.

    Layers with the same kernel width, stride and dilation share a function; the tables are those of specialised code.
    """

    depthwise: DepthwiseSpec | DepthwiseInPlaceSpec
    template: ClassVar[str] = "compact_depthwise.c.j2"

    def __post_init__(self) -> None:
        spec = self.depthwise
        _check(spec.input_width, spec.channels, spec.output_width, spec.multiplier, spec.kernel_height)
        _check(spec.pad_left, self.pitch, self.columns, self.height)

    @property
    def form(self) -> Form:  # type: ignore[override]
        return self.depthwise.form

    @property
    def layer(self) -> KernelSpec:
        return self.depthwise

    @property
    def stage(self) -> OutputStage:
        return self.depthwise.output_stage

    @property
    def windows(self) -> tuple[int, ...]:
        return self.depthwise.windows

    @property
    def in_place(self) -> bool:
        """Whether a whole tensor is overwritten."""
        return isinstance(self.depthwise, DepthwiseInPlaceSpec)

    @property
    def height(self) -> int:
        """Rows of the tensor in place, otherwise 0."""
        return self.depthwise.height if isinstance(self.depthwise, DepthwiseInPlaceSpec) else 0

    @property
    def tile(self) -> Tile:
        """How four outputs are computed."""
        return plan_tile(TILE_COLUMNS, self.depthwise.kernel_width, self.depthwise.stride_width, self.depthwise.dilation_width)

    @property
    def pitch(self) -> int:
        """Words of a row of a plane: all that whole tiles of outputs load."""
        tiles = -(-self.depthwise.output_width // TILE_COLUMNS)
        return (tiles - 1) * self.depthwise.tile_advance + self.tile.data_words

    @property
    def columns(self) -> int:
        """Input columns that lie on a plane."""
        return max(0, min(self.depthwise.input_width, 2 * self.pitch - self.depthwise.pad_left))

    @property
    def together(self) -> int:
        """Channels that are gathered at a time, while there are as many."""
        return 4 if self.depthwise.channels >= 4 else 1

    @property
    def scratch_bytes(self) -> int:
        spec = self.depthwise
        weights = spec.weight_rows * len(spec.row_weights) * (self.together if self.in_place else 1)
        return -(-(self.together * spec.kernel_height * self.pitch + weights) // 2) * 8

    @property
    def sizes(self) -> list[str]:
        spec = self.depthwise
        pad_top = spec.pad_top if isinstance(spec, DepthwiseInPlaceSpec) else 0
        numbers = (spec.input_zero_point, spec.input_width, spec.channels, self.columns, spec.output_width, spec.multiplier)
        window = (spec.kernel_height, spec.pad_left, self.pitch, self.height, pad_top)
        return [self.output_sizes, *(str(number) for number in (*numbers, *window))]

    @property
    def estimated_instructions(self) -> int:
        """About how many instructions one call takes on a Cortex-M4: a row of output, or all of them."""
        spec = self.depthwise
        rows, gathered = (self.height, self.height + spec.kernel_height) if self.in_place else (1, spec.kernel_height)
        tiles = -(-spec.output_width // TILE_COLUMNS)
        row = len(self.tile.products) + 2 * len(self.tile.loads) + len(spec.row_weights) + 8
        sums = tiles * (spec.kernel_height * row + 25) + _storing(spec.output_width, tiles)
        weights = (3 * len(spec.row_weights) + 6) * spec.kernel_height * (2 if self.in_place else 1) + 30
        return spec.channels * (gathered * (2 * self.columns + 20) + spec.multiplier * (rows * sums + weights))


@dataclass(frozen=True)
class CompactFullyConnectedSpec(_Compact):
    """`fully_connected`, whose tables it shares."""

    fully_connected: FullyConnectedSpec | FullyConnectedReductionSpec
    template: ClassVar[str] = "compact_fully_connected.c.j2"

    @property
    def form(self) -> Form:  # type: ignore[override]
        return self.fully_connected.form

    @property
    def layer(self) -> FullyConnectedSpec | FullyConnectedReductionSpec:
        return self.fully_connected

    @property
    def stage(self) -> OutputStage:
        return self.fully_connected.output_stage

    @property
    def reduction(self) -> bool:
        """Whether the input comes in rows."""
        return isinstance(self.fully_connected, FullyConnectedReductionSpec)

    @property
    def accumulator_bytes(self) -> int:
        return self.fully_connected.accumulator_bytes

    @property
    def row_words(self) -> int:
        """Words of weights of a row of inputs."""
        return self.fully_connected.steps * self.fully_connected.outputs

    @property
    def sizes(self) -> list[str]:
        spec = self.fully_connected
        rows = spec.rows if isinstance(spec, FullyConnectedSpec) else 1
        return [self.output_sizes, str(spec.outputs), str(spec.row_length), str(rows)]

    @property
    def estimated_instructions(self) -> int:
        """About how many instructions one call takes on a Cortex-M4: all rows, and storing, where the input comes whole."""
        spec = self.fully_connected
        lanes = [size for size, count in spec.groups for _ in range(count)]
        added = sum(30 * spec.steps + 40 if size == TILE_COLUMNS else size * 18 * spec.steps + 30 for size in lanes)
        if isinstance(spec, FullyConnectedReductionSpec):
            return added * spec.row_count + _storing(spec.outputs, spec.outputs)
        return spec.rows * (added + _storing(spec.outputs, spec.outputs))


def compact_channels(stage: OutputStage, table: Table) -> Table:
    """The constants of `table`, which are of `stage`, as compact kernels take them."""
    if stage.form in FIXED_POINT:
        return table
    values = np.zeros(table.values.shape, dtype=[("bias", "i4"), ("multiplier", "i4")])
    values["bias"] = table.values["bias"]
    if stage.form is OutputForm.FLOAT:
        values["multiplier"] = (-table.values["scale"]).astype(np.float32).view(np.int32)
    else:
        values["multiplier"] = table.values["multiplier"]
    return Table(table.suffix, "tinyc_mixed_channel", values)
