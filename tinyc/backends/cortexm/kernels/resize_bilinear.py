"""RESIZE_BILINEAR: an output row from the two input rows around it, weights from tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table, render
from tinyc.memory.row_access import RowAccess
from tinyc.numerics.resize import AxisInterpolation, BilinearRounding


@dataclass(frozen=True)
class ResizeBilinearSpec(KernelSpec):
    """`columns` output pixels of `channels` channels. `window` input rows are passed in; the table `rows` names the two that count."""

    columns: int
    channels: int
    window: int
    rounding: BilinearRounding

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if min(self.columns, self.channels, self.window) < 1:
            raise ValueError(f"sizes must be positive: {self}")

    @property
    def family(self) -> str:
        return "resize_bilinear"

    @property
    def windows(self) -> tuple[int, ...]:
        return (self.window,)

    @property
    def takes_row(self) -> bool:
        return True

    @property
    def one(self) -> int:
        """A weight of 1."""
        return 1 << self.rounding.bits

    @property
    def shift(self) -> int:
        """Fractional bits of a sum."""
        return 2 * self.rounding.bits

    def source(self, symbol: str) -> str:
        return render("resize_bilinear.c.j2", symbol=symbol, spec=self)


def pack(spec: ResizeBilinearSpec, access: RowAccess, rows: AxisInterpolation, columns: AxisInterpolation) -> tuple[Table, ...]:
    """Tables `rows` and `columns`: for each output row or column, the two positions and the weight of the second.

    Raises ValueError where `access` does not pass in a row that counts, or an index needs more than 16 bits.
    """
    first = np.array([access.first(row) for row in range(len(rows.lower))])
    places = np.stack([rows.lower - first, rows.upper - first])
    if places.min() < 0 or places.max() >= spec.window or columns.upper.max() > 0xFFFF:
        raise ValueError(f"{access} does not reach the rows of {spec}, or the image is too wide")
    row_table = np.stack([*places, rows.weight], axis=1).astype(np.uint16)
    column_table = np.stack([columns.lower, columns.upper, columns.weight], axis=1).astype(np.uint16)
    return Table("rows", "uint16_t", row_table.reshape(-1)), Table("columns", "uint16_t", column_table.reshape(-1))
