"""Kernels for convolutions, fully connected layers and pools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyc.backends.cortexm.kernels import conv, depthwise, fully_connected
from tinyc.backends.cortexm.kernels.average_pool import AveragePoolSpec, FloatAveragePoolSpec
from tinyc.backends.cortexm.kernels.max_pool import MaxPoolSpec
from tinyc.backends.cortexm.kernels.mean import MeanRowsSpec
from tinyc.backends.cortexm.kernels.output_stage import OutputStage, plan_output_stage
from tinyc.backends.cortexm.lowered import Lowered, Operand, refuse, weights_and_bias
from tinyc.interpreter.plans import (
    clamp_bounds,
    convolution_plan,
    float_average,
    fully_connected_plan,
    global_average_plan,
    require_same_scale,
)
from tinyc.ir.nn_shape import FullyConnectedOp
from tinyc.ir.nn_window import AveragePool2DOp, Conv2DOp, DepthwiseConv2DOp, MaxPool2DOp, PoolOp, WindowOp
from tinyc.memory.row_access import RowAccess
from tinyc.numerics.profile import Profile
from tinyc.numerics.requantize import ChannelRequantization

Weights = npt.NDArray[np.int8]
Bias = npt.NDArray[np.int32] | None

MAXIMUM_SCALE = 2.0**30
"""Beyond it the fixed-point form would shift a 32-bit accumulator out of its register; every output would be a bound anyway."""


def _output_stage(requantization: ChannelRequantization, weights: Weights, bias: Bias, input_zero_point: int) -> OutputStage:
    if not bool((np.abs(requantization.scales) < MAXIMUM_SCALE).all()):
        greatest = float(np.abs(requantization.scales).max())
        reason = f"input scale * weight scale / output scale is {greatest:g}, expected less than {MAXIMUM_SCALE:g}"
        refuse("scales", reason, "requantise the model")
    try:
        return plan_output_stage(requantization, weights, bias, input_zero_point)
    except ValueError as error:
        refuse("weights", str(error), "the layer is too wide for 32-bit accumulators: split it")


def tame_bias(weights: Weights, bias: Bias, input_zero_point: int, requantization: ChannelRequantization) -> Bias:
    """`bias` with huge values made smaller where that changes no output; `weights` are (C, K).

    Converters mark dead channels by a bias of about 2**30, at which the fixed-point form overflows. The output of such a channel is the
    same for all inputs, and requantisation is monotonic, so it is enough to compare it at both ends of the accumulator's range.
    """
    if bias is None:
        return None
    wide = weights.astype(np.int64)
    reach = 128 * np.abs(wide).sum(axis=1) + np.abs(input_zero_point * wide.sum(axis=1))
    tamed = np.clip(bias.astype(np.int64), -(2**30 - 1 - reach), 2**30 - 1 - reach)
    changed = tamed != bias
    ends = [requantization.apply(start + sign * reach)[changed] for start in (bias.astype(np.int64), tamed) for sign in (-1, 1)]
    if any(not np.array_equal(ends[0], end) for end in ends[1:]):
        refuse("bias", "a bias is so large that 32-bit accumulators could overflow", "split the layer, or check how it was quantised")
    return tamed.astype(np.int32)


def with_positive_factors(
    weights: Weights, bias: Bias, requantization: ChannelRequantization, axis: int
) -> tuple[Weights, Bias, ChannelRequantization]:
    """The same layer without negative factors: such channels, on `axis` of `weights`, get negated weights and biases.

    Published networks hold negative weight scales (mcunet-in3). The product of accumulator and multiplier stays what it is, and a rising
    staircase may have a proof. A channel that holds -128, or a bias of -2**31, cannot be negated and stays.
    """
    channels_first = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    negated = (requantization.multipliers < 0) & (channels_first > -128).all(axis=1)
    if bias is not None:
        negated &= bias > -(2**31)
    if not negated.any():
        return weights, bias, requantization
    signs = np.where(negated, -1, 1)
    shape = [1] * weights.ndim
    shape[axis] = -1
    positive = replace(
        requantization,
        scales=(requantization.scales * signs).astype(np.float32),
        multipliers=(requantization.multipliers * signs).astype(np.int32),
    )
    return (weights * signs.reshape(shape)).astype(np.int8), None if bias is None else (bias * signs).astype(np.int32), positive


def _planned(plan: Callable[[Any, Profile], ChannelRequantization], op: Any, profile: Profile) -> ChannelRequantization:
    """The requantisation of `op`. Raises CannotLower where its scales overflow."""
    try:
        return plan(op, profile)
    except ValueError as error:
        refuse("scales", str(error), "requantise the model")


def _window_access(op: WindowOp) -> RowAccess:
    access = op.row_access(0)
    assert access is not None
    return access


def _dense(op: Conv2DOp | DepthwiseConv2DOp, weights: Weights, bias: Bias, requantization: ChannelRequantization) -> Lowered:
    image, zero_point = op.operand_tensor(0).shape, op.operand_tensor(0).zero_point
    weights, bias, requantization = with_positive_factors(weights, bias, requantization, 0)
    matrix = weights.reshape(weights.shape[0], -1)
    bias = tame_bias(matrix, bias, zero_point, requantization)
    stage = _output_stage(requantization, matrix, bias, zero_point)
    spec = conv.ConvSpec(
        output_stage=stage,
        input_width=image[2],
        input_channels=image[3],
        output_width=op.out.shape[2],
        output_channels=weights.shape[0],
        kernel_height=weights.shape[1],
        kernel_width=weights.shape[2],
        input_zero_point=zero_point,
        stride_width=op.stride_pair()[1],
        dilation_width=op.dilation()[1],
        pad_left=op.pad_list()[1],
        rows_padded=op.pad_list()[0] > 0 or _window_access(op).end(op.out.shape[1] - 1) > image[1],
    )
    return Lowered(spec, (Operand(op.operands[0], _window_access(op)),), conv.pack(spec, weights, bias, requantization))


def lower_conv2d(op: Conv2DOp, profile: Profile) -> Lowered:
    """Dense convolution by im2col."""
    weights, bias = weights_and_bias(op.operands)
    return _dense(op, weights, bias, _per_channel(_planned(convolution_plan, op, profile), weights.shape[0]))


def lower_depthwise(op: DepthwiseConv2DOp, profile: Profile) -> Lowered:
    """Depthwise convolution by rows; with one input channel it is a dense convolution, which does it faster."""
    weights, bias = weights_and_bias(op.operands)
    image, zero_point = op.operand_tensor(0).shape, op.operand_tensor(0).zero_point
    requantization = _per_channel(_planned(convolution_plan, op, profile), weights.shape[3])
    if image[3] == 1:
        return _dense(op, np.ascontiguousarray(weights.transpose(3, 1, 2, 0)), bias, requantization)
    weights, bias, requantization = with_positive_factors(weights, bias, requantization, 3)
    matrix = weights[0].reshape(-1, weights.shape[3]).T
    bias = tame_bias(matrix, bias, zero_point, requantization)
    stage = _output_stage(requantization, matrix, bias, zero_point)
    spec = depthwise.DepthwiseSpec(
        output_stage=stage,
        input_width=image[2],
        output_width=op.out.shape[2],
        channels=image[3],
        multiplier=op.multiplier(),
        kernel_height=weights.shape[1],
        kernel_width=weights.shape[2],
        input_zero_point=zero_point,
        stride_width=op.stride_pair()[1],
        dilation_width=op.dilation()[1],
        pad_left=op.pad_list()[1],
    )
    return Lowered(spec, (Operand(op.operands[0], _window_access(op)),), depthwise.pack(spec, weights, bias, requantization))


def _per_channel(requantization: ChannelRequantization, channels: int) -> ChannelRequantization:
    """A per-tensor requantisation with its one scale repeated."""
    if requantization.channels == channels:
        return requantization
    repeated = {name: np.repeat(getattr(requantization, name), channels) for name in ("scales", "multipliers", "shifts")}
    bounds = (requantization.zero_point, requantization.minimum, requantization.maximum)
    return ChannelRequantization(requantization.profile, repeated["scales"], repeated["multipliers"], repeated["shifts"], *bounds)


def lower_max_pool(op: MaxPool2DOp, profile: Profile) -> Lowered:
    """Max pool by rows."""
    return Lowered(MaxPoolSpec(**_pool_fields(op, profile)), (Operand(op.operands[0], _window_access(op)),))


def lower_average_pool(op: AveragePool2DOp, profile: Profile) -> Lowered:
    """Average pool by rows; over the whole image it is a running sum of rows."""
    if profile is Profile.ONNXRUNTIME:
        float_spec = FloatAveragePoolSpec(**_pool_fields(op, profile), plan=float_average(op))
        return Lowered(float_spec, (Operand(op.operands[0], _window_access(op)),))
    require_same_scale(op, profile)
    if op.reduces_rows():
        image = op.operand_tensor(0).shape
        return Lowered(MeanRowsSpec(image[2], image[3], False, global_average_plan(op, profile)), (Operand(op.operands[0]),))
    return Lowered(
        AveragePoolSpec(**_pool_fields(op, profile), unsigned=op.unsigned is not None), (Operand(op.operands[0], _window_access(op)),)
    )


def _pool_fields(op: PoolOp, profile: Profile) -> dict[str, int]:
    image, (top, left, _, _), kernel = op.operand_tensor(0).shape, op.pad_list(), op.kernel_size()
    last = ((op.out.shape[1] - 1) * op.stride_pair()[0] - top, (op.out.shape[2] - 1) * op.stride_pair()[1] - left)
    if top >= kernel[0] or left >= kernel[1] or last[0] >= image[1] or last[1] >= image[2]:
        refuse("padding", "a window lies in the padding altogether")
    lower, upper = clamp_bounds(op, profile)
    return {
        "input_width": image[2],
        "channels": image[3],
        "output_width": op.out.shape[2],
        "window_height": kernel[0],
        "window_width": kernel[1],
        "stride_width": op.stride_pair()[1],
        "pad_left": left,
        "minimum": lower,
        "maximum": upper,
    }


def lower_fully_connected(op: FullyConnectedOp, profile: Profile) -> Lowered:
    """A matrix product; an image that is flattened into one vector is taken row by row as it arrives."""
    weights, bias = weights_and_bias(op.operands)
    source = op.operand_tensor(0)
    requantization = _per_channel(_planned(fully_connected_plan, op, profile), weights.shape[0])
    bias = tame_bias(weights, bias, source.zero_point, requantization)
    stage = _output_stage(requantization, weights, bias, source.zero_point)
    spec: fully_connected.FullyConnectedSpec | fully_connected.FullyConnectedReductionSpec
    if op.reduces_rows() and source.rows > 1:
        spec = fully_connected.FullyConnectedReductionSpec(stage, weights.shape[0], source.zero_point, source.row_bytes, source.rows)
    else:
        spec = fully_connected.FullyConnectedSpec(stage, weights.shape[0], source.zero_point, weights.shape[1], op.batches())
    return Lowered(spec, (Operand(op.operands[0]),), fully_connected.pack(spec, weights, bias, requantization))
