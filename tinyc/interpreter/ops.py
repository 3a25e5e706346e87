"""One function per `nn` op: numpy in, numpy out. `EVALUATORS` maps op classes to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.ir import Operation

from tinyc.interpreter.convolution import convolution_accumulator, depthwise_accumulator, image_windows
from tinyc.interpreter.movement import MOVEMENT_EVALUATORS
from tinyc.interpreter.plans import (
    add_plan,
    clamp_bounds,
    convolution_plan,
    fully_connected_plan,
    mean_op_plan,
    mul_plan,
    pool_plan,
    prelu_op_plan,
    scale_of,
    softmax_op_plan,
    sub_plan,
    unary_op_table,
)
from tinyc.ir.nn_elementwise import AddOp, ClampOp, DequantizeOp, MaximumOp, MinimumOp, MulOp, QuantizeOp, SoftmaxOp, SubOp
from tinyc.ir.nn_shape import ConstantOp, FullyConnectedOp, MeanOp, PadOp, ReshapeOp, TransposeOp
from tinyc.ir.nn_unary import PReluOp, UnaryOp
from tinyc.ir.nn_window import AveragePool2DOp, Conv2DOp, ConvolutionOp, DepthwiseConv2DOp, MaxPool2DOp
from tinyc.numerics.mean import apply_mean
from tinyc.numerics.pooling import average_pool, max_pool
from tinyc.numerics.profile import Profile
from tinyc.numerics.quantization import dequantization_plan, quantization_plan

Array = npt.NDArray[Any]
Evaluator = Callable[[Any, Sequence[Array], Profile], Array]


def _windows(op: ConvolutionOp, image: Array) -> Array:
    # With the zero point taken off, padding with the zero point is padding with 0.
    shifted = image.astype(np.int64) - op.operand_tensor(0).zero_point
    return image_windows(shifted, op.kernel_size(), op.stride_pair(), op.dilation(), op.pad_list())


def _requantized(accumulator: Array, operands: Sequence[Array]) -> Array:
    return accumulator + operands[2].astype(np.int64) if len(operands) > 2 else accumulator


def _conv2d(op: Conv2DOp, operands: Sequence[Array], profile: Profile) -> Array:
    accumulator = _requantized(convolution_accumulator(_windows(op, operands[0]), operands[1]), operands)
    return convolution_plan(op, profile).apply(accumulator)[np.newaxis]


def _depthwise(op: DepthwiseConv2DOp, operands: Sequence[Array], profile: Profile) -> Array:
    accumulator = _requantized(depthwise_accumulator(_windows(op, operands[0]), operands[1]), operands)
    return convolution_plan(op, profile).apply(accumulator)[np.newaxis]


def _fully_connected(op: FullyConnectedOp, operands: Sequence[Array], profile: Profile) -> Array:
    vectors = operands[0].reshape(op.batches(), -1).astype(np.int64) - op.operand_tensor(0).zero_point
    accumulator = _requantized(vectors @ operands[1].astype(np.int64).T, operands)
    return fully_connected_plan(op, profile).apply(accumulator).reshape(op.out.shape)


def _add(op: AddOp, operands: Sequence[Array], profile: Profile) -> Array:
    return add_plan(op, profile).apply(operands[0], operands[1])


def _mul(op: MulOp, operands: Sequence[Array], profile: Profile) -> Array:
    return mul_plan(op, profile).apply(operands[0], operands[1])


def _sub(op: SubOp, operands: Sequence[Array], profile: Profile) -> Array:
    return sub_plan(op, profile).apply(operands[0], operands[1])


def _maximum(op: MaximumOp, operands: Sequence[Array], profile: Profile) -> Array:
    return np.maximum(operands[0], operands[1])


def _minimum(op: MinimumOp, operands: Sequence[Array], profile: Profile) -> Array:
    return np.minimum(operands[0], operands[1])


def _unary(op: UnaryOp, operands: Sequence[Array], profile: Profile) -> Array:
    return unary_op_table(op, profile)[operands[0].astype(np.int64) + 128]


def _prelu(op: PReluOp, operands: Sequence[Array], profile: Profile) -> Array:
    return prelu_op_plan(op, profile).apply(operands[0], operands[1])


def _clamp(op: ClampOp, operands: Sequence[Array], profile: Profile) -> Array:
    return np.clip(operands[0], *clamp_bounds(op, profile))


def _max_pool(op: MaxPool2DOp, operands: Sequence[Array], profile: Profile) -> Array:
    return max_pool(pool_plan(op, profile), operands[0])


def _average_pool(op: AveragePool2DOp, operands: Sequence[Array], profile: Profile) -> Array:
    return average_pool(pool_plan(op, profile), operands[0])


def _mean(op: MeanOp, operands: Sequence[Array], profile: Profile) -> Array:
    return apply_mean(mean_op_plan(op, profile), operands[0], op.axis_list(), bool(op.keep_dims.value.data))


def _softmax(op: SoftmaxOp, operands: Sequence[Array], profile: Profile) -> Array:
    return softmax_op_plan(op, profile).apply(operands[0])


def _pad(op: PadOp, operands: Sequence[Array], profile: Profile) -> Array:
    return np.pad(operands[0], op.pads(), constant_values=op.pad_value())


def _reshape(op: ReshapeOp, operands: Sequence[Array], profile: Profile) -> Array:
    return operands[0].reshape(op.out.shape)


def _transpose(op: TransposeOp, operands: Sequence[Array], profile: Profile) -> Array:
    return operands[0].transpose(op.permutation_list())


def _quantize(op: QuantizeOp, operands: Sequence[Array], profile: Profile) -> Array:
    return quantization_plan(profile, scale_of(op.out), op.out.zero_point).apply(operands[0])


def _dequantize(op: DequantizeOp, operands: Sequence[Array], profile: Profile) -> Array:
    source = op.operand_tensor(0)
    return dequantization_plan(scale_of(source), source.zero_point).apply(operands[0])


def _constant(op: ConstantOp, operands: Sequence[Array], profile: Profile) -> Array:
    return op.value.array


EVALUATORS: Mapping[type[Operation], Evaluator] = {
    AddOp: _add,
    AveragePool2DOp: _average_pool,
    ClampOp: _clamp,
    ConstantOp: _constant,
    Conv2DOp: _conv2d,
    DepthwiseConv2DOp: _depthwise,
    DequantizeOp: _dequantize,
    FullyConnectedOp: _fully_connected,
    MaxPool2DOp: _max_pool,
    MaximumOp: _maximum,
    MeanOp: _mean,
    MinimumOp: _minimum,
    MulOp: _mul,
    PReluOp: _prelu,
    PadOp: _pad,
    QuantizeOp: _quantize,
    ReshapeOp: _reshape,
    SoftmaxOp: _softmax,
    SubOp: _sub,
    TransposeOp: _transpose,
    UnaryOp: _unary,
    **MOVEMENT_EVALUATORS,
}
