"""One TFLite node as an import rule sees it: its options, its tensors, and how to refuse it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import tflite
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue

from tinyc.frontends.tflite_reader import Graph, OperatorInfo, TensorInfo
from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import constant_of, set_layer
from tinyc.ir.nn_shape import ConstantOp
from tinyc.ir.tensor_type import ELEMENT_BYTES, Tensor, TensorType
from tinyc.numerics.activation import activation_bounds
from tinyc.numerics.profile import Profile

_ACTIVATIONS = {
    tflite.ActivationFunctionType.NONE: "none",
    tflite.ActivationFunctionType.RELU: "relu",
    tflite.ActivationFunctionType.RELU6: "relu6",
    tflite.ActivationFunctionType.RELU_N1_TO_1: "relu_n1_to_1",
}


class Refused(Exception):
    """An import rule cannot take its node."""

    def __init__(self, attribute: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.attribute, self.reason, self.hint = attribute, reason, hint


@dataclass
class Node:
    """A node, the block that its ops go into, and the values made so far."""

    graph: Graph
    operator: OperatorInfo
    block: Block
    values: dict[int, SSAValue]

    @property
    def name(self) -> str:
        """Name of the first output tensor: how a user finds the node in a viewer."""
        return self.graph.tensors[self.operator.outputs[0]].name if self.operator.outputs else f"node {self.operator.index}"

    def refuse(self, attribute: str, reason: str, hint: str = "") -> NoReturn:
        """Ends the rule; the node becomes a diagnostic."""
        raise Refused(attribute, reason, hint)

    def options(self, kind: type, expected: int) -> Any:
        """The node's builtin options as `kind`. Refuses the node when they are absent or of another kind."""
        found, table = self.operator.options
        if table is None or found != expected:
            self.refuse("builtin_options", f"the node carries no {kind.__name__}", "the file is damaged or from an unknown converter")
        options = kind()
        options.Init(table.Bytes, table.Pos)
        return options

    def has_input(self, position: int) -> bool:
        """Whether the (optional) input is there."""
        return position < len(self.operator.inputs) and self.operator.inputs[position] >= 0

    def tensor(self, position: int) -> TensorInfo:
        """Input tensor number `position`. Refuses the node when it is missing."""
        if not self.has_input(position):
            self.refuse("inputs", f"input {position} is missing")
        info = self.graph.tensors[self.operator.inputs[position]]
        if 0 in info.shape:
            self.refuse("shape", f"tensor {info.name} has no elements: shape {list(info.shape)}", "export the model with static shapes")
        return info

    def output_tensor(self) -> TensorInfo:
        """The node's only output."""
        if len(self.operator.outputs) != 1:
            self.refuse("outputs", f"expected one output, found {len(self.operator.outputs)}")
        return self.graph.tensors[self.operator.outputs[0]]

    def output_type(self) -> TensorType:
        """Type of the node's only output."""
        return self.type_of(self.output_tensor())

    def type_of(self, tensor: TensorInfo) -> TensorType:
        """The IR type of an activation. Refuses the node for unknown element types and quantisation that is not per tensor."""
        return activation_type(tensor)

    def value(self, position: int) -> SSAValue:
        """Input number `position` as a value, a constant where the file holds its data."""
        info = self.tensor(position)
        if info.data is not None and info.index not in self.values:
            self.values[info.index] = self.constant(info, self.type_of(info))
        return self.values[info.index]

    def known(self, position: int) -> npt.NDArray[Any] | None:
        """Data of an input that the file holds or that rules have computed from constants; None where it is only known at run time."""
        info = self.tensor(position)
        if info.data is not None:
            return info.data
        data = constant_of(self.values[info.index]) if info.index in self.values else None
        return None if data is None else data.array

    def add(self, operation: Operation) -> SSAValue:
        """Puts an op that the node needs on its way into the block; its result."""
        set_layer(operation, self.name)
        operation.verify()
        self.block.add_op(operation)
        return operation.results[0]

    def constant(self, info: TensorInfo, type: TensorType) -> SSAValue:
        """A constant op with the data of `info`."""
        assert info.data is not None
        constant = ConstantOp.create(properties={"value": DenseAttr.of(info.data)}, result_types=[type])
        set_layer(constant, info.name)
        self.block.add_op(constant)
        return constant.result

    def integers(self, position: int, attribute: str) -> npt.NDArray[np.int64]:
        """A constant int32 or int64 input. Refuses the node when it is computed at run time."""
        info = self.tensor(position)
        known = self.known(position)
        if known is None or info.element not in ("i32", "i64"):
            self.refuse(attribute, f"{attribute} must be a constant integer tensor", "export the model with static shapes")
        return known.astype(np.int64)

    def clamp(self, activation: int) -> tuple[int, int]:
        """Bounds of the output for a fused activation, as the default profile rounds them."""
        return self._bounds(activation, Profile.LITERT)

    def clamp_of_own_kernel(self, activation: int) -> tuple[int, int]:
        """`clamp` of an op that XNNPACK leaves to LiteRT's own kernel: both profiles round its bounds in the same way."""
        return self._bounds(activation, Profile.TFLM)

    def activation(self, activation: int) -> dict[str, Attribute]:
        """The property `activation` where the profiles round its bounds differently, otherwise nothing."""
        if self._bounds(activation, Profile.LITERT) == self._bounds(activation, Profile.TFLM):
            return {}
        return {"activation": StringAttr(_ACTIVATIONS[activation])}

    def _bounds(self, activation: int, profile: Profile) -> tuple[int, int]:
        name = _ACTIVATIONS.get(activation)
        if name is None:
            self.refuse(
                "fused_activation_function", f"activation {activation} is not supported", f"use one of {', '.join(_ACTIVATIONS.values())}"
            )
        output = self.output_type().data
        if output.scale is None:
            self.refuse("output", "the output is not quantised", "quantise the whole model to int8")
        return activation_bounds(name, output.scale, output.zero_point, profile)

    def has_unsigned(self) -> bool:
        """Whether an input or output of the node is uint8 in the file."""
        indices = [index for index in (*self.operator.inputs, *self.operator.outputs) if index >= 0]
        return any(self.graph.tensors[index].unsigned for index in indices)


Rule = Callable[[Node], Operation | Sequence[Operation]]
"""From a node to the op that computes its output, or to one op for each of its outputs."""


def activation_type(tensor: TensorInfo) -> TensorType:
    """The IR type of an activation tensor. Raises Refused for what the IR has no type for."""
    if tensor.sparse or tensor.variable:
        raise Refused(
            "tensor", f"tensor {tensor.name} is {'sparse' if tensor.sparse else 'a variable'}", "export a plain feed-forward int8 model"
        )
    if tensor.element is None or tensor.element not in ELEMENT_BYTES:
        raise Refused("tensor", f"tensor {tensor.name} has type {tensor.type_name}", "quantise the model to int8")
    if any(size < 1 for size in tensor.shape):
        raise Refused(
            "shape", f"tensor {tensor.name} has shape {list(tensor.shape)}", "export the model with static shapes and batch size 1"
        )
    if tensor.element != "i8":
        return TensorType(Tensor(tensor.shape, tensor.element))
    if tensor.scales.size != 1 or tensor.zero_points.size > 1:
        raise Refused(
            "quantization",
            f"tensor {tensor.name} needs one scale and zero point, has {tensor.scales.size}",
            "quantise activations per tensor",
        )
    if not tensor.has_valid_scales:
        raise Refused("quantization", f"tensor {tensor.name} has the scale {tensor.scales[0]}, expected a positive number")
    zero_point = int(tensor.zero_points[0]) if tensor.zero_points.size else 0
    if not -128 <= zero_point <= 127:
        raise Refused("quantization", f"tensor {tensor.name} has the zero point {zero_point}, outside int8")
    return TensorType(Tensor(tensor.shape, "i8", float(tensor.scales[0]), zero_point))
