"""QUANTIZE (float32 to int8) and DEQUANTIZE (int8 to float32). docs/numerics.md has the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyc.numerics.activation import INT8_MAXIMUM, INT8_MINIMUM
from tinyc.numerics.profile import Profile


@dataclass(frozen=True)
class ReciprocalQuantization:
    """clamp(rint(x * factor) + zero_point) with factor = float32(1 / scale): XNNPACK's rule, halves to even."""

    factor: float
    zero_point: int

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        """int8 array for a float32 array; infinities saturate, NaN has no defined result."""
        scaled = _bounded(values.astype(np.float32) * np.float32(self.factor))
        return np.asarray(np.clip(np.rint(scaled) + self.zero_point, INT8_MINIMUM, INT8_MAXIMUM), dtype=np.int8)


@dataclass(frozen=True)
class DivisionQuantization:
    """clamp(round(x / scale) + zero_point), a float32 division with halves away from zero: TFLite's AffineQuantize."""

    scale: float
    zero_point: int

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        """int8 array for a float32 array; infinities saturate, NaN has no defined result."""
        scaled = _bounded(values.astype(np.float32) / np.float32(self.scale)).astype(np.float64)
        rounded = np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)
        return np.asarray(np.clip(rounded + self.zero_point, INT8_MINIMUM, INT8_MAXIMUM), dtype=np.int8)


@dataclass(frozen=True)
class EvenDivisionQuantization:
    """clamp(rint(x / scale) + zero_point), a float32 division with halves to even: ONNX Runtime's QuantizeLinear."""

    scale: float
    zero_point: int

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        """int8 array for a float32 array; infinities saturate, NaN has no defined result."""
        scaled = _bounded(values.astype(np.float32) / np.float32(self.scale))
        return np.asarray(np.clip(np.rint(scaled) + self.zero_point, INT8_MINIMUM, INT8_MAXIMUM), dtype=np.int8)


QuantizationPlan = ReciprocalQuantization | DivisionQuantization | EvenDivisionQuantization


def _bounded(scaled: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """`scaled` limited to where every int8 zero point still saturates, so that rounding stays in the integers' range."""
    return np.asarray(np.clip(scaled, np.float32(-512), np.float32(512)), dtype=np.float32)


def quantization_plan(profile: Profile, scale: float, zero_point: int) -> QuantizationPlan:
    """The rule of `profile` for a QUANTIZE to int8 with `scale` and `zero_point`."""
    single = np.float32(scale)
    if profile is Profile.LITERT:
        return ReciprocalQuantization(float(np.float32(1) / single), zero_point)
    if profile is Profile.ONNXRUNTIME:
        return EvenDivisionQuantization(float(single), zero_point)
    return DivisionQuantization(float(single), zero_point)


@dataclass(frozen=True)
class DequantizationPlan:
    """scale * (q - zero_point), rounded once to float32; the same in both profiles."""

    scale: float
    zero_point: int

    def apply(self, values: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """float32 array for an int8 array."""
        return np.asarray((values.astype(np.int64) - self.zero_point).astype(np.float32) * np.float32(self.scale), dtype=np.float32)


def dequantization_plan(scale: float, zero_point: int) -> DequantizationPlan:
    """Constants of a DEQUANTIZE from int8."""
    return DequantizationPlan(float(np.float32(scale)), zero_point)
