"""From an `nn` op to the numerics plan that defines its result: shared by the interpreter and the backend, so that they cannot differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tinyc.errors import ModelError
from tinyc.ir.nn_base import ClampedOp, tensor_of
from tinyc.ir.nn_elementwise import AddOp, BinaryOp, MulOp, SoftmaxOp, SubOp
from tinyc.ir.nn_movement import ResizeBilinearOp, ResizeNearestOp
from tinyc.ir.nn_shape import FullyConnectedOp, MeanOp
from tinyc.ir.nn_unary import PReluOp, UnaryOp
from tinyc.ir.nn_window import AveragePool2DOp, ConvolutionOp, PoolOp
from tinyc.ir.tensor_type import Tensor
from tinyc.numerics.activation import activation_bounds
from tinyc.numerics.addition import AdditionPlan, FixedPointAddition, addition_plan
from tinyc.numerics.mean import MeanPlan, mean_plan
from tinyc.numerics.multiplication import FixedPointMultiplication, MultiplicationPlan, multiplication_plan
from tinyc.numerics.onnxruntime import FloatAverage
from tinyc.numerics.pooling import GlobalAverage, PoolingPlan
from tinyc.numerics.prelu import PReluPlan, prelu_plan
from tinyc.numerics.profile import Profile
from tinyc.numerics.requantize import ChannelRequantization, channel_requantization
from tinyc.numerics.resize import AxisInterpolation, axis_interpolation, nearest_indices
from tinyc.numerics.softmax import SoftmaxPlan, softmax_plan
from tinyc.numerics.unary import UnaryQuantization, unary_table


def scale_of(tensor: Tensor) -> float:
    """The scale of a tensor that the verifier has found quantised."""
    assert tensor.scale is not None
    return tensor.scale


def clamp_bounds(op: ClampedOp, profile: Profile) -> tuple[int, int]:
    """Lower and upper bound of the result, an activation's as `profile` rounds them."""
    if op.activation is None:
        return op.clamp_pair()
    return activation_bounds(op.activation.data, scale_of(op.out), op.out.zero_point, profile)


def _requantization(
    op: ConvolutionOp | FullyConnectedOp, profile: Profile, *, single_precision_product: bool = False
) -> ChannelRequantization:
    out = op.out
    scales = (scale_of(op.operand_tensor(0)), op.weight_scales.array, scale_of(out))
    plan = channel_requantization(
        profile, *scales, out.zero_point, *clamp_bounds(op, profile), single_precision_product=single_precision_product
    )
    # Layers that XNNPACK does not take have their bounds rounded by the kernel that does.
    minimum, maximum = clamp_bounds(op, plan.profile)
    return replace(plan, minimum=minimum, maximum=maximum)


def convolution_plan(op: ConvolutionOp, profile: Profile) -> ChannelRequantization:
    """Requantisation of a convolution or depthwise convolution."""
    return _requantization(op, profile if op.fixed_point is None else Profile.TFLM)


def fully_connected_plan(op: FullyConnectedOp, profile: Profile) -> ChannelRequantization:
    """Requantisation of a fully connected layer; TFLite forms the multiplier of a per-tensor one in single precision."""
    return _requantization(op, profile, single_precision_product=op.weight_scales.array.size == 1)


Binary = tuple[tuple[float, float], tuple[int, int], float, int, int, int]


def _binary(op: BinaryOp, profile: Profile, order: tuple[int, int] = (0, 1)) -> Binary:
    first, second, out = op.operand_tensor(order[0]), op.operand_tensor(order[1]), op.out
    bounds = clamp_bounds(op, profile)
    return (scale_of(first), scale_of(second)), (first.zero_point, second.zero_point), scale_of(out), out.zero_point, *bounds


def add_plan(op: AddOp, profile: Profile) -> AdditionPlan:
    """Constants of an addition."""
    return _addition(op, profile, (0, 1), (1, 1))


def sub_plan(op: SubOp, profile: Profile, swapped: bool = False) -> AdditionPlan:
    """Constants of a subtraction as an addition; `swapped` for a caller that gives it the operands in the other order."""
    return _addition(op, profile, (1, 0) if swapped else (0, 1), (-1, 1) if swapped else (1, -1))


def _addition(op: BinaryOp, profile: Profile, order: tuple[int, int], signs: tuple[int, int]) -> AdditionPlan:
    plan = addition_plan(
        profile,
        *_binary(op, profile, order),
        signs,
        unsigned=op.unsigned is not None,
        swapped=(op.swapped is not None) != (order == (1, 0)),
        dequantized=op.dequantized is not None,
    )
    if isinstance(plan, FixedPointAddition):
        # XNNPACK does not take the op, and so does not round its bounds.
        plan = addition_plan(profile, *_binary(op, Profile.TFLM, order), signs)
    return plan


def mul_plan(op: MulOp, profile: Profile) -> MultiplicationPlan:
    """Constants of a multiplication."""
    plan = multiplication_plan(profile, *_binary(op, profile), unsigned=op.unsigned is not None)
    if isinstance(plan, FixedPointMultiplication):
        plan = multiplication_plan(profile, *_binary(op, Profile.TFLM))
    return plan


def prelu_op_plan(op: PReluOp, profile: Profile) -> PReluPlan:
    """Constants of a PRELU."""
    source, slope, out = op.operand_tensor(0), op.operand_tensor(1), op.out
    return prelu_plan(profile, scale_of(source), source.zero_point, scale_of(slope), slope.zero_point, scale_of(out), out.zero_point)


def unary_op_table(op: UnaryOp, profile: Profile) -> npt.NDArray[np.int8]:
    """(256,) results for the inputs -128 to 127. Raises ValueError for scales that the references do not take."""
    source, out = op.operand_tensor(0), op.out
    quantization = UnaryQuantization(scale_of(source), source.zero_point, scale_of(out), out.zero_point)
    alpha, beta = (None if number is None else float(number.value.data) for number in (op.alpha, op.beta))
    return unary_table(op.function.data, profile, quantization, alpha, beta, own_kernel=op.own_kernel is not None)


def pool_plan(op: PoolOp, profile: Profile) -> PoolingPlan:
    """Geometry and bounds of a pool."""
    top, left, bottom, right = op.pad_list()
    unsigned = isinstance(op, AveragePool2DOp) and op.unsigned is not None
    rescaling = float_average(op) if isinstance(op, AveragePool2DOp) and profile is Profile.ONNXRUNTIME else None
    if rescaling is None:
        require_same_scale(op, profile)
    return PoolingPlan(op.kernel_size(), op.stride_pair(), (top, bottom, left, right), *clamp_bounds(op, profile), unsigned, rescaling)


def require_same_scale(op: PoolOp, profile: Profile) -> None:
    """Raises ModelError where a pool would have to rescale, which only an average in profile `onnxruntime` does."""
    source, out = op.operand_tensor(0), op.out
    if (source.scale, source.zero_point) != (out.scale, out.zero_point):
        raise ModelError(f"{op.layer}: {op.title} changes the scale, which profile {profile.value} does not define; use onnxruntime")


def float_average(op: AveragePool2DOp) -> FloatAverage:
    """Constants of an average that is rescaled in float32."""
    source, out = op.operand_tensor(0), op.out
    offset = 128 if op.unsigned is not None else 0
    return FloatAverage(scale_of(source), source.zero_point, scale_of(out), out.zero_point, offset)


def global_average_plan(op: AveragePool2DOp, profile: Profile) -> GlobalAverage:
    """Count and bounds of a pool over the whole image."""
    require_same_scale(op, profile)
    height, width = op.kernel_size()
    return GlobalAverage(height * width, *clamp_bounds(op, profile), op.unsigned is not None)


def mean_op_plan(op: MeanOp, profile: Profile) -> MeanPlan:
    """Constants of a mean."""
    source, out = op.operand_tensor(0), op.out
    count = source.elements // out.elements
    return mean_plan(profile, count, scale_of(source), source.zero_point, scale_of(out), out.zero_point)


def softmax_op_plan(op: SoftmaxOp, profile: Profile) -> SoftmaxPlan:
    """Table or constants of a softmax."""
    out, beta = op.out, float(op.beta.value.data)
    depth = out.shape[-1] if out.shape else 1
    return softmax_plan(
        profile, scale_of(tensor_of(op.input)), beta, depth=depth, output_scale=scale_of(out), output_zero_point=out.zero_point
    )


def nearest_axes(op: ResizeNearestOp, profile: Profile) -> tuple[list[int], list[int]]:
    """The input row of each output row, and the input column of each output column."""
    sizes = zip(op.source().shape[1:3], op.out.shape[1:3], strict=True)
    rows, columns = (nearest_indices(profile, size, outputs, *op.flags()).tolist() for size, outputs in sizes)
    return rows, columns


def bilinear_axes(op: ResizeBilinearOp, profile: Profile) -> tuple[AxisInterpolation, AxisInterpolation]:
    """Indices and weights of rows and of columns."""
    sizes = zip(op.source().shape[1:3], op.out.shape[1:3], strict=True)
    rows, columns = (axis_interpolation(profile, size, outputs, *op.flags()) for size, outputs in sizes)
    return rows, columns
