"""Chooses the range of values that the 256 levels of an activation cover.

A narrow range has fine levels but clips rare large values. Each calibrator weighs the two differently; all are pure functions of what was
observed, and all keep 0 representable, as padding and ReLU need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tinyc.quantize.observe import Observed
from tinyc.quantize.options import QuantizeOptions

LEVELS: Final = 256
_CANDIDATES = 64
_SMALLEST_FRACTION = 0.2

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Range:
    """Real values from `lowest` <= 0 to `highest` >= 0."""

    lowest: float
    highest: float


def choose_range(observed: Observed, options: QuantizeOptions) -> Range:
    """The range of one activation.

    minmax covers all that occurred. percentile leaves out the rarest values, half of them at each end. entropy loses the least information
    (smallest Kullback-Leibler divergence, after Migacz, GTC 2017). mse has the least mean squared error, clipping and rounding together.
    """
    full = Range(min(observed.minimum, 0.0), max(observed.maximum, 0.0))
    if options.method == "minmax" or not observed.counts.any():
        return full
    if options.method == "percentile":
        return _percentile(observed, full, options.percentile)
    return _CHOOSERS[options.method](observed, full)


def _edges(observed: Observed) -> Values:
    return np.linspace(observed.minimum, observed.maximum, len(observed.counts) + 1)


def _percentile(observed: Observed, full: Range, percentile: float) -> Range:
    cumulative = np.cumsum(observed.counts) / observed.counts.sum()
    edges = _edges(observed)
    # With values on one side of 0 only, the other end is 0 and nothing is cut there.
    share = (100 - percentile) / 100
    tails = (share / 2, share / 2) if full.lowest < 0 < full.highest else (share, share)
    lowest = edges[np.searchsorted(cumulative, tails[0], side="right")] if full.lowest < 0 else 0.0
    highest = edges[np.searchsorted(cumulative, 1 - tails[1], side="left") + 1] if full.highest > 0 else 0.0
    return Range(min(float(lowest), 0.0), max(float(highest), 0.0))


def _least_error(observed: Observed, full: Range) -> Range:
    """Shrinks both ends together, then each end alone, as long as the squared error of the histogram's bin centres falls."""
    edges = _edges(observed)
    centres = (edges[:-1] + edges[1:]) / 2
    weights = observed.counts / observed.counts.sum()

    def error(candidate: Range) -> float:
        step = (candidate.highest - candidate.lowest) / (LEVELS - 1)
        if step <= 0:
            return float("inf")
        zero_point = np.rint(-candidate.lowest / step)
        level = np.clip(np.rint(centres / step) + zero_point, 0, LEVELS - 1)
        return float((weights * ((level - zero_point) * step - centres) ** 2).sum())

    fractions = np.linspace(1.0, _SMALLEST_FRACTION, _CANDIDATES)
    best = min((Range(full.lowest * part, full.highest * part) for part in fractions), key=error)
    best = min((Range(best.lowest, full.highest * part) for part in fractions), key=error, default=best)
    return min((best, *(Range(full.lowest * part, best.highest) for part in fractions)), key=error)


def _least_divergence(observed: Observed, full: Range) -> Range:
    """Clips at a threshold on the magnitude; candidates are compared by the divergence of the clipped from the quantised distribution."""
    magnitude = max(-full.lowest, full.highest)
    one_sided = full.lowest == 0 or full.highest == 0
    levels = LEVELS if one_sided else LEVELS // 2
    edges = _edges(observed)
    centres = np.abs((edges[:-1] + edges[1:]) / 2)
    bins = len(observed.counts)
    counts = np.histogram(centres, bins, (0.0, magnitude), weights=observed.counts.astype(np.float64))[0]
    # Zeros are exact whatever the threshold; the many that a ReLU makes would outweigh everything else.
    counts[0] = counts[1]
    widths = sorted({round(float(width)) for width in np.linspace(levels, bins, _CANDIDATES)})
    best = min(reversed(widths), key=lambda width: _divergence(counts, width, levels))
    threshold = magnitude * best / bins
    return Range(max(full.lowest, -threshold), min(full.highest, threshold))


def _divergence(counts: Values, width: int, levels: int) -> float:
    """Kullback-Leibler divergence when the first `width` bins are kept, what lies above is clipped, and `levels` levels remain."""
    clipped = counts[:width].copy()
    clipped[-1] += counts[width:].sum()
    # The quantised distribution does not know of the clipped values: it is made of what was inside.
    inside = counts[:width]
    group = np.arange(width) * levels // width
    occupied = (clipped > 0).astype(np.float64)
    members = np.bincount(group, occupied, levels)
    mean = np.bincount(group, inside, levels) / np.maximum(members, 1)
    spread = mean[group] * occupied
    if not spread.any():
        return float("inf")
    reference, model = clipped / clipped.sum(), spread / spread.sum()
    used = reference > 0
    # Where the model says impossible, a small probability keeps the divergence finite and large.
    return float((reference[used] * np.log(reference[used] / np.maximum(model[used], 1e-12))).sum())


_CHOOSERS: Final[Mapping[str, Callable[[Observed, Range], Range]]] = {"entropy": _least_divergence, "mse": _least_error}
