"""What ADD and MUL share: two operands, element by element, the second one possibly broadcast or constant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table
from tinyc.memory.row_access import EACH_ROW
from tinyc.memory.strips import Across, Range


class Broadcast(str, Enum):
    """How the second operand of a row maps to the elements of the row."""

    SAME = "same"
    """One value for each element."""
    CHANNEL = "channel"
    """One value for each channel, the same in every column."""
    SCALAR = "scalar"
    """One value for all elements."""


@dataclass(frozen=True)
class BinarySpec(KernelSpec):
    """A row of `elements` values (width times channels). The output may be the very memory of either operand.

    `constant` puts the second operand into a table (see pack_operand) instead of a second input. Both operations commute: where the
    broadcast or constant operand comes first, the caller swaps the operands and makes the plan for that order.
    """

    elements: int
    channels: int
    broadcast: Broadcast
    constant: bool

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if self.elements < 1 or self.channels < 1 or self.elements % self.channels:
            raise ValueError(f"a row of {self.elements} elements does not consist of pixels with {self.channels} channels")

    @property
    def windows(self) -> tuple[int, ...]:
        return (0,) if self.constant else (0, 0)

    def across(self, width: int) -> Across | None:
        if self.elements % width or (self.constant and self.broadcast is Broadcast.SAME):
            # A table with a value for each element cannot be cut.
            return None
        second = (width, EACH_ROW) if self.broadcast is Broadcast.SAME else None
        return Across(width, ((width, EACH_ROW),) if self.constant else ((width, EACH_ROW), second))

    def narrowed(self, columns: Range, inputs: tuple[Range | None, ...], width: int) -> KernelSpec:
        return replace(self, elements=self.elements // width * (columns[1] - columns[0]))

    @property
    def operand_elements(self) -> int:
        """Number of values of the second operand that one call reads."""
        return {Broadcast.SAME: self.elements, Broadcast.CHANNEL: self.channels, Broadcast.SCALAR: 1}[self.broadcast]

    @property
    def repeats(self) -> int:
        """How often the inner loop runs."""
        return self.elements // self.channels if self.broadcast is Broadcast.CHANNEL else 1

    @property
    def inner(self) -> int:
        """Elements of one inner loop."""
        return self.elements // self.repeats

    @property
    def parameters(self) -> str:
        """C parameter list."""
        if self.constant:
            return "const int8_t *first, int8_t *output, const int8_t *second"
        return "const int8_t *first, const int8_t *second, int8_t *output"


def pack_operand(spec: BinarySpec, values: npt.NDArray[Any]) -> tuple[Table, ...]:
    """Table `operand` of the constant second operand. Raises ValueError when its size is not the one that `spec` reads."""
    if not spec.constant or values.size != spec.operand_elements:
        raise ValueError(f"the spec reads {spec.operand_elements if spec.constant else 0} constant values, not {values.size}")
    return (Table("operand", "int8_t", np.ascontiguousarray(values, dtype=np.int8).reshape(-1)),)
