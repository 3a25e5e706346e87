"""Fully connected layers: four outputs at a time share the unpacked activations.

Every weight is used once, so it is unpacked where it is used: one word of four int8 weights of an output costs two SXTB16 and two
SMLAD. The words of four outputs lie side by side in the table. `FullyConnectedSpec` has its whole input at hand;
`FullyConnectedReductionSpec` takes it in rows, as a streamed producer delivers it, and keeps one int32 accumulator an output.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table, render
from tinyc.backends.cortexm.kernels.output_stage import OutputStage, channel_table
from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.numerics.requantize import ChannelRequantization

_GROUP = 4
_LOOP_STEPS = range(8, 3, -1)


@dataclass(frozen=True)
class _FullyConnected(KernelSpec):
    """What both forms have in common."""

    output_stage: OutputStage
    outputs: int
    input_zero_point: int
    core: CoreForm = field(default=CoreForm.CORTEX_M4, kw_only=True)

    headers: ClassVar[tuple[str, ...]] = ("tinyc_kernels.h",)

    @property
    def row_length(self) -> int:
        """Input values that one call of a group takes."""
        raise NotImplementedError(type(self).__name__)

    @property
    def groups(self) -> list[tuple[int, int]]:
        """(outputs of a group, number of such groups)."""
        full, rest = divmod(self.outputs, _GROUP)
        return [(size, count) for size, count in ((_GROUP, full), (rest, 1)) if size and count]

    def takes_weights(self, size: int) -> bool:
        """Whether the weights of a group of so many outputs are loaded by one instruction, which on Cortex-M7 goes beside no other."""
        return self.core is CoreForm.CORTEX_M4 and size == _GROUP

    @property
    def steps(self) -> int:
        """Words of four input values in a row, the last of them perhaps partial."""
        return -(-self.row_length // 4)

    @property
    def loops(self) -> list[tuple[int, int]]:
        """Loops over the whole words, as (words in the body, iterations)."""
        words = self.row_length // 4
        if words <= _LOOP_STEPS[0]:
            return [(words, 1)] if words else []
        exact = next((steps for steps in _LOOP_STEPS if words % steps == 0), None)
        return [(exact, words // exact)] if exact else [(4, words // 4), (words % 4, 1)]


@dataclass(frozen=True)
class FullyConnectedSpec(_FullyConnected):
    """`rows` times `inputs` values to `rows` times `outputs` values."""

    inputs: int = 1
    rows: int = 1

    form: ClassVar[Form] = Form.TENSOR

    def __post_init__(self) -> None:
        if min(self.outputs, self.inputs, self.rows) < 1:
            raise ValueError(f"sizes must be positive: {self}")

    @property
    def row_length(self) -> int:
        return self.inputs

    @property
    def family(self) -> str:
        return "fully_connected"

    def source(self, symbol: str) -> str:
        return render("fully_connected.c.j2", symbol=symbol, spec=self, stage=self.output_stage, reduction=False)


@dataclass(frozen=True)
class FullyConnectedReductionSpec(_FullyConnected):
    """`row_count` rows of `length` values each, together one input vector, to `outputs` values."""

    length: int = 1
    row_count: int = 1

    form: ClassVar[Form] = Form.REDUCTION

    def __post_init__(self) -> None:
        if min(self.outputs, self.length, self.row_count) < 1:
            raise ValueError(f"sizes must be positive: {self}")

    @property
    def row_length(self) -> int:
        return self.length

    @property
    def family(self) -> str:
        return "fully_connected_reduction"

    @property
    def accumulator_bytes(self) -> int:
        return 4 * self.outputs

    def source(self, symbol: str) -> str:
        return render("fully_connected.c.j2", symbol=symbol, spec=self, stage=self.output_stage, reduction=True)


def pack(
    spec: FullyConnectedSpec | FullyConnectedReductionSpec,
    weights: npt.NDArray[np.int8],
    bias: npt.NDArray[np.int32] | None,
    requantization: ChannelRequantization,
) -> tuple[Table, ...]:
    """Tables `weights` and `channels` of a layer with int8 `weights` (outputs, inputs) and int32 `bias` (outputs,) or None.

    Raises ValueError when the shapes or the requantisation are not those of `spec`.
    """
    row_count = spec.row_count if isinstance(spec, FullyConnectedReductionSpec) else 1
    expected = (spec.outputs, row_count * spec.row_length)
    if weights.shape != expected:
        raise ValueError(f"weights have shape {weights.shape}, the spec needs {expected}")
    rows = np.zeros((spec.outputs, row_count, 4 * spec.steps), dtype=np.int8)
    rows[:, :, : spec.row_length] = weights.reshape(spec.outputs, row_count, spec.row_length)
    words = rows.view("<u4").transpose(1, 2, 0)
    full = spec.outputs // _GROUP * _GROUP
    grouped = words[:, :, :full].reshape(row_count, spec.steps, -1, _GROUP).transpose(0, 2, 1, 3).reshape(row_count, -1)
    table = np.concatenate([grouped, words[:, :, full:].reshape(row_count, -1)], axis=1)
    return Table("weights", "uint32_t", table.reshape(-1).astype(np.uint32)), channel_table(
        spec.output_stage, requantization, weights, bias, spec.input_zero_point
    )
