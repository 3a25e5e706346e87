"""One ONNX node as an import rule sees it, and what an ONNX value can be while a quantised graph is read.

In a QDQ graph the float32 values between DequantizeLinear and QuantizeLinear exist on paper only. They are kept as what they stand for:
an int8 tensor (`Activation`), quantised data (`KnownQuantized`), or a computation that waits for the QuantizeLinear that says in which
scale its result is wanted (`Pending`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from xdsl.ir import Block, Operation, SSAValue

from tinyc.frontends.onnx_reader import OnnxGraph, OnnxNode
from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import set_layer, tensor_of
from tinyc.ir.nn_shape import ConstantOp, ReshapeOp
from tinyc.ir.tensor_type import Tensor, TensorType

Array = npt.NDArray[Any]

QUANTIZE_HINT = "quantise the model: tinyc quantize MODEL --calibration DATA.npz -o MODEL.int8.onnx"
MAX_ACTIVATION_ELEMENTS = 1 << 28
MAX_RANK = 16
SHIFT = 128
"""uint8 becomes int8 by taking this off values and zero points."""


@dataclass(frozen=True)
class Quantization:
    """One scale and zero point for a tensor, as int8; `unsigned` says that the file has uint8 there."""

    scale: float
    zero_point: int
    unsigned: bool = False


@dataclass(frozen=True)
class Known:
    """A value known at compile time, in the file's dtype."""

    array: Array


@dataclass(frozen=True)
class KnownQuantized:
    """Constant int8 or int32 data behind a DequantizeLinear. One scale, or one for each position along `axis`."""

    array: Array
    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int
    unsigned: bool = False


@dataclass(frozen=True)
class Activation:
    """A tensor computed at run time. `real`: the file speaks of the float32 values that the int8 ones stand for (or f32 is the type).

    `apart` is the op that keeps ONNX Runtime from joining DequantizeLinear with what reads the tensor, empty where there is none.
    """

    value: SSAValue
    real: bool
    unsigned: bool = False
    apart: str = ""

    @property
    def tensor(self) -> Tensor:
        """Type of the value."""
        return tensor_of(self.value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in the file's order of dimensions."""
        return self.tensor.shape

    @property
    def quantization(self) -> Quantization:
        """Scale and zero point of an int8 tensor."""
        tensor = self.tensor
        assert tensor.scale is not None
        return Quantization(tensor.scale, tensor.zero_point, self.unsigned)


@dataclass(frozen=True)
class Pending:
    """A float32 result of a computation on int8 tensors that has no scale yet; `emit` makes its ops once there is one.

    `bounds` are those of activations behind the computation, None where there is none. ONNX Runtime computes in integers only where the
    quantisation implies these bounds, where nothing else reads the float32 value (`shared`), where no op stands between that it does not
    move QuantizeLinear or DequantizeLinear over (`apart`; `moved` is one that it does, unless an activation follows), and where operands
    and result have the same type (`unsigned`: that of the operands, None where they differ). Elsewhere it computes in float32, as
    `emit_real` does; None where that cannot be followed, because it depends on the order of additions. `emit` is called again where several
    nodes quantise the value.
    """

    node: Node
    shape: tuple[int, ...]
    emit: Callable[[Quantization], SSAValue]
    emit_real: Callable[[Quantization], SSAValue] | None
    unsigned: bool | None = None
    bounds: tuple[float | None, float | None] = (None, None)
    shared: bool = False
    apart: str = ""
    moved: str = ""


@dataclass(frozen=True)
class Unusable:
    """Stands for what a refused node would have computed; nodes that read it are not refused again."""


State = Known | KnownQuantized | Activation | Pending | Unusable


@dataclass(frozen=True)
class ApproximateLayer:
    """A node that ONNX Runtime computes in float32: why, and what to do for an 8-bit one."""

    name: str
    op: str
    reason: str
    hint: str


class Refused(Exception):
    """An import rule cannot take a node: `node` if given, otherwise the one whose rule runs."""

    def __init__(self, attribute: str, reason: str, hint: str = "", node: Node | None = None) -> None:
        super().__init__(reason)
        self.attribute, self.reason, self.hint, self.node = attribute, reason, hint, node


class Skipped(Exception):
    """An input comes from a refused node, so that nothing can be said about this one."""


@dataclass(frozen=True)
class Node:
    """A node, the block that its ops go into, and the values read so far.

    `approximate_layers` collects, by number, the nodes that are computed by an integer rule where ONNX Runtime computes in float32.
    """

    graph: OnnxGraph
    info: OnnxNode
    block: Block
    states: Mapping[str, State]
    approximate_layers: MutableMapping[int, ApproximateLayer] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How a user finds the node in a viewer."""
        return self.info.name or (self.info.outputs[0] if self.info.outputs else f"node {self.info.index}")

    def refuse(self, attribute: str, reason: str, hint: str = "") -> NoReturn:
        """Ends the rule; the node becomes a diagnostic."""
        raise Refused(attribute, reason, hint, self)

    def approximate(self, reason: str, hint: str) -> None:
        """Notes that an integer rule stands in for what ONNX Runtime computes in float32; the first reason counts."""
        self.approximate_layers.setdefault(self.info.index, ApproximateLayer(self.name, self.info.op, reason, hint))

    # Attributes

    def attribute(self, name: str, kind: type, default: Any) -> Any:
        """The attribute as `kind` (int, float, str or list of int), or `default`. Refuses one of another type."""
        if name not in self.info.attributes:
            return default
        value = self.info.attributes[name]
        if kind is list:
            if not isinstance(value, (list, tuple)) or not all(isinstance(item, int) for item in value):
                self.refuse(name, "expected a list of integers", "the file is damaged")
            return list(value)
        if kind is float and isinstance(value, (int, float)):
            return float(value)
        if not isinstance(value, kind):
            self.refuse(name, f"expected {kind.__name__}, found {type(value).__name__}", "the file is damaged")
        return value

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        return int(self.attribute(name, int, default))

    # Inputs

    def has(self, position: int) -> bool:
        """Whether the (optional) input is there."""
        return position < len(self.info.inputs) and bool(self.info.inputs[position])

    def state(self, position: int) -> State:
        """Input number `position`. Refuses the node when it is missing."""
        if not self.has(position):
            self.refuse("inputs", f"input {position} is missing")
        state = self.states[self.info.inputs[position]]
        if isinstance(state, Unusable):
            raise Skipped
        return state

    def known(self, position: int) -> Array | None:
        """Data of an input that is known at compile time; None for any other, and for one that is not there."""
        state = self.state(position) if self.has(position) else None
        return state.array if isinstance(state, Known) else None

    def constant(self, position: int, what: str) -> Array:
        """Data of an input that must be known at compile time."""
        found = self.known(position)
        if found is None:
            self.refuse(what, f"{what} must be constant", "export the model with static shapes and constant parameters")
        return found

    def integers(self, position: int, what: str) -> list[int]:
        """A constant list of integers."""
        found = self.constant(position, what)
        if found.dtype.kind not in "iu" or found.ndim > 1:
            self.refuse(what, f"{what} must be a list of integers, is {found.dtype} {list(found.shape)}")
        return [int(value) for value in np.atleast_1d(found)]

    def movable(self, position: int) -> Activation:
        """An input whose elements are moved about only: int8 or float32, computed at run time or quantised data."""
        state = self.state(position)
        if isinstance(state, KnownQuantized):
            return self.materialized(state)
        if isinstance(state, Activation):
            return state
        if isinstance(state, Pending):
            self.refuse(
                "inputs", f"{self.info.inputs[position]} is float32", f"put QuantizeLinear and DequantizeLinear behind {state.node.name}"
            )
        self.refuse("inputs", f"{self.info.inputs[position]} is a float32 constant", QUANTIZE_HINT)

    def quantized(self, position: int) -> Activation:
        """An int8 input."""
        state = self.movable(position)
        if state.tensor.element != "i8":
            self.refuse("inputs", f"{self.info.inputs[position]} is {state.tensor.element}, not quantised", QUANTIZE_HINT)
        return state

    def real(self, position: int) -> Activation:
        """An int8 input that stands for real values, as arithmetic needs it."""
        state = self.quantized(position)
        if not state.real:
            self.refuse("inputs", f"{self.info.inputs[position]} is int8: this op works on real values", "put DequantizeLinear before it")
        return state

    def materialized(self, data: KnownQuantized) -> Activation:
        """Quantised data as a tensor. Refuses data with a scale for each channel."""
        if data.scales.size != 1 or data.array.dtype != np.int8:
            self.refuse("scale", "a constant operand needs int8 data with one scale", "quantise constants of activations per tensor")
        kind = Tensor(data.array.shape, "i8", float(data.scales[0]), int(data.zero_points[0]))
        op = ConstantOp.create(properties={"value": DenseAttr.of(data.array)}, result_types=[TensorType(kind)])
        return Activation(self.add(op), True, data.unsigned)

    # Quantisation parameters

    def parameters(self, scale: int, zero_point: int, unsigned: bool | None = None) -> Quantization:
        """Scale and zero point of a tensor, from inputs number `scale` and `zero_point`; `unsigned` where the latter is left out."""
        scales, zero_points, found = self.channel_parameters(scale, zero_point, unsigned)
        if scales.size != 1:
            self.refuse("scale", f"an activation needs one scale, has {scales.size}", "quantise activations per tensor")
        if not scales[0] > 0:
            self.refuse("scale", f"the scale is {scales[0]}, expected a positive number")
        return Quantization(float(scales[0]), int(zero_points[0]), found)

    def channel_parameters(
        self, scale: int, zero_point: int, unsigned: bool | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], bool]:
        """Scales, zero points as int8 ones, and whether they are for uint8. Refuses what is not finite, or differs in number."""
        scales, zero_points, found = self.block_parameters(scale, zero_point, unsigned)
        if scales.ndim > 1:
            self.refuse("scale", f"the scale must be a scalar or a vector, is {list(scales.shape)}")
        return np.atleast_1d(scales), zero_points.reshape(-1), found

    def block_parameters(
        self, scale: int, zero_point: int, unsigned: bool | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], bool]:
        """As `channel_parameters`, in the shape that they have in the file."""
        scales = self.constant(scale, "scale")
        if scales.dtype == np.float16 and self.info.op.startswith("QLinear"):
            # No value has that type here, so that nothing is computed in it.
            scales = scales.astype(np.float32)
        if scales.dtype != np.float32 or scales.size < 1:
            self.refuse("scale", f"the scale must be float32, is {scales.dtype} {list(scales.shape)}")
        if not np.isfinite(scales).all():
            self.refuse("scale", "a scale is not a finite number", "the model was damaged, or calibrated on data with NaN")
        if not self.has(zero_point):
            is_unsigned = True if unsigned is None else unsigned
            zero = -SHIFT if is_unsigned else 0
            return scales, np.full(scales.shape, zero, np.int64), is_unsigned
        zero_points = self.constant(zero_point, "zero_point")
        if zero_points.dtype not in (np.int8, np.uint8, np.int32):
            self.refuse("zero_point", f"quantisation to {zero_points.dtype} is not supported", "quantise to int8 or uint8")
        if zero_points.size != scales.size:
            self.refuse("zero_point", f"{zero_points.size} zero points for {scales.size} scales")
        is_unsigned = bool(zero_points.dtype == np.uint8)
        return scales, zero_points.reshape(scales.shape).astype(np.int64) - (SHIFT if is_unsigned else 0), is_unsigned

    def described(self, position: int) -> Activation:
        """An int8 input of a QOperator node, with the scale and zero point that the two inputs behind it give."""
        activation = self.quantized(position) if not isinstance(self.state(position), Known) else self.raw_constant(position)
        return self.reinterpreted(activation, self.parameters(position + 1, position + 2, activation.unsigned))

    def raw_constant(self, position: int) -> Activation:
        """Constant int8 or uint8 data whose scale and zero point are the two inputs behind it."""
        data, unsigned = as_int8(self, self.constant(position, "inputs"))
        parameters = self.parameters(position + 1, position + 2, unsigned)
        scales, zero_points = np.array([parameters.scale], np.float32), np.array([parameters.zero_point], np.int64)
        return self.materialized(KnownQuantized(data, scales, zero_points, 0, unsigned))

    def reinterpreted(self, activation: Activation, parameters: Quantization) -> Activation:
        """The same bytes with another scale and zero point, where they differ from the ones that the tensor has."""
        tensor = activation.tensor
        if (tensor.scale, tensor.zero_point) == (parameters.scale, parameters.zero_point):
            return replace(activation, unsigned=parameters.unsigned)
        kind = TensorType(replace(tensor, scale=parameters.scale, zero_point=parameters.zero_point))
        return Activation(
            self.add(ReshapeOp.create(operands=[activation.value], result_types=[kind])), activation.real, parameters.unsigned
        )

    # Ops

    def add(self, operation: Operation) -> SSAValue:
        """Puts an op into the block; its result. Refuses results that no part could hold: a few bytes of a file can ask for terabytes."""
        shape = tensor_of(operation.results[0]).shape
        if len(shape) > MAX_RANK or math.prod(shape) > MAX_ACTIVATION_ELEMENTS:
            self.refuse(
                "shape",
                f"its result would have {len(shape)} dimensions and {math.prod(shape)} elements, more than any part for tinyc holds",
            )
        set_layer(operation, self.name)
        operation.verify()
        self.block.add_op(operation)
        return operation.results[0]

    def constant_op(self, values: Array) -> SSAValue:
        """Constant weights, bias or the like."""
        data = DenseAttr.of(np.ascontiguousarray(values))
        return self.add(ConstantOp.create(properties={"value": data}, result_types=[TensorType(Tensor(values.shape, data.data.element))]))


def waiting(node: Node, shape: tuple[int, ...], emit: Callable[[Quantization], SSAValue], operands: Sequence[Activation]) -> Pending:
    """A computation on `operands` that ONNX Runtime has an 8-bit kernel for, and whose float32 form cannot be followed."""
    types = {operand.unsigned for operand in operands}
    apart = next((operand.apart for operand in operands if operand.apart), "")
    # Nodes that quantise the result in the same way share it.
    return Pending(node, shape, cache(emit), None, types.pop() if len(types) == 1 else None, apart=apart)


Rule = Callable[[Node], State | Sequence[State]]
"""From a node to its output, or to one state for each of its outputs."""


def as_int8(node: Node, values: Array) -> tuple[npt.NDArray[np.int8], bool]:
    """int8 or uint8 data as int8, and whether it was uint8. Refuses other types."""
    if values.dtype == np.uint8:
        return (values.astype(np.int16) - SHIFT).astype(np.int8), True
    if values.dtype != np.int8:
        node.refuse("type", f"expected int8 or uint8 data, found {values.dtype}", "quantise to int8")
    return values, False


def quantized_type(shape: Sequence[int], quantization: Quantization) -> TensorType:
    """Type of an int8 tensor."""
    return TensorType(Tensor(tuple(shape), "i8", quantization.scale, quantization.zero_point))


def axis_of(node: Node, axis: int, rank: int) -> int:
    """`axis` counted from the front. Refuses what is no axis of a tensor with `rank` dimensions."""
    found = axis + rank if axis < 0 else axis
    if not 0 <= found < rank:
        node.refuse("axis", f"axis {axis} is no axis of a tensor with {rank} dimensions")
    return found
