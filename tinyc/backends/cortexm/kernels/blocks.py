"""SPACE_TO_DEPTH and DEPTH_TO_SPACE by rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, render


@dataclass(frozen=True)
class BlockSpec(KernelSpec):
    """Blocks of `height` times `width` pixels of `channels` channels, `count` of them side by side."""

    height: int
    width: int
    channels: int
    count: int

    form: ClassVar[Form] = Form.ROW
    headers: ClassVar[tuple[str, ...]] = ("tinyc_arithmetic.h",)

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.channels, self.count) < 1:
            raise ValueError(f"sizes must be positive: {self}")

    @property
    def run(self) -> int:
        """Bytes of one row of a block."""
        return self.width * self.channels


@dataclass(frozen=True)
class SpaceToDepthSpec(BlockSpec):
    """One output row, a pixel for each block, from the input rows that the blocks cover."""

    @property
    def family(self) -> str:
        return f"space_to_depth_{self.height}x{self.width}"

    @property
    def windows(self) -> tuple[int, ...]:
        return (self.height,)

    def source(self, symbol: str) -> str:
        return render("space_to_depth.c.j2", symbol=symbol, spec=self)


@dataclass(frozen=True)
class DepthToSpaceSpec(BlockSpec):
    """One output row, which is one row of every block, from the input row that holds the blocks as pixels."""

    @property
    def family(self) -> str:
        return f"depth_to_space_{self.height}x{self.width}"

    @property
    def takes_row(self) -> bool:
        return self.height > 1

    def source(self, symbol: str) -> str:
        return render("depth_to_space.c.j2", symbol=symbol, spec=self)
