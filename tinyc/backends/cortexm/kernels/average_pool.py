"""AVERAGE_POOL_2D: sums of four channels in two int16 pairs, then one division an output."""

from __future__ import annotations

from dataclasses import dataclass

from tinyc.backends.cortexm.kernels.base import c_number, render
from tinyc.backends.cortexm.kernels.pooling import PoolSpec
from tinyc.numerics.onnxruntime import FloatAverage


@dataclass(frozen=True)
class AveragePoolSpec(PoolSpec):
    """One output row of averages over the elements inside the input; of the uint8 values 128 above them where `unsigned` is set."""

    unsigned: bool = False

    @property
    def family(self) -> str:
        return f"average_pool_{self.window_height}x{self.window_width}"

    def source(self, symbol: str) -> str:
        return render("average_pool.c.j2", symbol=symbol, spec=self)


@dataclass(frozen=True)
class FloatAveragePoolSpec(PoolSpec):
    """One output row of averages that are summed and rescaled in float32, as ONNX Runtime does it."""

    plan: FloatAverage

    @property
    def family(self) -> str:
        return f"float_average_pool_{self.window_height}x{self.window_width}"

    def source(self, symbol: str) -> str:
        return render("float_average_pool.c.j2", symbol=symbol, spec=self, plan=self.plan, number=c_number)
