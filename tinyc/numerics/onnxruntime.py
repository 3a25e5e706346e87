"""Rules that only ONNX Runtime has (its CPU kernels on x86-64): sums, products, means and averages in float32. docs/numerics.md has the
evidence. Where a rule adds the output zero point before it rounds, it matters whether the file has uint8 or int8 there: `offset` is then
128, and everything is computed with values and zero points that are 128 higher.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyc.numerics.activation import INT8_MAXIMUM, INT8_MINIMUM

Int8Array = npt.NDArray[np.int8]
Single = np.float32


def fused_multiply_add(a: npt.NDArray[Any], b: float, c: npt.NDArray[Any] | float) -> npt.NDArray[np.float32]:
    """a * b + c with one rounding to float32; `a` are integers of at most 9 bits, so that float64 holds the product exactly."""
    return np.asarray(np.asarray(a, np.float64) * np.float64(b) + np.asarray(c, np.float64)).astype(np.float32)


@dataclass(frozen=True)
class FloatAddition:
    """clamp(rint(fma(a, first_ratio, fma(b, second_ratio, fixed)))), a and b `offset` above the int8 operands, as is the result."""

    first_ratio: float
    second_ratio: float
    fixed: float
    offset: int
    minimum: int
    maximum: int

    def apply(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Int8Array:
        """int8 sums of two int8 arrays, with numpy broadcasting."""
        first, second = a.astype(np.int64) + self.offset, b.astype(np.int64) + self.offset
        total = fused_multiply_add(first, self.first_ratio, fused_multiply_add(second, self.second_ratio, self.fixed))
        outputs = np.rint(np.clip(total, Single(-1024), Single(1024))).astype(np.int64) - self.offset
        return np.asarray(np.clip(outputs, self.minimum, self.maximum), dtype=np.int8)


def float_addition(
    input_scales: tuple[float, float],
    input_zero_points: tuple[int, int],
    output_scale: float,
    output_zero_point: int,
    minimum: int,
    maximum: int,
    signs: tuple[int, int] = (1, 1),
    unsigned: bool = False,
    swapped: bool = False,
) -> FloatAddition | SwappedFloatAddition:
    """Constants of QLinearAdd. `swapped` says that the operands come in the opposite of the order in which ONNX Runtime takes them."""
    offset = 128 if unsigned else 0
    if swapped:
        own = float_addition(
            (input_scales[1], input_scales[0]),
            (input_zero_points[1], input_zero_points[0]),
            output_scale,
            output_zero_point,
            minimum,
            maximum,
            (signs[1], signs[0]),
            unsigned,
        )
        assert isinstance(own, FloatAddition)
        return SwappedFloatAddition(own)
    first, second = (Single(sign) * (Single(scale) / Single(output_scale)) for sign, scale in zip(signs, input_scales, strict=True))
    first_zero, second_zero, result_zero = (zero + offset for zero in (*input_zero_points, output_zero_point))
    zeros = fused_multiply_add(np.asarray(first_zero), float(first), float(second * Single(second_zero)))
    fixed = Single(result_zero) - Single(zeros)
    return FloatAddition(float(first), float(second), float(fixed), offset, minimum, maximum)


@dataclass(frozen=True)
class SwappedFloatAddition:
    """A FloatAddition whose operands come in the other order."""

    plan: FloatAddition

    @property
    def minimum(self) -> int:
        """Lower bound of the result."""
        return self.plan.minimum

    @property
    def maximum(self) -> int:
        """Upper bound of the result."""
        return self.plan.maximum

    def apply(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Int8Array:
        """int8 sums of two int8 arrays, with numpy broadcasting."""
        return self.plan.apply(b, a)


@dataclass(frozen=True)
class DequantizedAddition:
    """clamp(rint(f32(f32(a - za) * sa + f32(b - zb) * sb) / sy) + zy), each step in float32: a sum between DequantizeLinear and
    QuantizeLinear for which ONNX Runtime has no 8-bit kernel. Scales are negative where an operand is taken off."""

    first_scale: float
    second_scale: float
    first_zero_point: int
    second_zero_point: int
    output_scale: float
    zero_point: int
    minimum: int
    maximum: int

    def apply(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Int8Array:
        """int8 sums of two int8 arrays, with numpy broadcasting."""
        first = (a.astype(np.int64) - self.first_zero_point).astype(np.float32) * Single(self.first_scale)
        second = (b.astype(np.int64) - self.second_zero_point).astype(np.float32) * Single(self.second_scale)
        scaled = np.clip((first + second) / Single(self.output_scale), Single(-1024), Single(1024))
        return np.asarray(np.clip(np.rint(scaled).astype(np.int64) + self.zero_point, self.minimum, self.maximum), dtype=np.int8)


@dataclass(frozen=True)
class FloatSumMultiplication:
    """clamp(rint(float32((a - za) * (b - zb)) * scale + zero_point)): QLinearMul, which adds the zero point before it rounds."""

    first_zero_point: int
    second_zero_point: int
    scale: float
    zero_point: int
    offset: int
    minimum: int
    maximum: int

    def apply(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Int8Array:
        """int8 products of two int8 arrays, with numpy broadcasting."""
        product = (a.astype(np.int64) - self.first_zero_point) * (b.astype(np.int64) - self.second_zero_point)
        real = product.astype(np.float32) * Single(self.scale) + Single(self.zero_point + self.offset)
        outputs = np.rint(np.clip(real, Single(-1024), Single(1024))).astype(np.int64) - self.offset
        return np.asarray(np.clip(outputs, self.minimum, self.maximum), dtype=np.int8)


@dataclass(frozen=True)
class ScaledMean:
    """clamp(rint(float32(sum + offset) * scale) + zero_point), offset = -count * input zero point: QLinearGlobalAveragePool."""

    offset: int
    scale: float
    zero_point: int

    def apply_to_sum(self, total: npt.NDArray[np.int64]) -> Int8Array:
        """int8 means from plain sums of int8 values (zero point not subtracted)."""
        scaled = np.clip((total + self.offset).astype(np.float32) * Single(self.scale), Single(-1024), Single(1024))
        return np.asarray(np.clip(np.rint(scaled).astype(np.int64) + self.zero_point, INT8_MINIMUM, INT8_MAXIMUM), dtype=np.int8)


def scaled_mean(count: int, input_scale: float, input_zero_point: int, output_scale: float, output_zero_point: int) -> ScaledMean:
    """Constants of QLinearGlobalAveragePool."""
    scale = Single(input_scale) / (Single(output_scale) * Single(count))
    return ScaledMean(-input_zero_point * count, float(scale), output_zero_point)


@dataclass(frozen=True)
class FloatAverage:
    """rint(sum of (q - input_zero_point) * input_scale / count / output_scale + zero_point), each step in float32, the sum in row order:
    QLinearAveragePool. `zero_point` and result are `offset` above int8."""

    input_scale: float
    input_zero_point: int
    output_scale: float
    zero_point: int
    offset: int

    def apply(self, windows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Unclamped averages over axes 1 and 2 of an array of int8 values (batch, height, width, channels)."""
        terms = (windows - self.input_zero_point).astype(np.float32) * Single(self.input_scale)
        flat = terms.reshape(terms.shape[0], -1, terms.shape[3])
        # cumsum adds strictly in order; sum would add pairwise.
        total = np.cumsum(flat, axis=1, dtype=np.float32)[:, -1]
        real = total / Single(flat.shape[1]) / Single(self.output_scale) + Single(self.zero_point + self.offset)
        return np.asarray(np.rint(np.clip(real, Single(-1024), Single(1024))).astype(np.int64) - self.offset)
