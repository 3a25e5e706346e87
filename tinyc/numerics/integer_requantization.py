"""Integer multipliers that provably requantise exactly as the float rule `rint(float32(accumulator) * scale)` does.

The rule is a staircase of at most 255 steps. A pair (multiplier M, offset C) replaces it, for a shift n common to a layer, when
floor((accumulator * M + C * 2**32) / 2**(32 + n)) climbs every step that the accumulator can reach at the same accumulator. A step to
level k at accumulator t demands t*M + C*2**32 >= k*2**(32+n) and (t-1)*M + C*2**32 < k*2**(32+n): bounds that are linear in M, so the
admissible multipliers are an interval that is computed, not searched. Both staircases are monotone, so equality at the steps is equality
everywhere. (Two roundings, the rule of the profile `tflm`, shift the steps by up to half an accumulator each: no multiplier fits them.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

MAXIMUM_SHIFT = 22
"""Largest n with which the offset, zero point included, and the sum stay in int32."""


@dataclass(frozen=True, eq=False)
class IntegerRequantization:
    """Per channel constants of `(((accumulator * multiplier) >> 32) + offset) >> shift`, before the zero point is added.

    `multipliers` is 0 for channels without a proof.
    """

    shift: int
    multipliers: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int32]

    @property
    def proved(self) -> npt.NDArray[np.bool_]:
        """(C,) True where the constants are exact."""
        return np.asarray(self.multipliers != 0)


def largest_shift(scales: npt.NDArray[np.float32]) -> int | None:
    """The most precise shift that keeps the multipliers of all `scales` below 2**31, or None where no shift from 1 on does."""
    greatest = float(scales.max(initial=0.0))
    if greatest <= 0.0:
        return None
    # One thousandth of a place is left for multipliers a little above the scale.
    shift = min(math.floor(-1.001 - math.log2(greatest)), MAXIMUM_SHIFT)
    return shift if shift >= 1 else None


def prove_integer_requantization(
    scales: npt.NDArray[np.float32], low: Integers, high: Integers, levels: tuple[int, int], shift: int
) -> IntegerRequantization:
    """Constants for channels whose accumulators lie in [low, high], int64 arrays of shape (C,), magnitudes below 2**30.

    `levels` are the least and greatest output, zero point subtracted, that clamping lets through; steps outside are not compared.
    """
    return _proved(scales.tobytes(), low.tobytes(), high.tobytes(), levels, shift)


@lru_cache(maxsize=8)
def _proved(scale_bytes: bytes, low_bytes: bytes, high_bytes: bytes, levels: tuple[int, int], shift: int) -> IntegerRequantization:
    """The proof of one layer; kept for a moment, since choosing the form of a layer and filling its table both ask for it."""
    scales = np.frombuffer(scale_bytes, np.float32)
    low, high = np.frombuffer(low_bytes, np.int64), np.frombuffer(high_bytes, np.int64)
    steps = np.arange(levels[0] + 1, levels[1] + 1, dtype=np.int64)[None, :]
    thresholds = _thresholds(scales[:, None], low[:, None], high[:, None], steps)
    multipliers = np.zeros(scales.shape, dtype=np.int32)
    offsets = np.zeros(scales.shape, dtype=np.int32)
    missing = np.arange(scales.size)
    for change in (0, 1, -1, 2, -2):
        offset = (1 << (shift - 1)) + change
        least, greatest = _multiplier_interval(steps, thresholds[missing], low[missing], high[missing], shift, offset)
        found = least <= greatest
        multipliers[missing[found]] = least[found]
        offsets[missing[found]] = offset
        missing = missing[~found]
    return IntegerRequantization(shift, multipliers, offsets)


def _thresholds(scales: npt.NDArray[np.float32], low: Integers, high: Integers, steps: Integers) -> Integers:
    """Least accumulator in [low, high] at which the float rule reaches each step; high + 1 where none does. By bisection."""
    shape = np.broadcast_shapes(low.shape, steps.shape)
    first = np.broadcast_to(low, shape).copy()
    last = np.broadcast_to(high + 1, shape).copy()
    while np.any(first < last):
        middle = (first + last) >> 1
        reached = np.rint(middle.astype(np.float32) * scales) >= steps
        open_interval = first < last
        first = np.where(open_interval & ~reached, middle + 1, first)
        last = np.where(open_interval & reached, middle, last)
    return first


def _multiplier_interval(
    steps: Integers, thresholds: Integers, low: Integers, high: Integers, shift: int, offset: int
) -> tuple[Integers, Integers]:
    """Least and greatest multiplier per channel that put every step between the right accumulators; empty when least > greatest."""
    target = steps * np.int64(1 << (32 + shift)) - np.int64(offset << 32)
    # t * M >= target: a lower bound for t > 0, an upper one for t < 0; impossible for t == 0 and target > 0.
    lower_a, upper_a = _bounds(thresholds, target)
    # (t - 1) * M <= target - 1, the same after a change of sign.
    lower_b, upper_b = _bounds(1 - thresholds, 1 - target)
    # A step that lies behind all accumulators must stay passed at the least of them; one that is never reached, ahead of the greatest.
    passed, ahead = thresholds <= high[:, None], thresholds > low[:, None]
    lower = np.maximum(np.where(passed, lower_a, 1), np.where(ahead, lower_b, 1))
    upper = np.minimum(np.where(passed, upper_a, 2**31 - 1), np.where(ahead, upper_b, 2**31 - 1))
    return lower.max(axis=1, initial=1), upper.min(axis=1, initial=2**31 - 1)


def _bounds(factor: Integers, target: Integers) -> tuple[Integers, Integers]:
    """All M in [1, 2**31) with factor * M >= target, as (least, greatest)."""
    divisor = np.where(factor == 0, 1, factor)
    floor = target // divisor
    ceiling = -((-target) // divisor)
    least = np.where(factor > 0, ceiling, 1)
    greatest = np.where(factor < 0, floor, 2**31 - 1)
    impossible = (factor == 0) & (target > 0)
    return np.where(impossible, 2**31, least), np.where(impossible, 0, greatest)
