"""From accumulators to int8: which instructions requantise a layer, and the table of its channels' constants.

Shared by convolution, depthwise convolution and fully connected layers. `plan_output_stage` decides; a spec holds the resulting
`OutputStage`, `channel_table` gives the constants in the layout that the C typedefs of runtime/tinyc_kernels.h declare.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from tinyc.backends.cortexm.kernels.base import Table
from tinyc.numerics.integer_requantization import (
    FRACTION_BITS,
    IntegerRequantization,
    largest_shift,
    prove_integer_requantization,
)
from tinyc.numerics.profile import Profile
from tinyc.numerics.requantize import ChannelRequantization

Integers = npt.NDArray[np.int64]


class OutputForm(str, Enum):
    """How an accumulator becomes an output."""

    FLOAT = "float"
    """`litert`: one float32 multiplication."""
    SHIFT = "shift"
    """`tflm` without a proof: rounding multiplication and rounding right shift by at least one place, or a constant."""
    INTEGER = "integer"
    """One integer multiplication, proved equal for every reachable accumulator of every channel."""
    MIXED = "mixed"
    """`litert`: as INTEGER, and FLOAT for the channels that have no proof."""
    GENERAL = "general"
    """`tflm`: any shifts."""


_DTYPES: dict[OutputForm, list[tuple[str, str]]] = {
    OutputForm.FLOAT: [("bias", "i4"), ("scale", "f4")],
    OutputForm.INTEGER: [("bias", "i4"), ("multiplier", "i4")],
    OutputForm.MIXED: [("bias", "i4"), ("multiplier", "i4")],
    OutputForm.SHIFT: [("bias", "i4"), ("multiplier", "i4"), ("offset", "i4"), ("shift", "i4")],
    OutputForm.GENERAL: [("bias", "i4"), ("multiplier", "i4"), ("left", "i4"), ("right", "i4")],
}


@dataclass(frozen=True)
class OutputStage:
    """What a body's text must know of its requantisation.

    `shift` is the common shift of INTEGER and MIXED, 0 otherwise. Their accumulators have `fraction_bits` bits below the unit: one factor
    of each product must come with its byte in the upper half of an int16.
    """

    form: OutputForm
    zero_point: int
    minimum: int
    maximum: int
    shift: int = 0
    fraction_bits: int = 0
    compact: bool = False
    """Whether channels without a proof are left to a function that all kernels share: less code, more instructions."""

    @property
    def channel_type(self) -> str:
        """C typedef of one channel's constants."""
        return f"tinyc_{self.form.value}_channel"

    @property
    def clamped_by_saturation(self) -> bool:
        """Whether the bounds are those of int8 itself."""
        return (self.minimum, self.maximum) == (-128, 127)

    @property
    def negative_sums_vanish(self) -> bool:
        """Whether everything below the zero point is clamped to it, so that the rounding of negative values does not matter."""
        return self.minimum == self.zero_point

    def groups(self, accumulators: list[str]) -> list[list[str]]:
        """`accumulators` in groups of 4, 2 and 1: the counts for which the runtime header scales several at a time."""
        groups: list[list[str]] = []
        rest = accumulators
        while rest:
            size = 4 if len(rest) >= 4 else 2 if len(rest) >= 2 else 1
            groups.append(rest[:size])
            rest = rest[size:]
        return groups


def folded_bias(weights: npt.NDArray[np.int8], bias: npt.NDArray[np.int32] | None, input_zero_point: int) -> Integers:
    """(C,) start values of the accumulators for `weights` (C, K): bias - zero point * sum of weights."""
    sums = weights.astype(np.int64).sum(axis=1)
    start = np.zeros(weights.shape[0], dtype=np.int64) if bias is None else bias.astype(np.int64)
    return np.asarray(start - input_zero_point * sums, dtype=np.int64)


def accumulator_bound(weights: npt.NDArray[np.int8], bias: npt.NDArray[np.int32] | None, input_zero_point: int = 0) -> int:
    """Greatest magnitude that an accumulator or a partial sum can have for `weights` (C, K); below 2**30 every form is exact."""
    magnitudes = np.abs(weights.astype(np.int64)).sum(axis=1) * 128
    start = np.abs(folded_bias(weights, bias, input_zero_point))
    return int((magnitudes + start).max(initial=0))


def _accumulator_ranges(weights: npt.NDArray[np.int8], start: Integers) -> tuple[Integers, Integers]:
    """Least and greatest accumulator (C,) over all int8 inputs."""
    wide = weights.astype(np.int64)
    positive, negative = np.maximum(wide, 0).sum(axis=1), np.minimum(wide, 0).sum(axis=1)
    return start - 128 * positive + 127 * negative, start + 127 * positive - 128 * negative


@dataclass(frozen=True)
class _ShiftConstants:
    """What `tinyc_shift_channel` holds besides the bias, (C,) each, and for which channels it gives the rule's outputs."""

    multipliers: Integers
    offsets: Integers
    shifts: Integers
    exact: npt.NDArray[np.bool_]


def _shift_constants(requantization: ChannelRequantization, low: Integers, high: Integers) -> _ShiftConstants:
    """The SHIFT form of channels whose accumulators lie in low..high, (C,) each.

    The offset, half a unit and the zero point, is added before the shift, so both must stay within int32. Dead channels, whose weights are
    all zero, come with shifts that do not; as requantisation is monotonic, equal outputs at both ends say that the output is constant.
    """
    right = -requantization.shifts.astype(np.int64)
    bounded = np.clip(right, 1, 30)
    offsets = (np.int64(1) << (bounded - 1)) + (np.int64(requantization.zero_point) << bounded)
    # A product with a multiplier below 1 and its rounding never exceed the accumulator's magnitude.
    reach = np.maximum(np.abs(low), np.abs(high)) + np.abs(offsets) + 1
    exact = (right == bounded) & (reach < 2**31)
    least, greatest = requantization.apply(low[None])[0], requantization.apply(high[None])[0]
    constant = ~exact & (least == greatest)
    return _ShiftConstants(
        np.where(constant, 0, requantization.multipliers.astype(np.int64)),
        np.where(constant, 2 * least.astype(np.int64), offsets),
        np.where(constant, 1, bounded),
        exact | constant,
    )


def plan_output_stage(
    requantization: ChannelRequantization,
    weights: npt.NDArray[np.int8],
    bias: npt.NDArray[np.int32] | None,
    input_zero_point: int,
    *,
    integer: bool = True,
) -> OutputStage:
    """The cheapest exact requantisation of a layer with `weights` of shape (C, K), int8, and `bias` of shape (C,).

    `integer=False` leaves out the forms that need a proof. Raises ValueError when an accumulator could reach 2**30 (see accumulator_bound).
    """
    bound = accumulator_bound(weights, bias, input_zero_point)
    if bound >= 2**30:
        raise ValueError(f"accumulators can reach {bound}, but must stay below 2**30")
    zero_point, minimum, maximum = requantization.zero_point, requantization.minimum, requantization.maximum
    constants = _integer_constants(requantization, weights, bias, input_zero_point) if integer else None
    if constants is not None and bool(constants.proved.all()):
        return OutputStage(OutputForm.INTEGER, zero_point, minimum, maximum, constants.shift, constants.fraction_bits)
    if requantization.profile is Profile.TFLM:
        ranges = _accumulator_ranges(weights, folded_bias(weights, bias, input_zero_point))
        simple = bool(_shift_constants(requantization, *ranges).exact.all())
        return OutputStage(OutputForm.SHIFT if simple else OutputForm.GENERAL, zero_point, minimum, maximum)
    # A mixed body tests every channel and holds both texts: worth it when most channels are proved.
    if constants is not None and 2 * int(constants.proved.sum()) > constants.proved.size:
        return OutputStage(OutputForm.MIXED, zero_point, minimum, maximum, constants.shift, constants.fraction_bits)
    return OutputStage(OutputForm.FLOAT, zero_point, minimum, maximum)


def _integer_constants(
    requantization: ChannelRequantization, weights: npt.NDArray[np.int8], bias: npt.NDArray[np.int32] | None, input_zero_point: int
) -> IntegerRequantization | None:
    """The proofs of a layer, or None where its accumulators leave no room for fraction bits or its factors are too great."""
    low, high = _accumulator_ranges(weights, folded_bias(weights, bias, input_zero_point))
    # A channel of zeros has one accumulator, which never moves: it starts at what gives its output.
    live = low != high
    bound = accumulator_bound(weights[live], None if bias is None else bias[live], input_zero_point)
    if bound >= 2 ** (31 - FRACTION_BITS):
        return None
    shift = largest_shift(requantization, live, FRACTION_BITS)
    return None if shift is None else prove_integer_requantization(requantization, low, high, shift, FRACTION_BITS)


def _negative_scales(requantization: ChannelRequantization, fraction_bits: int) -> npt.NDArray[np.int32]:
    """(C,) scales for accumulators with fraction bits, negated so that they are negative as integers too: the bits of float32."""
    return (-requantization.scales * np.float32(2.0**-fraction_bits)).astype(np.float32).view(np.int32)


def channel_table(
    stage: OutputStage,
    requantization: ChannelRequantization,
    weights: npt.NDArray[np.int8],
    bias: npt.NDArray[np.int32] | None,
    input_zero_point: int,
    *,
    multiple: int = 1,
) -> Table:
    """Constants of all channels of `weights` (C, K), followed by zeros up to a multiple of `multiple` channels.

    Raises ValueError when `stage` is not one that this layer can use.
    """
    if (stage.zero_point, stage.minimum, stage.maximum) != (requantization.zero_point, requantization.minimum, requantization.maximum):
        raise ValueError("the spec's output zero point and bounds differ from the requantisation's")
    fixed_point = requantization.profile is Profile.TFLM
    allowed = {OutputForm.SHIFT: fixed_point, OutputForm.GENERAL: fixed_point, OutputForm.INTEGER: True}
    if not allowed.get(stage.form, not fixed_point):
        raise ValueError(f"a {stage.form.value} output stage does not belong to the profile {requantization.profile.value}")
    channels = weights.shape[0]
    start = folded_bias(weights, bias, input_zero_point)
    values = np.zeros(-(-channels // multiple) * multiple, dtype=_DTYPES[stage.form])
    real = values[:channels]
    if stage.form in (OutputForm.INTEGER, OutputForm.MIXED):
        constants = prove_integer_requantization(requantization, *_accumulator_ranges(weights, start), stage.shift, stage.fraction_bits)
        if stage.form is OutputForm.INTEGER and not constants.proved.all():
            raise ValueError("not every channel has a proof: the stage must be another one")
        start = (start << stage.fraction_bits) + constants.starts
        real["multiplier"] = np.where(constants.proved, constants.multipliers, _negative_scales(requantization, stage.fraction_bits))
    real["bias"] = start
    if stage.form is OutputForm.FLOAT:
        real["scale"] = requantization.scales
    if stage.form is OutputForm.SHIFT:
        shifted = _shift_constants(requantization, *_accumulator_ranges(weights, start))
        if not shifted.exact.all():
            raise ValueError("not every channel is exact with a right shift: the stage must be GENERAL")
        real["multiplier"], real["shift"], real["offset"] = shifted.multipliers, shifted.shifts, shifted.offsets
    if stage.form is OutputForm.GENERAL:
        real["multiplier"] = requantization.multipliers
        real["left"] = np.maximum(requantization.shifts, 0)
        real["right"] = np.maximum(-requantization.shifts, 0)
    return Table("channels", stage.channel_type, values)
