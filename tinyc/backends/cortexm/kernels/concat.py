"""CONCATENATION: parts of rows side by side, or rows of one input after those of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table, render
from tinyc.memory.row_access import EACH_ROW
from tinyc.memory.strips import Across, Range


@dataclass(frozen=True)
class ConcatSpec(KernelSpec):
    """`repeats` times a run from each part: `runs` elements of each. A part whose `constant` is set is a table instead of an input."""

    repeats: int
    runs: tuple[int, ...]
    constant: tuple[bool, ...]
    element_type: str = "int8_t"

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if self.repeats < 1 or min(self.runs, default=0) < 1 or len(self.runs) != len(self.constant) or all(self.constant):
            raise ValueError(f"a concatenation needs an input, and runs of positive length: {self}")

    @property
    def family(self) -> str:
        return "concat"

    def across(self, width: int) -> Across | None:
        whole = self.repeats == width and not any(self.constant)
        return Across(width, ((width, EACH_ROW),) * len(self.runs)) if whole else None

    def narrowed(self, columns: Range, inputs: tuple[Range | None, ...], width: int) -> KernelSpec:
        return replace(self, repeats=columns[1] - columns[0])

    @property
    def windows(self) -> tuple[int, ...]:
        return (0,) * self.constant.count(False)

    @property
    def input_types(self) -> tuple[str, ...]:
        return (self.element_type,) * len(self.windows)

    @property
    def output_type(self) -> str:
        return self.element_type

    @property
    def parameters(self) -> str:
        """C parameter list: inputs, output, tables."""
        parts = [f"const {self.element_type} *part{index}" for index in range(len(self.runs))]
        inputs = [part for part, constant in zip(parts, self.constant, strict=True) if not constant]
        tables = [part for part, constant in zip(parts, self.constant, strict=True) if constant]
        return ", ".join([*inputs, f"{self.element_type} *output", *tables])

    def source(self, symbol: str) -> str:
        return render("concat.c.j2", symbol=symbol, spec=self)


def pack(spec: ConcatSpec, constants: Sequence[npt.NDArray[Any]]) -> tuple[Table, ...]:
    """Tables of the constant parts, in order. Raises ValueError where they are not those of `spec`."""
    positions = [index for index, constant in enumerate(spec.constant) if constant]
    if [values.size for values in constants] != [spec.repeats * spec.runs[index] for index in positions]:
        raise ValueError(f"the constant parts have {[values.size for values in constants]} elements, which are not those of {spec}")
    return tuple(
        Table(f"part{index}", spec.element_type, np.ascontiguousarray(values).reshape(-1))
        for index, values in zip(positions, constants, strict=True)
    )


@dataclass(frozen=True)
class StackRowsSpec(KernelSpec):
    """One output row: the row of the one input that has it. The other inputs' rows are NULL."""

    inputs: int
    row_bytes: int

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if min(self.inputs, self.row_bytes) < 1:
            raise ValueError(f"sizes must be positive: {self}")

    @property
    def family(self) -> str:
        return "stack_rows"

    @property
    def windows(self) -> tuple[int, ...]:
        return (1,) * self.inputs

    def source(self, symbol: str) -> str:
        return render("stack_rows.c.j2", symbol=symbol, spec=self)
