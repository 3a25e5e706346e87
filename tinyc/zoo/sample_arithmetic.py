"""The few operators that the builder evaluates while it builds, in float64 on NCHW samples; see builder.py for why."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Sample = NDArray[np.float64]


def pad(sample: Sample, pads: tuple[int, int, int, int], value: float) -> Sample:
    """`sample` with `pads` (top, left, bottom, right) pixels of `value` around it."""
    top, left, bottom, right = pads
    return np.pad(sample, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)


def convolve(sample: Sample, weights: Sample, stride: int, pads: tuple[int, int, int, int], groups: int) -> Sample:
    """Convolution of `sample` with `weights` (out, in per group, height, width); dense or depthwise."""
    padded = pad(sample, pads, 0.0)
    outputs, _, kernel_height, kernel_width = weights.shape
    height = (padded.shape[2] - kernel_height) // stride + 1
    width = (padded.shape[3] - kernel_width) // stride + 1
    result = np.zeros((len(sample), outputs, height * width))
    # One product a tap instead of one over all taps: the memory of im2col is never needed.
    for row in range(kernel_height):
        for column in range(kernel_width):
            tap = padded[:, :, row : row + stride * height : stride, column : column + stride * width : stride]
            flat = tap.reshape(*tap.shape[:2], height * width)
            if groups == 1:
                result += np.matmul(weights[:, :, row, column], flat)
            else:
                result += weights[None, :, 0, row, column, None] * flat
    return result.reshape(len(sample), outputs, height, width)


def max_pool(sample: Sample, kernel: int, stride: int, pads: tuple[int, int, int, int]) -> Sample:
    """Largest value under a square window; padding never wins."""
    padded = pad(sample, pads, -np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
    return np.asarray(windows[:, :, ::stride, ::stride].max(axis=(4, 5)))


def rounded(values: Sample) -> Sample:
    """`values` to eight bits of mantissa.

    Sums of products differ in their last bits between processors and BLAS libraries; what goes into a file must not.
    """
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(mantissa * 256) / 256, exponent))
