"""RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR of int8 images: which elements an output reads, with which weights. See docs/numerics.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyc.numerics.profile import Profile

Integers = npt.NDArray[np.int64]

_LITERT_BITS = 11
_TFLM_BITS = 10


def nearest_indices(profile: Profile, size: int, outputs: int, align_corners: bool, half_pixel_centers: bool) -> Integers:
    """(outputs,) positions in 0..size-1 that the output positions copy.

    Without a flag, LiteRT's kernel steps in fixed point with 16 fractional bits, rounded up. The reference kernel steps in float32, and so
    do both with a flag.
    """
    positions = np.arange(outputs, dtype=np.int64)
    if profile is Profile.LITERT and not (align_corners or half_pixel_centers):
        indices = (positions * ((size << 16) // outputs + 1)) >> 16
    else:
        scale = np.float32(size - 1) / np.float32(outputs - 1) if align_corners and outputs > 1 else np.float32(size) / np.float32(outputs)
        places = ((positions.astype(np.float32) + np.float32(0.5 if half_pixel_centers else 0)) * scale).astype(np.float64)
        indices = np.floor(places + 0.5 if align_corners else places).astype(np.int64)
    return np.asarray(np.clip(indices, 0, size - 1), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class AxisInterpolation:
    """One axis of a bilinear resize: output i is `value[lower[i]] * (2**bits - weight[i]) + value[upper[i]] * weight[i]`, over 2**bits."""

    bits: int
    lower: Integers
    upper: Integers
    weight: Integers


def axis_interpolation(profile: Profile, size: int, outputs: int, align_corners: bool, half_pixel_centers: bool) -> AxisInterpolation:
    """Indices and weights along an axis of `size` elements resized to `outputs`.

    `litert`: positions in float32, weights with 11 bits, halves to even (XNNPACK). `tflm`: positions in fixed point with 10 bits (TFLite's
    integer kernel). That kernel reads beyond the input where the rounded step overshoots; there the last element is repeated instead.
    """
    if profile is Profile.LITERT:
        return _float_positions(size, outputs, align_corners, half_pixel_centers)
    one = 1 << _TFLM_BITS
    step = (one * size + outputs // 2) // outputs
    if align_corners and outputs > 1:
        step = (one * (size - 1) + (outputs - 1) // 2) // (outputs - 1)
    positions = np.arange(outputs, dtype=np.int64) * step + (step // 2 - one // 2 if half_pixel_centers else 0)
    # Where a position lies outside, both neighbours are the border element and the weight does not matter.
    positions = np.clip(positions, 0, one * (size - 1))
    lower = positions >> _TFLM_BITS
    return AxisInterpolation(_TFLM_BITS, lower, np.minimum(lower + 1, size - 1), positions - (lower << _TFLM_BITS))


def _float_positions(size: int, outputs: int, align_corners: bool, half_pixel_centers: bool) -> AxisInterpolation:
    single = np.float32
    shared_ends = int(align_corners and outputs > 1)
    scale = single(size - shared_ends) / single(outputs - shared_ends)
    positions = np.arange(outputs).astype(np.float32) * scale
    if half_pixel_centers:
        positions = positions + (single(0.5) * scale - single(0.5))
    positions = np.clip(positions, single(0), single(size - 1))
    lower = positions.astype(np.int64)
    weight = np.rint((positions - lower.astype(np.float32)) * single(1 << _LITERT_BITS)).astype(np.int64)
    return AxisInterpolation(_LITERT_BITS, lower, np.minimum(lower + 1, size - 1), weight)


@dataclass(frozen=True)
class BilinearRounding:
    """How the sum of four products with weights of 2 * `bits` bits becomes an int8.

    `halves_up` rounds halves up (XNNPACK); otherwise they round away from zero (TFLite).
    """

    bits: int
    halves_up: bool

    def apply(self, sums: Integers) -> npt.NDArray[np.int8]:
        """int8 means for sums of value * weight * weight."""
        half = np.int64(1) << (2 * self.bits - 1)
        if self.halves_up:
            return np.asarray((sums + half) >> (2 * self.bits), dtype=np.int8)
        return np.asarray(np.sign(sums) * ((np.abs(sums) + half) >> (2 * self.bits)), dtype=np.int8)


def bilinear_rounding(profile: Profile) -> BilinearRounding:
    """The rounding of `profile`."""
    return BilinearRounding(_LITERT_BITS, True) if profile is Profile.LITERT else BilinearRounding(_TFLM_BITS, False)


def resize_bilinear(
    rounding: BilinearRounding, rows: AxisInterpolation, columns: AxisInterpolation, image: npt.NDArray[np.int8]
) -> npt.NDArray[np.int8]:
    """Resized image (1, H', W', C) of `image` (1, H, W, C)."""
    values = image[0].astype(np.int64)
    across = _mix(values[:, columns.lower], values[:, columns.upper], columns.weight[np.newaxis, :, np.newaxis], columns.bits)
    return rounding.apply(_mix(across[rows.lower], across[rows.upper], rows.weight[:, np.newaxis, np.newaxis], rows.bits))[np.newaxis]


def _mix(low: Integers, high: Integers, weight: npt.NDArray[Any], bits: int) -> Integers:
    return np.asarray(low * ((1 << bits) - weight) + high * weight, dtype=np.int64)
