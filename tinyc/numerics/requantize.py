"""Requantisation of convolution accumulators: int32 sums of products to int8 outputs, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyc.numerics.activation import activation_bounds
from tinyc.numerics.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from tinyc.numerics.profile import Profile

__all__ = ["ChannelRequantization", "activation_bounds", "channel_requantization", "quantize_multiplier"]


@dataclass(frozen=True, eq=False)
class ChannelRequantization:
    """Constants that turn the accumulators of one layer into int8, one entry per output channel.

    Both profiles' constants are always present; `profile` says which of them `apply` uses. A per-tensor layer has its one scale repeated.
    """

    profile: Profile
    scales: npt.NDArray[np.float32]
    """(C,) float32; `litert`: float32(input scale) * float32(weight scale) / float32(output scale), each step rounded to float32."""
    multipliers: npt.NDArray[np.int32]
    """(C,) int32; `tflm`: significand, see quantize_multiplier."""
    shifts: npt.NDArray[np.int32]
    """(C,) int32; `tflm`: power of two, positive to the left."""
    zero_point: int
    minimum: int
    maximum: int

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return int(self.scales.shape[0])

    def apply(self, accumulator: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        """Outputs for `accumulator`, an integer array within the int32 range whose last axis is the channels (bias included)."""
        if self.profile is Profile.LITERT:
            # A scale of a damaged model may overflow; infinity is clamped like every other large value.
            with np.errstate(over="ignore", invalid="ignore"):
                scaled = accumulator.astype(np.float32) * self.scales
            # Clamping before rounding keeps huge values out of the integer conversion; the bounds are integers, so the order is free.
            bounded = np.clip(scaled, np.float32(self.minimum - self.zero_point), np.float32(self.maximum - self.zero_point))
            outputs = np.rint(bounded).astype(np.int64) + self.zero_point
        else:
            outputs = multiply_by_quantized_multiplier(accumulator, self.multipliers, self.shifts) + self.zero_point
        return np.asarray(np.clip(outputs, self.minimum, self.maximum), dtype=np.int8)


def channel_requantization(
    profile: Profile,
    input_scale: float,
    weight_scales: npt.ArrayLike,
    output_scale: float,
    output_zero_point: int,
    minimum: int,
    maximum: int,
    *,
    single_precision_product: bool = False,
) -> ChannelRequantization:
    """Constants for CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED.

    `weight_scales` has one entry per output channel (or a single one, which then gives a ChannelRequantization of one channel; numpy
    broadcasting makes that apply to all). `minimum` and `maximum` are the clamp bounds, see activation_bounds.

    A layer with a zero, negative or subnormal weight scale is computed by the `tflm` rule in both profiles, as LiteRT does (mcunet-in3 has
    fourteen of them); the returned `profile` says so.

    `single_precision_product` concerns only the fixed-point constants: TFLite's per-tensor FULLY_CONNECTED multiplies input and weight
    scale in float32 before it widens to double (GetQuantizedConvolutionMultipler), where the convolutions and per-channel
    FULLY_CONNECTED widen first (PopulateConvolutionQuantizationParams).
    """
    weights = np.atleast_1d(np.asarray(weight_scales, dtype=np.float32))
    single_input = np.float32(input_scale)
    single_output = np.float32(output_scale)
    # Scales of a damaged model may overflow; whoever makes code of the result refuses scales that are not finite.
    with np.errstate(over="ignore", invalid="ignore"):
        scales = (single_input * weights / single_output).astype(np.float32)
        product = single_input * weights
    if single_precision_product:
        effective = product.astype(np.float64) / np.float64(single_output)
    else:
        effective = np.float64(single_input) * weights.astype(np.float64) / np.float64(single_output)
    pairs = [quantize_multiplier(float(real)) for real in effective]
    # XNNPACK refuses a layer with a weight scale that is not a normal positive number; LiteRT then runs its own fixed-point kernel.
    delegated = bool((weights >= np.finfo(np.float32).tiny).all())
    if profile is Profile.ONNXRUNTIME:
        # The same float32 rule as LiteRT's, whatever the scales.
        profile, delegated = Profile.LITERT, True
    return ChannelRequantization(
        profile=profile if delegated else Profile.TFLM,
        scales=scales,
        multipliers=np.array([multiplier for multiplier, _ in pairs], dtype=np.int32),
        shifts=np.array([shift for _, shift in pairs], dtype=np.int32),
        zero_point=output_zero_point,
        minimum=minimum,
        maximum=maximum,
    )
