"""Why ReduceMean is approximate: its order of additions is known where it stands alone, and another one between convolutions."""

from __future__ import annotations

import platform

import pytest

from numerics.measure_mean_order import measure_alone, rewritten_axes


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the order is that of ONNX Runtime on x86-64")
def test_the_order_of_a_mean_that_stands_alone_is_followed_except_between_kept_dimensions() -> None:
    pytest.importorskip("onnxruntime")
    seen, differing = measure_alone(300, 1)
    assert seen.total() == 300
    assert set(differing) == {"KRK"}


def test_between_convolutions_the_same_mean_is_one_over_other_axes() -> None:
    pytest.importorskip("onnxruntime")
    assert rewritten_axes([2, 3], False) == [2, 3]
    assert rewritten_axes([2, 3], True) == [1, 2]
