"""Calibrators on distributions whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyc.errors import UsageError
from tinyc.quantize.choose_range import Range, choose_range
from tinyc.quantize.observe import BINS, Observed
from tinyc.quantize.options import METHODS, QuantizeOptions


def observed(values: np.ndarray) -> Observed:
    low, high = float(values.min()), float(values.max())
    counts = np.histogram(values, BINS, (low, high))[0] if high > low else np.zeros(BINS, np.int64)
    return Observed(low, high, counts, np.zeros(0))


def squared_error(values: np.ndarray, chosen: Range) -> float:
    step = (chosen.highest - chosen.lowest) / 255
    zero_point = np.rint(-chosen.lowest / step)
    level = np.clip(np.rint(values / step) + zero_point, 0, 255)
    return float((((level - zero_point) * step - values) ** 2).mean())


def bell(count: int = 50_000) -> np.ndarray:
    return np.random.RandomState(0).normal(0, 1, count)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50),
    st.sampled_from(METHODS),
)
def test_every_method_keeps_zero_inside_and_never_exceeds_what_occurred(values: list[float], method: str) -> None:
    array = np.array(values)
    chosen = choose_range(observed(array), QuantizeOptions(method, 99.0))
    assert min(array.min(), 0) - 1e-6 <= chosen.lowest <= 0 <= chosen.highest <= max(array.max(), 0) + 1e-6


def test_minmax_covers_exactly_what_occurred() -> None:
    assert choose_range(observed(np.array([-2.0, 1.0, 5.0])), QuantizeOptions("minmax")) == Range(-2.0, 5.0)
    assert choose_range(observed(np.array([2.0, 5.0])), QuantizeOptions("minmax")) == Range(0.0, 5.0)


def test_percentile_leaves_out_the_given_share_of_the_values() -> None:
    values = bell()
    chosen = choose_range(observed(values), QuantizeOptions("percentile", 98.0))
    outside = ((values < chosen.lowest) | (values > chosen.highest)).mean()
    assert outside == pytest.approx(0.02, abs=0.003)
    assert chosen.lowest == pytest.approx(-chosen.highest, abs=0.05)


def test_percentile_cuts_a_relu_at_the_top_only() -> None:
    values = np.maximum(bell(), 0)
    chosen = choose_range(observed(values), QuantizeOptions("percentile", 99.0))
    assert chosen.lowest == 0
    assert (values > chosen.highest).mean() == pytest.approx(0.01, abs=0.002)


def test_percentile_100_is_minmax() -> None:
    values = bell()
    assert choose_range(observed(values), QuantizeOptions("percentile", 100.0)) == choose_range(observed(values), QuantizeOptions("minmax"))


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_mse_has_a_smaller_error_than_minmax_where_there_are_outliers(shift: float) -> None:
    values = np.concatenate([bell(500_000), [9.0, -8.0]]) + shift
    seen = observed(values)
    least, full = (choose_range(seen, QuantizeOptions(method)) for method in ("mse", "minmax"))
    assert squared_error(values, least) < 0.7 * squared_error(values, full)
    # No uniform grid over another symmetric part does better by much: the search has found the valley.
    others = [squared_error(values, Range(full.lowest * part, full.highest * part)) for part in np.linspace(0.1, 1, 91)]
    assert squared_error(values, least) < 1.1 * min(others)


def test_mse_keeps_nearly_everything_where_nothing_is_rare() -> None:
    chosen = choose_range(observed(np.linspace(-1, 1, 10_001)), QuantizeOptions("mse"))
    assert chosen.highest > 0.98
    assert chosen.lowest < -0.98


def test_entropy_ignores_a_far_outlier_and_keeps_a_uniform_distribution() -> None:
    far = choose_range(observed(np.concatenate([bell(), [100.0]])), QuantizeOptions("entropy"))
    assert far.highest < 30
    uniform = choose_range(observed(np.linspace(0, 1, 100_001)), QuantizeOptions("entropy"))
    assert uniform.highest > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_that_never_changes_has_a_range(method: str) -> None:
    assert choose_range(observed(np.full(10, 3.0)), QuantizeOptions(method)) == Range(0.0, 3.0)


@pytest.mark.parametrize("percentile", [50.0, 100.1, -1.0, float("nan")])
def test_a_percentile_outside_its_bounds_is_refused(percentile: float) -> None:
    with pytest.raises(UsageError, match="percentile"):
        QuantizeOptions("percentile", percentile)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(UsageError, match="minmax, percentile, entropy, mse"):
        QuantizeOptions("maximum")
