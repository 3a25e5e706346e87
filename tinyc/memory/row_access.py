"""Which rows of an input an output row needs: the one fact about an operation that streaming and overlapping rest on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowAccess:
    """Output row y reads the input rows `(y * stride - pad) // divisor + k * dilation` for k in [0, window); those outside are padding.

    A divisor greater than 1 is for ops with more rows in the result than in the input, where neighbouring rows read the same ones.
    """

    window: int = 1
    stride: int = 1
    dilation: int = 1
    pad: int = 0
    divisor: int = 1

    def first(self, row: int) -> int:
        """Topmost input row of output row `row`; negative inside the padding."""
        return (row * self.stride - self.pad) // self.divisor

    def end(self, row: int) -> int:
        """One past the lowest input row of output row `row`; may lie beyond the input."""
        return self.first(row) + (self.window - 1) * self.dilation + 1


EACH_ROW = RowAccess()
"""Output row y reads input row y."""
