"""`nn` ops that hold, move or reduce data: constant, fully_connected, mean, pad, reshape, transpose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from xdsl.dialects.builtin import BoolAttr, DenseArrayBase, IntegerAttr
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, opt_prop_def, prop_def, result_def, traits_def
from xdsl.traits import ConstantLike

from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import OPTIONS, PURE, ClampedOp, NNOp, integers, reordered_list, require, require_int8, tensor_of
from tinyc.ir.nn_window import verify_weights
from tinyc.ir.tensor_type import TensorType
from tinyc.memory.row_access import RowAccess


@irdl_op_definition
class ConstantOp(NNOp):
    """A tensor known at compile time."""

    name = "nn.constant"
    TITLE: ClassVar[str] = "CONSTANT"
    result = result_def(TensorType)
    value = prop_def(DenseAttr)
    irdl_options = OPTIONS
    traits = traits_def(PURE, ConstantLike())
    assembly_format = "$value attr-dict `:` type($result)"

    def result_shape(self) -> tuple[int, ...]:
        return self.value.data.shape

    def verify_op(self) -> None:
        require(self.value.data.element == self.out.element, f"data is {self.value.data.element}, the type says {self.out.element}")


@irdl_op_definition
class FullyConnectedOp(ClampedOp):
    """Matrix product with weights (outputs, inputs). The input is taken as (elements / inputs, inputs), whatever its shape."""

    name = "nn.fully_connected"
    TITLE: ClassVar[str] = "FULLY_CONNECTED"
    input = operand_def(TensorType)
    weights = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    result = result_def(TensorType)
    weight_scales = prop_def(DenseAttr)
    irdl_options = OPTIONS
    traits = traits_def(PURE)
    assembly_format = "$input `,` $weights (`,` $bias^)? attr-dict `:` functional-type(operands, results)"

    def batches(self) -> int:
        """How many input vectors the operand holds."""
        return self.operand_tensor(0).elements // tensor_of(self.weights).shape[1]

    def result_shape(self) -> tuple[int, ...]:
        weights, elements = tensor_of(self.weights).shape, self.operand_tensor(0).elements
        require(len(weights) == 2, f"weights must have two dimensions, got {list(weights)}")
        require(elements % weights[1] == 0, f"an input of {elements} elements is no multiple of {weights[1]}")
        # A leading shape may be kept (keep_num_dims); it holds as many vectors all the same.
        shape = self.out.shape
        require(len(shape) >= 1 and shape[-1] == weights[0], f"the last dimension of the result must be {weights[0]}")
        require(self.out.elements == self.batches() * weights[0], f"result must hold {self.batches()} x {weights[0]} elements")
        return shape

    def macs(self) -> int:
        return self.batches() * tensor_of(self.weights).elements

    def reduces_rows(self) -> bool:
        return self.batches() == 1

    def verify_op(self) -> None:
        require_int8(self.operand_tensor(0), "input")
        require_int8(self.out, "result")
        super().verify_op()
        verify_weights(
            tensor_of(self.weights), tensor_of(self.bias) if self.bias else None, self.weight_scales, tensor_of(self.weights).shape[0]
        )


@irdl_op_definition
class MeanOp(NNOp):
    """Mean over `axes` (sorted, not negative); `keep_dims` leaves them as 1."""

    name = "nn.mean"
    TITLE: ClassVar[str] = "MEAN"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    axes = prop_def(DenseArrayBase)
    keep_dims = prop_def(BoolAttr)
    irdl_options = OPTIONS
    traits = traits_def(PURE)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def axis_list(self) -> tuple[int, ...]:
        """The reduced axes."""
        return tuple(int(axis) for axis in self.axes.get_values())

    def result_shape(self) -> tuple[int, ...]:
        shape, axes = self.operand_tensor(0).shape, self.axis_list()
        require(bool(axes) and list(axes) == sorted(set(axes)), "axes must be sorted, without repeats")
        require(axes[0] >= 0 and axes[-1] < len(shape), f"axes {list(axes)} are not axes of {list(shape)}")
        if bool(self.keep_dims.value.data):
            return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        return tuple(size for axis, size in enumerate(shape) if axis not in axes)

    def reordered(self, order: Sequence[int]) -> Mapping[str, Attribute] | None:
        if not bool(self.keep_dims.value.data):
            return None
        return {**self.properties, "axes": integers(sorted(order[axis] for axis in self.axis_list()))}

    def row_access(self, operand: int) -> RowAccess | None:
        # A mean along the width keeps the rows, whether or not the width stays as a dimension of 1.
        return RowAccess() if self.axis_list() == (2,) and self._is_image() else None

    def reduces_rows(self) -> bool:
        return self.axis_list() in ((1,), (1, 2)) and self._is_image()

    def _is_image(self) -> bool:
        shape = self.operand_tensor(0).shape
        return len(shape) == 4 and shape[0] == 1 and (bool(self.keep_dims.value.data) or self.axis_list() != (2,))

    def verify_op(self) -> None:
        require_int8(self.operand_tensor(0), "input")
        require_int8(self.out, "result")


@irdl_op_definition
class PadOp(NNOp):
    """Padding with `value`, or with the zero point where there is none: `before` and `after` hold one count per dimension."""

    name = "nn.pad"
    TITLE: ClassVar[str] = "PAD"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    before = prop_def(DenseArrayBase)
    after = prop_def(DenseArrayBase)
    value = opt_prop_def(IntegerAttr)
    irdl_options = OPTIONS
    traits = traits_def(PURE)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def pad_value(self) -> int:
        """The int8 that fills the padding."""
        return self.out.zero_point if self.value is None else int(self.value.value.data)

    def pads(self) -> tuple[tuple[int, int], ...]:
        """(before, after) for each dimension."""
        return tuple((int(a), int(b)) for a, b in zip(self.before.get_values(), self.after.get_values(), strict=True))

    def result_shape(self) -> tuple[int, ...]:
        shape = self.operand_tensor(0).shape
        require(len(self.before) == len(self.after) == len(shape), f"before and after need {len(shape)} values each")
        require(all(a >= 0 and b >= 0 for a, b in self.pads()), "paddings must not be negative")
        return tuple(size + a + b for size, (a, b) in zip(shape, self.pads(), strict=True))

    def reordered(self, order: Sequence[int]) -> Mapping[str, Attribute] | None:
        return {**self.properties, "before": reordered_list(self.before, order), "after": reordered_list(self.after, order)}

    def row_access(self, operand: int) -> RowAccess | None:
        shape = self.operand_tensor(0).shape
        if len(shape) == 4 and shape[0] == self.out.shape[0] == 1:
            return RowAccess(pad=self.pads()[1][0])
        return None

    def verify_op(self) -> None:
        require_int8(self.operand_tensor(0), "input")
        require_int8(self.out, "result")
        source = self.operand_tensor(0)
        same = (source.scale, source.zero_point) == (self.out.scale, self.out.zero_point)
        # Otherwise the padding would be another number than the zero point of the convolution that a pass folds it into.
        require(same, "pad keeps the scale and zero point of its input")
        require(-128 <= self.pad_value() <= 127, f"the padding value must be an int8, got {self.pad_value()}")


@irdl_op_definition
class ReshapeOp(NNOp):
    """The same elements in another shape. The quantisation of the result may differ: the bytes are the same."""

    name = "nn.reshape"
    TITLE: ClassVar[str] = "RESHAPE"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    irdl_options = OPTIONS
    traits = traits_def(PURE)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def result_shape(self) -> tuple[int, ...]:
        require(
            self.operand_tensor(0).elements == self.out.elements,
            f"{self.operand_tensor(0).elements} elements do not fill {list(self.out.shape)}",
        )
        return self.out.shape

    def verify_op(self) -> None:
        require(self.operand_tensor(0).element == self.out.element, "reshape keeps the element type")


def permuted(shape: Sequence[int], permutation: Sequence[int]) -> tuple[int, ...]:
    """`shape` with its dimensions in the order of `permutation`."""
    return tuple(shape[axis] for axis in permutation)


@irdl_op_definition
class TransposeOp(NNOp):
    """Dimension i of the result is dimension `permutation[i]` of the input."""

    name = "nn.transpose"
    TITLE: ClassVar[str] = "TRANSPOSE"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    permutation = prop_def(DenseArrayBase)
    irdl_options = OPTIONS
    traits = traits_def(PURE)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def permutation_list(self) -> tuple[int, ...]:
        """The permutation as a tuple."""
        return tuple(int(axis) for axis in self.permutation.get_values())

    def result_shape(self) -> tuple[int, ...]:
        shape = self.operand_tensor(0).shape
        require(
            sorted(self.permutation_list()) == list(range(len(shape))),
            f"permutation {list(self.permutation_list())} does not permute {len(shape)} dimensions",
        )
        return permuted(shape, self.permutation_list())

    def moves_nothing(self) -> bool:
        """Whether the elements keep their order in memory: dimensions larger than 1 keep their order."""
        shape = self.operand_tensor(0).shape
        order = [axis for axis in self.permutation_list() if shape[axis] != 1]
        return order == sorted(order)
