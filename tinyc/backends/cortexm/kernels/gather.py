"""Picking elements: with constant strides (slices of any rank), or at positions from tables (mirrors and nearest neighbours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table, render

Loop = tuple[int, int]


@dataclass(frozen=True)
class StridedCopySpec(KernelSpec):
    """The elements at `offset` plus the sum of i * stride over `loops`: (size, stride in elements), outermost first.

    The output is dense. Strides may be negative, or 0 where elements repeat.
    """

    loops: tuple[Loop, ...]
    offset: int
    element_type: str = "int8_t"

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if not self.loops or any(size < 1 for size, _ in self.loops):
            raise ValueError(f"a copy needs loops of positive size: {self}")

    @property
    def family(self) -> str:
        return "strided_copy"

    @property
    def input_types(self) -> tuple[str, ...]:
        return (self.element_type,)

    @property
    def output_type(self) -> str:
        return self.element_type

    @property
    def run(self) -> int:
        """Elements that lie one after the other in the input as well: the unit of copying."""
        return self.loops[-1][0] if self.loops[-1][1] == 1 else 1

    @property
    def outer(self) -> tuple[Loop, ...]:
        """The loops around a run."""
        return self.loops[:-1] if self.run > 1 or self.loops[-1][0] == 1 else self.loops

    def source(self, symbol: str) -> str:
        return render("strided_copy.c.j2", symbol=symbol, spec=self)


def merged_loops(loops: Sequence[Loop]) -> tuple[Loop, ...]:
    """`loops` without those of size 1, and with neighbours joined that walk the memory as one would."""
    merged: list[Loop] = []
    for size, stride in loops:
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return tuple(merged) or ((1, 1),)


@dataclass(frozen=True)
class GatherSpec(KernelSpec):
    """`columns` pieces of `run` bytes for each of `rows` rows; tables hold where they begin.

    With one row, the table `columns` alone counts, in bytes from the input's start. With more, the input is a whole image and the table
    `rows` adds the start of the row.
    """

    rows: int
    columns: int
    run: int
    wide: bool

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if min(self.rows, self.columns, self.run) < 1:
            raise ValueError(f"sizes must be positive: {self}")

    @property
    def family(self) -> str:
        return "gather"

    @property
    def table_type(self) -> str:
        """C type of the tables' entries."""
        return "uint32_t" if self.wide else "uint16_t"

    def source(self, symbol: str) -> str:
        return render("gather.c.j2", symbol=symbol, spec=self)


def gather(columns: Sequence[int], run: int, rows: Sequence[int] = (0,)) -> tuple[GatherSpec, tuple[Table, ...]]:
    """Spec and tables for pieces of `run` bytes that begin at `columns` (and, in an image, rows that begin at `rows`), all in bytes."""
    wide = max(*columns, *rows) > 0xFFFF
    spec = GatherSpec(len(rows), len(columns), run, wide)
    kind = np.dtype(np.uint32 if wide else np.uint16)
    tables: tuple[Table, ...] = (Table("columns", spec.table_type, np.array(columns, kind)),)
    if len(rows) > 1:
        tables += (Table("rows", spec.table_type, np.array(rows, kind)),)
    return spec, tables
