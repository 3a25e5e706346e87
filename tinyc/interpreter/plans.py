"""From an `nn` op to the numerics plan that defines its result: shared by the interpreter and the backend, so that they cannot differ."""

from __future__ import annotations

from tinyc.ir.nn_base import tensor_of
from tinyc.ir.nn_elementwise import AddOp, BinaryOp, MulOp, SoftmaxOp
from tinyc.ir.nn_shape import FullyConnectedOp, MeanOp
from tinyc.ir.nn_window import ConvolutionOp, PoolOp
from tinyc.ir.tensor_type import Tensor
from tinyc.numerics.addition import AdditionPlan, addition_plan
from tinyc.numerics.mean import MeanPlan, mean_plan
from tinyc.numerics.multiplication import MultiplicationPlan, multiplication_plan
from tinyc.numerics.pooling import PoolingPlan
from tinyc.numerics.profile import Profile
from tinyc.numerics.requantize import ChannelRequantization, channel_requantization
from tinyc.numerics.softmax import SoftmaxPlan, softmax_plan


def scale_of(tensor: Tensor) -> float:
    """The scale of a tensor that the verifier has found quantised."""
    assert tensor.scale is not None
    return tensor.scale


def convolution_plan(op: ConvolutionOp, profile: Profile) -> ChannelRequantization:
    """Requantisation of a convolution or depthwise convolution."""
    out = op.out
    scales = (scale_of(op.operand_tensor(0)), op.weight_scales.array, scale_of(out))
    return channel_requantization(profile, *scales, out.zero_point, *op.clamp_pair())


def fully_connected_plan(op: FullyConnectedOp, profile: Profile) -> ChannelRequantization:
    """Requantisation of a fully connected layer; TFLite forms the multiplier of a per-tensor one in single precision."""
    out, weight_scales = op.out, op.weight_scales.array
    scales = (scale_of(op.operand_tensor(0)), weight_scales, scale_of(out))
    return channel_requantization(profile, *scales, out.zero_point, *op.clamp_pair(), single_precision_product=weight_scales.size == 1)


def _binary(op: BinaryOp) -> tuple[tuple[float, float], tuple[int, int], float, int, int, int]:
    first, second, out = op.operand_tensor(0), op.operand_tensor(1), op.out
    return (scale_of(first), scale_of(second)), (first.zero_point, second.zero_point), scale_of(out), out.zero_point, *op.clamp_pair()


def add_plan(op: AddOp, profile: Profile) -> AdditionPlan:
    """Constants of an addition."""
    return addition_plan(profile, *_binary(op))


def mul_plan(op: MulOp, profile: Profile) -> MultiplicationPlan:
    """Constants of a multiplication."""
    return multiplication_plan(profile, *_binary(op))


def pool_plan(op: PoolOp) -> PoolingPlan:
    """Geometry and bounds of a pool."""
    top, left, bottom, right = op.pad_list()
    return PoolingPlan(op.kernel_size(), op.stride_pair(), (top, bottom, left, right), *op.clamp_pair())


def mean_op_plan(op: MeanOp, profile: Profile) -> MeanPlan:
    """Constants of a mean."""
    source, out = op.operand_tensor(0), op.out
    count = source.elements // out.elements
    return mean_plan(profile, count, scale_of(source), source.zero_point, scale_of(out), out.zero_point)


def softmax_op_plan(op: SoftmaxOp, profile: Profile) -> SoftmaxPlan:
    """Table or constants of a softmax."""
    return softmax_plan(profile, scale_of(tensor_of(op.input)), float(op.beta.value.data))
