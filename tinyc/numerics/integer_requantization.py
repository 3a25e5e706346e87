"""Integer constants that provably requantise exactly as a profile's rule does, with one multiplication and one saturating shift.

Both rules, `rint(float32(accumulator) * scale)` of `litert` and the two roundings of `tflm`, are staircases of at most 255 steps. A pair
(start b, multiplier M) replaces one, for a shift n common to a layer, when floor((2**f * accumulator + b) * M / 2**(32 + n)) climbs every
step that the accumulator can reach at the same accumulator. A step to output y at accumulator t demands
(2**f * t + b) * M >= y * 2**(32 + n) and (2**f * (t - 1) + b) * M < y * 2**(32 + n): bounds that are linear in M, so the admissible
multipliers for a given b are an interval that is computed, not searched. Both staircases are monotone, so equality at the steps is
equality everywhere.

The f fraction bits make room between accumulators: rounding, zero point and the half accumulator by which gemmlowp's first rounding shifts
all steps become part of b, and b can be moved by less than an accumulator. Kernels get them for nothing where they unpack bytes to
int16: with the byte in the upper half, the product is 2**8 times as large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tinyc.numerics.profile import Profile
from tinyc.numerics.requantize import ChannelRequantization

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FRACTION_BITS = 8
"""Bits below the accumulator's unit: what unpacking a byte into the upper half of an int16 gives."""
MAXIMUM_SHIFT = 22
"""Largest n with which the constants of a channel of one single accumulator stay in int32."""
_SHIFT_STEP = 4
_NUDGES = (0, *(sign * size for size in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32) for sign in (1, -1)))
"""By how many 2**-f accumulators starts are moved to find a proof."""


@dataclass(frozen=True, eq=False)
class IntegerRequantization:
    """Per channel constants of `((2**fraction_bits * accumulator + start) * multiplier) >> (32 + shift)`, the output before clamping.

    `multipliers` is 0 for channels without a proof. `starts` may exceed int32 only together with an accumulator that makes up for it.
    """

    shift: int
    fraction_bits: int
    multipliers: npt.NDArray[np.int32]
    starts: Integers

    @property
    def proved(self) -> npt.NDArray[np.bool_]:
        """(C,) True where the constants are exact."""
        return np.asarray(self.multipliers != 0)


def _factors(requantization: ChannelRequantization) -> Floats:
    """The real factor of each channel's rule."""
    if requantization.profile is Profile.TFLM:
        return np.asarray(requantization.multipliers * 2.0 ** (requantization.shifts.astype(np.float64) - 31))
    return requantization.scales.astype(np.float64)


def largest_shift(requantization: ChannelRequantization, live: npt.NDArray[np.bool_], fraction_bits: int) -> int | None:
    """The most precise shift that keeps the multipliers of all channels in `live` below 2**31, or None where no shift from 1 on does.

    Layers whose shifts are equal can share code, and a few bits of precision cost no proof (3 of 6,114 channels of vww, with shifts in
    steps of 4): from 4 on it is a multiple of 4.
    """
    greatest = float(np.max(_factors(requantization), where=live, initial=0.0))
    if not 0.0 < greatest < math.inf:
        return None
    # One thousandth of a place is left for multipliers a little above the factor.
    shift = min(math.floor(-1.001 - math.log2(greatest) + fraction_bits), MAXIMUM_SHIFT)
    if shift < 1:
        return None
    return shift - shift % _SHIFT_STEP if shift >= _SHIFT_STEP else shift


def prove_integer_requantization(
    requantization: ChannelRequantization, low: Integers, high: Integers, shift: int, fraction_bits: int
) -> IntegerRequantization:
    """Constants for channels whose accumulators lie in [low, high], int64 arrays of shape (C,), magnitudes below 2**30.

    Outputs outside the requantisation's bounds are clamped by the caller; steps there are not compared.
    """
    rule = (requantization.scales, requantization.multipliers, requantization.shifts, low, high)
    bounds = (requantization.zero_point, requantization.minimum, requantization.maximum)
    return _proved(requantization.profile, *(values.tobytes() for values in rule), *bounds, shift, fraction_bits)


@lru_cache(maxsize=8)
def _proved(
    profile: Profile,
    scales: bytes,
    multipliers: bytes,
    shifts: bytes,
    lows: bytes,
    highs: bytes,
    zero_point: int,
    minimum: int,
    maximum: int,
    shift: int,
    fraction_bits: int,
) -> IntegerRequantization:
    """The proof of one layer; kept for a moment, since choosing the form of a layer and filling its table both ask for it."""
    rule = ChannelRequantization(
        profile,
        np.frombuffer(scales, np.float32),
        np.frombuffer(multipliers, np.int32),
        np.frombuffer(shifts, np.int32),
        zero_point,
        minimum,
        maximum,
    )
    low, high = np.frombuffer(lows, np.int64), np.frombuffer(highs, np.int64)
    levels = np.arange(minimum + 1, maximum + 1, dtype=np.int64)[None, :]
    places = thresholds(rule, low[:, None], high[:, None], levels)
    wanted, centres = _lines(rule, shift, fraction_bits)
    found = np.zeros(low.shape, dtype=np.int64)
    starts = np.zeros(low.shape, dtype=np.int64)
    single = low == high
    found[single], starts[single] = 2**31 - 1, _start_of_constant(rule, low, shift, fraction_bits)[single]
    missing = np.flatnonzero(~single & (wanted >= 1) & (wanted < 2**31) & _rises(rule, low, high))
    for nudge in _NUDGES:
        start = centres[missing] + nudge
        least, greatest = _multiplier_interval(levels << (32 + shift), places[missing], low[missing], high[missing], start, fraction_bits)
        reach = np.maximum(np.abs((low[missing] << fraction_bits) + start), np.abs((high[missing] << fraction_bits) + start))
        exact = (least <= greatest) & (reach < 2**31)
        found[missing[exact]], starts[missing[exact]] = least[exact], start[exact]
        missing = missing[~exact]
    return IntegerRequantization(shift, fraction_bits, found.astype(np.int32), starts)


def _rises(rule: ChannelRequantization, low: Integers, high: Integers) -> npt.NDArray[np.bool_]:
    """Where the rule is a rising staircase: its factor is not negative, and no left shift wraps."""
    if rule.profile is not Profile.TFLM:
        return np.asarray(rule.scales >= 0)
    lifted = np.maximum(np.abs(low), np.abs(high)).astype(np.float64) * 2.0 ** np.maximum(rule.shifts, 0)
    return np.asarray((rule.multipliers >= 0) & (lifted < 2**31))


def _lines(rule: ChannelRequantization, shift: int, fraction_bits: int) -> tuple[Integers, Integers]:
    """Multiplier and start of the straight line that each channel's staircase follows, (C,) each; 0 where there is none."""
    factors = _factors(rule)
    usable = np.isfinite(factors) & (factors > 2.0**-40) & (factors < 2.0**31)
    safe = np.where(usable, factors, 1.0)
    multipliers = np.rint(safe * 2.0 ** (32 + shift - fraction_bits))
    starts = (rule.zero_point + 0.5) * 2.0 ** (32 + shift) / np.maximum(multipliers, 1.0)
    if rule.profile is Profile.TFLM:
        # The first rounding adds half a unit of its own, of which the second one takes 2**-shift.
        twice = rule.shifts < 0
        starts += np.where(twice, 2.0 ** (30 + fraction_bits) / np.maximum(rule.multipliers.astype(np.float64), 1.0), 0.0)
    usable &= np.abs(starts) < 2.0**31
    return np.where(usable, multipliers, 0.0).astype(np.int64), np.where(usable, np.rint(starts), 0.0).astype(np.int64)


def _start_of_constant(rule: ChannelRequantization, accumulators: Integers, shift: int, fraction_bits: int) -> Integers:
    """Starts with which the multiplier 2**31 - 1 gives the rule's outputs for one accumulator each: the middle of that output's step."""
    with np.errstate(over="ignore"):
        outputs = rule.apply(accumulators[None])[0].astype(np.int64)
    return np.asarray((2 * outputs + 1 << shift) - (accumulators << fraction_bits), dtype=np.int64)


def thresholds(rule: ChannelRequantization, low: Integers, high: Integers, levels: Integers) -> Integers:
    """Least accumulator in [low, high] at which the rule reaches each level; high + 1 where none does.

    `low` and `high` are (C, 1), `levels` (1, S), the result (C, S). By bisection, from where the rule's real factor says.
    """

    def reached(accumulators: Integers) -> npt.NDArray[np.bool_]:
        return np.asarray(levels <= rule.apply(accumulators.T).T)

    factors = _factors(rule)[:, None]
    usable = np.isfinite(factors) & (factors > 0)
    guess = np.divide(levels - rule.zero_point - 0.5, factors, where=usable, out=np.zeros(np.broadcast_shapes(low.shape, levels.shape)))
    nearest = np.clip(guess, low - 4, high + 4).astype(np.int64)
    first, last = np.clip(nearest - 3, low, high + 1), np.clip(nearest + 3, low, high + 1)
    # What is before the first accumulator is not reached, what is behind the last one is.
    first = np.where((first > low) & reached(first - 1), low, first)
    last = np.where((last <= high) & ~reached(last), high + 1, last)
    while np.any(first < last):
        middle = (first + last) >> 1
        passed = reached(middle)
        open_interval = first < last
        first = np.where(open_interval & ~passed, middle + 1, first)
        last = np.where(open_interval & passed, middle, last)
    return first


def _multiplier_interval(
    targets: Integers, places: Integers, low: Integers, high: Integers, starts: Integers, fraction_bits: int
) -> tuple[Integers, Integers]:
    """Least and greatest multiplier per channel that put every step between the right accumulators; empty when least > greatest."""
    at = (places << fraction_bits) + starts[:, None]
    # at * M >= target: a lower bound for at > 0, an upper one for at < 0; impossible for at == 0 and target > 0.
    lower_a, upper_a = _bounds(at, targets)
    # One accumulator less: (at - 2**f) * M <= target - 1, the same after a change of sign.
    lower_b, upper_b = _bounds((1 << fraction_bits) - at, 1 - targets)
    # A step that lies behind all accumulators must stay passed at the least of them; one that is never reached, ahead of the greatest.
    passed, ahead = places <= high[:, None], places > low[:, None]
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
