"""MAXIMUM and MINIMUM, element by element; two rows of equal size go through SSUB8 and SEL, four elements at a time."""

from __future__ import annotations

from dataclasses import dataclass

from tinyc.backends.cortexm.kernels.base import render
from tinyc.backends.cortexm.kernels.elementwise import BinarySpec, Broadcast


@dataclass(frozen=True)
class ExtremeSpec(BinarySpec):
    """A row of the greater or, without `greater`, the smaller elements."""

    greater: bool

    @property
    def family(self) -> str:
        return "maximum" if self.greater else "minimum"

    @property
    def words(self) -> int:
        """Whole words of four elements, where both operands have one value for each."""
        return self.elements // 4 if self.broadcast is Broadcast.SAME else 0

    def source(self, symbol: str) -> str:
        return render("extreme.c.j2", symbol=symbol, spec=self)
