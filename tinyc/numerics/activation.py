"""Fused activations of quantised operators as clamp bounds on the quantised output."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tinyc.numerics.fixed_point import round_half_away
from tinyc.numerics.profile import Profile

Activation = Literal["none", "relu", "relu6", "relu_n1_to_1"]

INT8_MINIMUM = -128
INT8_MAXIMUM = 127

_REAL_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "none": (None, None),
    "relu": (0.0, None),
    "relu6": (0.0, 6.0),
    "relu_n1_to_1": (-1.0, 1.0),
}


def activation_bounds(activation: Activation | str, scale: float, zero_point: int, profile: Profile = Profile.LITERT) -> tuple[int, int]:
    """(minimum, maximum) of an int8 output with `scale` and `zero_point` after `activation`.

    The real bound is divided by the scale in float32. The profiles differ only where that quotient is an exact half: `tflm` rounds it away
    from zero before the zero point is added (TFLite's CalculateActivationRangeQuantized), `litert` to even after (XNNPACK). LiteRT's
    AVERAGE_POOL_2D, which XNNPACK does not take, follows `tflm` in both profiles.
    Raises ValueError for an activation other than none, relu, relu6 and relu_n1_to_1.
    """
    if activation not in _REAL_BOUNDS:
        raise ValueError(f"unknown activation {activation!r}; known: {', '.join(_REAL_BOUNDS)}")
    lower, upper = _REAL_BOUNDS[activation]

    def quantize(real: float) -> int:
        quotient = np.float32(real) / np.float32(scale)
        if profile is Profile.LITERT:
            return int(np.rint(quotient + np.float32(zero_point)))
        if profile is Profile.ONNXRUNTIME:
            return int(np.rint(quotient)) + zero_point
        return zero_point + round_half_away(float(quotient))

    minimum = INT8_MINIMUM if lower is None else max(INT8_MINIMUM, quantize(lower))
    maximum = INT8_MAXIMUM if upper is None else min(INT8_MAXIMUM, quantize(upper))
    return minimum, maximum
