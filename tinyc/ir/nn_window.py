"""`nn` ops that slide a window over an image (N, H, W, C), N = 1: convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import DenseArrayBase, UnitAttr
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, opt_prop_def, prop_def, result_def, traits_def

from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import OPTIONS, PURE, ClampedOp, integers, require, require_int8, tensor_of
from tinyc.ir.tensor_type import Tensor, TensorType
from tinyc.memory.row_access import RowAccess


def window_output(size: int, kernel: int, stride: int, dilation: int, pads: int) -> int:
    """Output positions along one axis of `size` plus `pads` elements of padding; 0 or less where the window does not fit."""
    return (size + pads - ((kernel - 1) * dilation + 1)) // stride + 1


class WindowOp(ClampedOp):
    """A window over height and width. `pads` are top, left, bottom, right; padding reads as the input's zero point."""

    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    irdl_options = OPTIONS
    traits = traits_def(PURE)

    def kernel_size(self) -> tuple[int, int]:
        """Height and width of the window in taps."""
        raise NotImplementedError

    def dilation(self) -> tuple[int, int]:
        """Distance of taps, vertically and horizontally."""
        return 1, 1

    def result_channels(self) -> int:
        """Channels of the result."""
        return self.operand_tensor(0).shape[3]

    def stride_pair(self) -> tuple[int, int]:
        """Vertical and horizontal stride."""
        vertical, horizontal = self.strides.get_values()
        return int(vertical), int(horizontal)

    def pad_list(self) -> tuple[int, int, int, int]:
        """Padding at top, left, bottom, right."""
        top, left, bottom, right = self.pads.get_values()
        return int(top), int(left), int(bottom), int(right)

    def result_shape(self) -> tuple[int, ...]:
        image = self.operand_tensor(0)
        require(len(image.shape) == 4 and image.shape[0] == 1, f"expects an image of shape [1, H, W, C], got {list(image.shape)}")
        require(len(self.strides) == 2 and min(self.stride_pair()) >= 1, "strides must be two positive integers")
        require(len(self.pads) == 4 and min(self.pad_list()) >= 0, "pads must be four integers, none negative: top, left, bottom, right")
        require(min(self.dilation()) >= 1, "dilations must be positive")
        (kernel_height, kernel_width), (top, left, bottom, right) = self.kernel_size(), self.pad_list()
        require(min(kernel_height, kernel_width) >= 1, "the window must have at least one tap each way")
        height = window_output(image.shape[1], kernel_height, self.stride_pair()[0], self.dilation()[0], top + bottom)
        width = window_output(image.shape[2], kernel_width, self.stride_pair()[1], self.dilation()[1], left + right)
        require(
            height >= 1 and width >= 1,
            f"a window of {kernel_height}x{kernel_width} does not fit an image of {image.shape[1]}x{image.shape[2]}",
        )
        return 1, height, width, self.result_channels()

    def row_access(self, operand: int) -> RowAccess | None:
        if operand != 0:
            return None
        return RowAccess(self.kernel_size()[0], self.stride_pair()[0], self.dilation()[0], self.pad_list()[0])

    def verify_op(self) -> None:
        require_int8(self.operand_tensor(0), "input")
        require_int8(self.out, "result")
        super().verify_op()


def window_properties(strides: Sequence[int], pads: Sequence[int], clamp: Sequence[int]) -> dict[str, DenseArrayBase]:
    """The properties that all window ops share."""
    return {"strides": integers(strides), "pads": integers(pads), "clamp": integers(clamp)}


class ConvolutionOp(WindowOp):
    """A window op with int8 weights, int32 bias and one weight scale, or one per output channel.

    `fixed_point` marks what LiteRT computes with its own kernel instead of XNNPACK's: the rounding of `tflm` in both profiles.
    """

    input = operand_def(TensorType)
    weights = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    result = result_def(TensorType)
    dilations = prop_def(DenseArrayBase)
    weight_scales = prop_def(DenseAttr)
    fixed_point = opt_prop_def(UnitAttr)
    assembly_format = "$input `,` $weights (`,` $bias^)? attr-dict `:` functional-type(operands, results)"

    def dilation(self) -> tuple[int, int]:
        vertical, horizontal = self.dilations.get_values()
        return int(vertical), int(horizontal)

    def kernel_size(self) -> tuple[int, int]:
        shape = tensor_of(self.weights).shape
        require(len(shape) == 4, f"weights must have four dimensions, got {list(shape)}")
        return shape[1], shape[2]

    def macs(self) -> int:
        weights = tensor_of(self.weights)
        return self.out.shape[1] * self.out.shape[2] * weights.elements

    def verify_op(self) -> None:
        super().verify_op()
        verify_weights(tensor_of(self.weights), tensor_of(self.bias) if self.bias else None, self.weight_scales, self.result_channels())


def verify_weights(weights: Tensor, bias: Tensor | None, weight_scales: DenseAttr, channels: int) -> None:
    """Checks element types of weights and bias, the bias's length, and that there are one or `channels` weight scales."""
    require(weights.element == "i8", "weights must be i8")
    require(bias is None or (bias.element == "i32" and bias.shape == (channels,)), f"bias must be i32 with {channels} elements")
    scales = weight_scales.data
    require(
        scales.element == "f32" and scales.shape in ((1,), (channels,)),
        f"weight_scales must be 1 or {channels} f32 values, got {list(scales.shape)}",
    )


@irdl_op_definition
class Conv2DOp(ConvolutionOp):
    """Dense convolution; weights are (output channels, height, width, input channels)."""

    name = "nn.conv2d"
    TITLE: ClassVar[str] = "CONV_2D"

    def result_channels(self) -> int:
        return tensor_of(self.weights).shape[0]

    def result_shape(self) -> tuple[int, ...]:
        shape = super().result_shape()
        channels, expected = self.operand_tensor(0).shape[3], tensor_of(self.weights).shape[3]
        require(channels == expected, f"input has {channels} channels, weights expect {expected}")
        return shape


@irdl_op_definition
class DepthwiseConv2DOp(ConvolutionOp):
    """Depthwise convolution, weights (1, height, width, channels * multiplier); result channel c reads input channel c // multiplier."""

    name = "nn.depthwise_conv2d"
    TITLE: ClassVar[str] = "DEPTHWISE_CONV_2D"

    def result_channels(self) -> int:
        return tensor_of(self.weights).shape[3]

    def multiplier(self) -> int:
        """Output channels per input channel."""
        return self.result_channels() // self.operand_tensor(0).shape[3]

    def result_shape(self) -> tuple[int, ...]:
        shape = super().result_shape()
        weights, channels = tensor_of(self.weights).shape, self.operand_tensor(0).shape[3]
        require(weights[0] == 1 and weights[3] % channels == 0, f"weights {list(weights)} do not fit an input with {channels} channels")
        return shape


class PoolOp(WindowOp):
    """A window without weights."""

    input = operand_def(TensorType)
    result = result_def(TensorType)
    kernel = prop_def(DenseArrayBase)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def kernel_size(self) -> tuple[int, int]:
        require(len(self.kernel) == 2, "kernel must be two integers: height, width")
        height, width = self.kernel.get_values()
        return int(height), int(width)


@irdl_op_definition
class MaxPool2DOp(PoolOp):
    """Largest element of each window; padding never wins."""

    name = "nn.max_pool2d"
    TITLE: ClassVar[str] = "MAX_POOL_2D"


@irdl_op_definition
class AveragePool2DOp(PoolOp):
    """Average of the elements of each window that lie inside the image.

    `unsigned` says that the model file has uint8 tensors, whose averages round halves up where int8's round them away from 0.
    """

    name = "nn.average_pool2d"
    TITLE: ClassVar[str] = "AVERAGE_POOL_2D"
    unsigned = opt_prop_def(UnitAttr)

    def reduces_rows(self) -> bool:
        return self.kernel_size() == self.operand_tensor(0).shape[1:3] and self.out.shape[1:3] == (1, 1) and not any(self.pad_list())
