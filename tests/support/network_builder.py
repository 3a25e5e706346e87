"""Builds modules of the `nn` level op by op, and draws small random ones for hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from xdsl.dialects.builtin import BoolAttr, FloatAttr, ModuleOp, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import integers, set_layer, tensor_of
from tinyc.ir.nn_elementwise import AddOp, ClampOp, DequantizeOp, MulOp, QuantizeOp, SoftmaxOp
from tinyc.ir.nn_shape import ConstantOp, FullyConnectedOp, MeanOp, PadOp, ReshapeOp, TransposeOp
from tinyc.ir.nn_window import AveragePool2DOp, Conv2DOp, DepthwiseConv2DOp, MaxPool2DOp, window_output, window_properties
from tinyc.ir.tensor_type import Tensor, TensorType
from tinyc.ir.text import print_module

FULL = (-128, 127)
Pads = tuple[int, int, int, int]


def float32(value: float) -> float:
    """The nearest float32."""
    return float(np.float32(value))


class NetworkBuilder:
    """One function `main`; every method adds an op and returns its result. Weights are random, scales keep outputs in range."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.block = Block()

    def input(self, shape: Sequence[int], scale: float = 0.05, zero_point: int = 3) -> SSAValue:
        """An int8 argument."""
        return self.block.insert_arg(TensorType(Tensor(tuple(shape), "i8", float32(scale), zero_point)), len(self.block.args))

    def float_input(self, shape: Sequence[int]) -> SSAValue:
        """A float32 argument."""
        return self.block.insert_arg(TensorType(Tensor(tuple(shape), "f32")), len(self.block.args))

    def constant(self, values: npt.NDArray[Any], scale: float | None = None, zero_point: int = 0) -> SSAValue:
        """A constant, quantised where `scale` is given."""
        data = DenseAttr.of(values)
        kind = TensorType(Tensor(values.shape, data.data.element, None if scale is None else float32(scale), zero_point))
        return self._add(ConstantOp.create(properties={"value": data}, result_types=[kind]))

    def conv(
        self,
        value: SSAValue,
        channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        pads: Pads = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        clamp: tuple[int, int] = FULL,
        bias: bool = True,
    ) -> SSAValue:
        """A dense convolution."""
        depth = tensor_of(value).shape[3]
        weights = self.random.integers(-127, 128, (channels, *kernel, depth)).astype(np.int8)
        return self._convolution(Conv2DOp, value, weights, channels, stride, pads, dilation, clamp, bias)

    def depthwise(
        self,
        value: SSAValue,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        pads: Pads = (1, 1, 1, 1),
        dilation: tuple[int, int] = (1, 1),
        clamp: tuple[int, int] = FULL,
        multiplier: int = 1,
        bias: bool = True,
    ) -> SSAValue:
        """A depthwise convolution."""
        channels = tensor_of(value).shape[3] * multiplier
        weights = self.random.integers(-127, 128, (1, *kernel, channels)).astype(np.int8)
        return self._convolution(DepthwiseConv2DOp, value, weights, channels, stride, pads, dilation, clamp, bias)

    def _convolution(
        self,
        kind: type[Operation],
        value: SSAValue,
        weights: npt.NDArray[np.int8],
        channels: int,
        stride: tuple[int, int],
        pads: Pads,
        dilation: tuple[int, int],
        clamp: tuple[int, int],
        bias: bool,
    ) -> SSAValue:
        image = tensor_of(value)
        kernel = weights.shape[1:3]
        height = window_output(image.shape[1], kernel[0], stride[0], dilation[0], pads[0] + pads[2])
        width = window_output(image.shape[2], kernel[1], stride[1], dilation[1], pads[1] + pads[3])
        operands, scales = self._weights(value, weights, channels, weights.size // channels, bias)
        properties: dict[str, Attribute] = {**window_properties(stride, pads, clamp), "dilations": integers(dilation)}
        properties["weight_scales"] = DenseAttr.of(scales)
        return self._add(
            kind.create(operands=operands, properties=properties, result_types=[self._activation((1, height, width, channels))])
        )

    def _weights(
        self, value: SSAValue, weights: npt.NDArray[np.int8], channels: int, terms: int, bias: bool
    ) -> tuple[list[SSAValue], npt.NDArray[np.float32]]:
        """Operands, and scales with which the outputs spread over int8."""
        typical = 0.05 / (tensor_of(value).scale or 1.0) / (73 * 73 * np.sqrt(terms)) * 50
        scales = (typical * self.random.uniform(0.5, 2, channels)).astype(np.float32)
        operands = [value, self.constant(weights)]
        if bias:
            operands.append(self.constant(self.random.integers(-2000, 2000, channels).astype(np.int32)))
        return operands, scales

    def fully_connected(self, value: SSAValue, outputs: int, clamp: tuple[int, int] = FULL, bias: bool = True) -> SSAValue:
        """A fully connected layer over all elements of `value`."""
        count = tensor_of(value).elements
        weights = self.random.integers(-127, 128, (outputs, count)).astype(np.int8)
        operands, scales = self._weights(value, weights, outputs, count, bias)
        properties = {"clamp": integers(clamp), "weight_scales": DenseAttr.of(scales)}
        return self._add(FullyConnectedOp.create(operands=operands, properties=properties, result_types=[self._activation((1, outputs))]))

    def pool(self, value: SSAValue, average: bool, kernel: tuple[int, int], stride: tuple[int, int], pads: Pads = (0, 0, 0, 0)) -> SSAValue:
        """A pool."""
        image = tensor_of(value)
        height = window_output(image.shape[1], kernel[0], stride[0], 1, pads[0] + pads[2])
        width = window_output(image.shape[2], kernel[1], stride[1], 1, pads[1] + pads[3])
        kind = AveragePool2DOp if average else MaxPool2DOp
        properties = {**window_properties(stride, pads, FULL), "kernel": integers(kernel)}
        return self._add(
            kind.create(operands=[value], properties=properties, result_types=[self._same(value, (1, height, width, image.shape[3]))])
        )

    def add(self, first: SSAValue, second: SSAValue, clamp: tuple[int, int] = FULL, scale: float = 0.07) -> SSAValue:
        """A sum; the first operand has the result's shape."""
        return self._binary(AddOp, first, second, clamp, scale)

    def mul(self, first: SSAValue, second: SSAValue, clamp: tuple[int, int] = FULL) -> SSAValue:
        """A product; the first operand has the result's shape."""
        return self._binary(MulOp, first, second, clamp, 0.09)

    def _binary(self, kind: type[Operation], first: SSAValue, second: SSAValue, clamp: tuple[int, int], scale: float) -> SSAValue:
        shape = np.broadcast_shapes(tensor_of(first).shape, tensor_of(second).shape)
        result = TensorType(Tensor(shape, "i8", float32(scale), -5))
        return self._add(kind.create(operands=[first, second], properties={"clamp": integers(clamp)}, result_types=[result]))

    def clamp(self, value: SSAValue, bounds: tuple[int, int]) -> SSAValue:
        """Bounds of their own."""
        return self._add(ClampOp.create(operands=[value], properties={"clamp": integers(bounds)}, result_types=[value.type]))

    def pad(self, value: SSAValue, pads: Pads, channels: tuple[int, int] = (0, 0)) -> SSAValue:
        """Spatial padding (top, left, bottom, right), and padding of channels."""
        before, after = [0, pads[0], pads[1], channels[0]], [0, pads[2], pads[3], channels[1]]
        shape = [size + low + high for size, low, high in zip(tensor_of(value).shape, before, after, strict=True)]
        properties = {"before": integers(before), "after": integers(after)}
        return self._add(PadOp.create(operands=[value], properties=properties, result_types=[self._same(value, shape)]))

    def reshape(self, value: SSAValue, shape: Sequence[int]) -> SSAValue:
        """The same elements in another shape."""
        return self._add(ReshapeOp.create(operands=[value], result_types=[self._same(value, shape)]))

    def transpose(self, value: SSAValue, permutation: Sequence[int]) -> SSAValue:
        """Dimensions in another order."""
        shape = [tensor_of(value).shape[axis] for axis in permutation]
        properties = {"permutation": integers(permutation)}
        return self._add(TransposeOp.create(operands=[value], properties=properties, result_types=[self._same(value, shape)]))

    def mean(self, value: SSAValue, axes: Sequence[int], keep_dims: bool = False) -> SSAValue:
        """Mean over some axes."""
        shape = [1 if axis in axes else size for axis, size in enumerate(tensor_of(value).shape) if keep_dims or axis not in axes]
        properties = {"axes": integers(axes), "keep_dims": BoolAttr.from_bool(keep_dims)}
        return self._add(MeanOp.create(operands=[value], properties=properties, result_types=[self._activation(shape)]))

    def softmax(self, value: SSAValue) -> SSAValue:
        """Softmax over the last dimension."""
        result = TensorType(Tensor(tensor_of(value).shape, "i8", 1 / 256, -128))
        return self._add(SoftmaxOp.create(operands=[value], properties={"beta": FloatAttr(1.0, f32)}, result_types=[result]))

    def quantize(self, value: SSAValue) -> SSAValue:
        """float32 to int8."""
        return self._add(QuantizeOp.create(operands=[value], result_types=[self._activation(tensor_of(value).shape)]))

    def dequantize(self, value: SSAValue) -> SSAValue:
        """int8 to float32."""
        return self._add(DequantizeOp.create(operands=[value], result_types=[TensorType(Tensor(tensor_of(value).shape, "f32"))]))

    def finish(self, *outputs: SSAValue) -> ModuleOp:
        """The verified module."""
        self.block.add_op(ReturnOp(*outputs))
        types = ([argument.type for argument in self.block.args], [value.type for value in outputs])
        module = ModuleOp([FuncOp("main", types, Region(self.block))])
        module.verify()
        return module

    def _add(self, op: Operation) -> SSAValue:
        set_layer(op, f"layer{len(list(self.block.ops))}")
        self.block.add_op(op)
        return op.results[0]

    def _activation(self, shape: Sequence[int]) -> TensorType:
        return TensorType(Tensor(tuple(shape), "i8", 0.0625, int(self.random.integers(-20, 20))))

    def _same(self, value: SSAValue, shape: Sequence[int]) -> TensorType:
        tensor = tensor_of(value)
        return TensorType(Tensor(tuple(int(size) for size in shape), tensor.element, tensor.scale, tensor.zero_point))


@dataclass(frozen=True)
class Network:
    """A drawn module, which a failing test shows as IR."""

    module: ModuleOp

    def __repr__(self) -> str:
        return print_module(self.module, print_weights=True)


def random_inputs(module: ModuleOp, seed: int = 0) -> list[npt.NDArray[Any]]:
    """Inputs for `main`: all of int8, or float32 between -8 and 8."""
    random = np.random.default_rng(seed)
    function = next(op for op in module.ops if isinstance(op, FuncOp))
    inputs: list[npt.NDArray[Any]] = []
    for argument in function.body.block.args:
        tensor = tensor_of(argument)
        if tensor.element == "f32":
            inputs.append(random.uniform(-8, 8, tensor.shape).astype(np.float32))
        else:
            inputs.append(random.integers(-128, 128, tensor.shape).astype(np.int8))
    return inputs


_STEPS = (
    "conv1x1",
    "conv",
    "depthwise",
    "pad",
    "clamp",
    "add",
    "add constant",
    "mul channel",
    "average pool",
    "max pool",
    "reshape",
    "transpose",
    "nothing",
)


@st.composite
def networks(draw: st.DrawFn, longest: int = 8, most_inputs: int = 2) -> Network:
    """A small network with branches: 1 to `most_inputs` inputs, up to `longest` steps, 1 to 3 outputs."""
    builder = NetworkBuilder(draw(st.integers(0, 1000)))
    size = draw(st.integers(3, 8)), draw(st.integers(3, 8)), draw(st.integers(1, 6))
    values = [builder.input((1, *size)) for _ in range(draw(st.integers(1, most_inputs)))]
    for _ in range(draw(st.integers(1, longest))):
        # Mostly the newest value, so that chains form.
        value = values[max(draw(st.integers(-4, len(values) - 1)), -1)]
        values.append(_draw_step(draw, builder, values, value))
    tail = draw(st.sampled_from(["image", "fully_connected", "mean", "global pool"]))
    last = values[-1]
    shape = tensor_of(last).shape
    if tail == "fully_connected":
        values.append(builder.softmax(builder.fully_connected(last, draw(st.integers(1, 5)))))
    elif tail == "mean":
        values.append(builder.mean(last, draw(st.sampled_from([(1,), (2,), (1, 2), (3,)])), draw(st.booleans())))
    elif tail == "global pool":
        values.append(builder.pool(last, True, (shape[1], shape[2]), (1, 1)))
    outputs = [values[-1]]
    for _ in range(draw(st.integers(0, 2))):
        outputs.append(values[draw(st.integers(0, len(values) - 1))])
    return Network(builder.finish(*outputs))


def _draw_step(draw: st.DrawFn, builder: NetworkBuilder, values: list[SSAValue], value: SSAValue) -> SSAValue:
    shape = tensor_of(value).shape
    step = draw(st.sampled_from(_STEPS))
    clamp = draw(st.sampled_from([FULL, (-20, 100), (0, 127)]))
    kernel = draw(st.sampled_from([(3, 3), (2, 2), (1, 3), (5, 5), (3, 1)]))
    stride = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2), (2, 1)]))
    pads: Pads = (kernel[0] // 2, kernel[1] // 2, (kernel[0] - 1) // 2, (kernel[1] - 1) // 2)
    fits = shape[1] + pads[0] + pads[2] >= kernel[0] and shape[2] + pads[1] + pads[3] >= kernel[1]
    if step == "conv1x1":
        return builder.conv(value, draw(st.integers(1, 8)), clamp=clamp)
    if step == "conv" and fits:
        return builder.conv(value, draw(st.integers(1, 8)), kernel, stride, pads, clamp=clamp, bias=draw(st.booleans()))
    if step == "depthwise" and fits:
        multiplier = draw(st.sampled_from([1, 1, 1, 2])) if shape[3] <= 6 else 1
        return builder.depthwise(value, kernel, stride, pads, clamp=clamp, multiplier=multiplier)
    if step == "pad" and max(shape[1:3]) < 10:
        return builder.pad(value, draw(st.sampled_from([(1, 1, 1, 1), (0, 0, 1, 1), (0, 0, 0, 0), (2, 0, 0, 1)])))
    if step == "clamp":
        return builder.clamp(value, draw(st.sampled_from([FULL, (-10, 50), (0, 127)])))
    if step == "add":
        partners = [other for other in values if tensor_of(other).shape == shape]
        return builder.add(value, partners[draw(st.integers(0, len(partners) - 1))], clamp)
    if step in ("add constant", "mul channel"):
        other = shape if step == "add constant" else (shape[3],)
        constant = builder.constant(builder.random.integers(-128, 128, other).astype(np.int8), 0.03, 7)
        return builder.add(value, constant, clamp) if step == "add constant" else builder.mul(value, constant, clamp)
    if step in ("average pool", "max pool") and fits:
        return builder.pool(value, step == "average pool", kernel, stride, pads)
    if step == "reshape":
        return builder.reshape(builder.reshape(value, (1, tensor_of(value).elements)), shape)
    if step == "transpose":
        return builder.transpose(value, draw(st.sampled_from([(0, 2, 1, 3), (0, 1, 2, 3), (0, 3, 1, 2)])))
    return value
