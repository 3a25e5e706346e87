"""`nn` ops that work element by element or row by row: add, sub, mul, maximum, minimum, softmax, quantize, dequantize, clamp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from xdsl.dialects.builtin import Float32Type, FloatAttr, UnitAttr
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, traits_def

from tinyc.ir.nn_base import OPTIONS, PURE, ClampedOp, ElementwiseOp, NNOp, require, require_int8, tensor_of
from tinyc.ir.tensor_type import TensorType
from tinyc.memory.row_access import EACH_ROW, RowAccess


def broadcast_shapes(left: Sequence[int], right: Sequence[int]) -> tuple[int, ...] | None:
    """The numpy broadcast of two shapes, or None where they do not broadcast."""
    rank = max(len(left), len(right))
    left, right = (1,) * (rank - len(left)) + tuple(left), (1,) * (rank - len(right)) + tuple(right)
    if any(a != b and 1 not in (a, b) for a, b in zip(left, right, strict=True)):
        return None
    return tuple(b if a == 1 else a for a, b in zip(left, right, strict=True))


class BroadcastingOp(NNOp):
    """Two int8 operands that broadcast as in numpy, an int8 result."""

    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    result = result_def(TensorType)
    irdl_options = OPTIONS
    traits = traits_def(PURE)
    assembly_format = "$lhs `,` $rhs attr-dict `:` functional-type(operands, results)"

    def result_shape(self) -> tuple[int, ...]:
        left, right = self.operand_tensor(0).shape, self.operand_tensor(1).shape
        shape = broadcast_shapes(left, right)
        require(shape is not None, f"shapes {list(left)} and {list(right)} do not broadcast")
        assert shape is not None
        return shape

    def reordered(self, order: Sequence[int]) -> Mapping[str, Attribute] | None:
        return dict(self.properties)

    def row_access(self, operand: int) -> RowAccess | None:
        return EACH_ROW if self.operand_tensor(operand).shape == self.out.shape else None

    def in_place_operands(self) -> tuple[int, ...]:
        return tuple(index for index in (0, 1) if self.operand_tensor(index).shape == self.out.shape)

    def verify_op(self) -> None:
        require_int8(self.operand_tensor(0), "first operand")
        require_int8(self.operand_tensor(1), "second operand")
        require_int8(self.out, "result")


class BinaryOp(BroadcastingOp, ClampedOp):
    """A sum, difference or product, clamped.

    Three marks matter only to a profile that rounds in float32: `unsigned`, the model file has uint8 tensors; `swapped`, the operands are
    in the opposite of the order in which the reference takes them; `dequantized`, the reference dequantises the operands of a sum, adds
    and quantises.
    """

    unsigned = opt_prop_def(UnitAttr)
    swapped = opt_prop_def(UnitAttr)
    dequantized = opt_prop_def(UnitAttr)

    def verify_op(self) -> None:
        BroadcastingOp.verify_op(self)
        ClampedOp.verify_op(self)


@irdl_op_definition
class AddOp(BinaryOp):
    """Sum of two tensors."""

    name = "nn.add"
    TITLE: ClassVar[str] = "ADD"


@irdl_op_definition
class SubOp(BinaryOp):
    """The first tensor minus the second."""

    name = "nn.sub"
    TITLE: ClassVar[str] = "SUB"


class ExtremeOp(BroadcastingOp):
    """The greater or smaller of two tensors that share scale and zero point with the result."""

    def verify_op(self) -> None:
        super().verify_op()
        kinds = {(tensor.scale, tensor.zero_point) for tensor in (self.operand_tensor(0), self.operand_tensor(1), self.out)}
        require(len(kinds) == 1, "operands and result must have the same scale and zero point")


@irdl_op_definition
class MaximumOp(ExtremeOp):
    """The greater of two elements."""

    name = "nn.maximum"
    TITLE: ClassVar[str] = "MAXIMUM"


@irdl_op_definition
class MinimumOp(ExtremeOp):
    """The smaller of two elements."""

    name = "nn.minimum"
    TITLE: ClassVar[str] = "MINIMUM"


@irdl_op_definition
class MulOp(BinaryOp):
    """Product of two tensors, as a squeeze-and-excite block scales its channels."""

    name = "nn.mul"
    TITLE: ClassVar[str] = "MUL"

    def macs(self) -> int:
        return self.out.elements


@irdl_op_definition
class ClampOp(ElementwiseOp, ClampedOp):
    """Bounds on a quantised tensor whose type stays as it is: an activation that has not been fused yet."""

    name = "nn.clamp"
    TITLE: ClassVar[str] = "CLAMP"

    def in_place_operands(self) -> tuple[int, ...]:
        return (0,)

    def verify_op(self) -> None:
        require_int8(self.operand_tensor(0), "input")
        require(self.operand_tensor(0) == self.out, "clamp keeps the type of its input")
        ClampedOp.verify_op(self)


@irdl_op_definition
class SoftmaxOp(ElementwiseOp):
    """Softmax over the last dimension, exp(beta * x) / sum."""

    name = "nn.softmax"
    TITLE: ClassVar[str] = "SOFTMAX"
    beta = prop_def(FloatAttr[Float32Type])

    def reordered(self, order: Sequence[int]) -> Mapping[str, Attribute] | None:
        return dict(self.properties) if order[-1] == len(order) - 1 else None

    def verify_op(self) -> None:
        require_int8(self.operand_tensor(0), "input")
        require_int8(self.out, "result")


@irdl_op_definition
class QuantizeOp(ElementwiseOp):
    """f32 to i8 with the result's scale and zero point."""

    name = "nn.quantize"
    TITLE: ClassVar[str] = "QUANTIZE"

    def verify_op(self) -> None:
        require(self.operand_tensor(0).element == "f32", "input must be f32")
        require_int8(self.out, "result")


@irdl_op_definition
class DequantizeOp(ElementwiseOp):
    """i8 to f32: scale * (q - zero_point)."""

    name = "nn.dequantize"
    TITLE: ClassVar[str] = "DEQUANTIZE"

    def verify_op(self) -> None:
        require_int8(tensor_of(self.input), "input")
        require(self.out.element == "f32", "result must be f32")
