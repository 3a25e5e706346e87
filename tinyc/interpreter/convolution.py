"""Accumulators of convolutions and fully connected layers, exact, on numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def image_windows(
    image: Array, kernel: tuple[int, int], strides: tuple[int, int], dilation: tuple[int, int], pads: tuple[int, int, int, int]
) -> Array:
    """Windows (output height, output width, kernel height, kernel width, channels) of an image (1, H, W, C) padded with 0."""
    top, left, bottom, right = pads
    padded = np.pad(image[0], ((top, bottom), (left, right), (0, 0)))
    span = ((kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(0, 1))
    windows = windows[:: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
    return windows.transpose(0, 1, 3, 4, 2)


def convolution_accumulator(windows: Array, weights: Array) -> Array:
    """Sums (output height, output width, output channels) of windows times weights (output channels, kernel height, width, channels).

    Float64 products of int8 differences are exact far beyond int32, and matrix multiplication in float64 is fast.
    """
    height, width = windows.shape[:2]
    matrix = windows.reshape(height * width, -1).astype(np.float64)
    sums = matrix @ weights.reshape(weights.shape[0], -1).astype(np.float64).T
    return sums.astype(np.int64).reshape(height, width, weights.shape[0])


def depthwise_accumulator(windows: Array, weights: Array) -> Array:
    """Sums (output height, output width, channels * multiplier) with weights (1, kernel height, kernel width, channels * multiplier)."""
    channels = windows.shape[4]
    multiplier = weights.shape[3] // channels
    taps = weights[0].reshape(*weights.shape[1:3], channels, multiplier).astype(np.float64)
    sums = np.einsum("hwijc,ijcm->hwcm", windows.astype(np.float64), taps, optimize=True)
    return np.asarray(sums.astype(np.int64).reshape(*windows.shape[:2], channels * multiplier))
