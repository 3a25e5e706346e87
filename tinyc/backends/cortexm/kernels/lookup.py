"""Functions of one int8 value: a table of all 256 results, three instructions an element."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table, render
from tinyc.memory.row_access import EACH_ROW
from tinyc.memory.strips import Across, Range


@dataclass(frozen=True)
class LookupSpec(KernelSpec):
    """A row of `elements` values. The table comes by pointer, so that all functions share a body. The output may be the input's memory."""

    elements: int

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if self.elements < 1:
            raise ValueError(f"a row must have elements, not {self.elements}")

    @property
    def family(self) -> str:
        return "lookup"

    def across(self, width: int) -> Across | None:
        return Across(width, ((width, EACH_ROW),)) if self.elements % width == 0 else None

    def narrowed(self, columns: Range, inputs: tuple[Range | None, ...], width: int) -> KernelSpec:
        return replace(self, elements=self.elements // width * (columns[1] - columns[0]))

    def source(self, symbol: str) -> str:
        return render("lookup.c.j2", symbol=symbol, spec=self)


def pack_table(results: npt.NDArray[np.int8]) -> tuple[Table, ...]:
    """Table `results` of the 256 results for the inputs -128 to 127. Raises ValueError for another size."""
    if results.shape != (256,):
        raise ValueError(f"a table has 256 results, not {results.shape}")
    return (Table("results", "int8_t", results.astype(np.int8)),)
