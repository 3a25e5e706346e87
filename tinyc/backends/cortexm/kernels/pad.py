"""PAD with a constant, which for quantised tensors is the zero point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, render


@dataclass(frozen=True)
class PadSpec(KernelSpec):
    """One output row from one input row, or from NULL where the whole row is padding.

    The output has `left + width + right` columns of `before + channels + after` channels.
    """

    width: int
    channels: int
    left: int
    right: int
    before: int
    after: int
    value: int

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if min(self.width, self.channels) < 1 or min(self.left, self.right, self.before, self.after) < 0:
            raise ValueError(f"sizes must be positive and padding not negative: {self}")
        if not -128 <= self.value <= 127:
            raise ValueError(f"the padding value must be an int8, but is {self.value}")

    @property
    def family(self) -> str:
        return "pad"

    @property
    def windows(self) -> tuple[int, ...]:
        return (1,)

    @property
    def output_channels(self) -> int:
        """Channels of an output pixel."""
        return self.before + self.channels + self.after

    @property
    def output_elements(self) -> int:
        """Bytes of an output row."""
        return (self.left + self.width + self.right) * self.output_channels

    def source(self, symbol: str) -> str:
        return render("pad.c.j2", symbol=symbol, spec=self)
