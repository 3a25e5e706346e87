"""MAX_POOL_2D: four channels at a time with SSUB8 and SEL."""

from __future__ import annotations

from dataclasses import dataclass

from tinyc.backends.cortexm.kernels.base import render
from tinyc.backends.cortexm.kernels.pooling import PoolSpec


@dataclass(frozen=True)
class MaxPoolSpec(PoolSpec):
    """One output row of maxima."""

    @property
    def family(self) -> str:
        return f"max_pool_{self.window_height}x{self.window_width}"

    def source(self, symbol: str) -> str:
        return render("max_pool.c.j2", symbol=symbol, spec=self, four_bytes=lambda value: f"0x{(value & 0xFF) * 0x01010101:08x}u")
