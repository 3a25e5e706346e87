"""What every op of the `nn` dialect answers about itself, so that passes and planners never ask for an op's name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from xdsl.dialects.builtin import DenseArrayBase, IntegerType, StringAttr, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import IRDLOperation, ParsePropInAttrDict, operand_def, opt_prop_def, prop_def, result_def, traits_def
from xdsl.irdl import IRDLOption as _Option
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from tinyc.ir.dense import DenseAttr
from tinyc.ir.tensor_type import Tensor, TensorType
from tinyc.memory.row_access import EACH_ROW, RowAccess

OPTIONS: tuple[_Option, ...] = (ParsePropInAttrDict(),)
PURE = Pure()


def integers(values: Sequence[int]) -> DenseArrayBase:
    """An integer-list property, printed as `array<i64: ...>`."""
    return DenseArrayBase.from_list(i64, list(values))


def reordered_list(values: DenseArrayBase[IntegerType], order: Sequence[int]) -> DenseArrayBase:
    """One integer for each dimension, moved with the dimensions: element i of `values` becomes element `order[i]`."""
    moved = [0] * len(order)
    for position, value in zip(order, values.get_values(), strict=True):
        moved[position] = int(value)
    return integers(moved)


def tensor_of(value: SSAValue) -> Tensor:
    """The tensor that `value` carries. Raises VerifyException for a value of another type."""
    if not isinstance(value.type, TensorType):
        raise VerifyException(f"expected an !nn.tensor, got {value.type}")
    return value.type.data


class NNOp(IRDLOperation, ABC):
    """Base of all `nn` ops: pure, one tensor result. Subclasses say how shapes, rows and memory relate."""

    TITLE: ClassVar[str]
    """The op's name as the TFLite and ONNX worlds know it, for reports."""

    @property
    def layer(self) -> str:
        """Name of the node that this op came from (set by front ends), or the op's own name."""
        name = self.attributes.get("layer")
        return name.data if isinstance(name, StringAttr) else self.name

    @property
    def title(self) -> str:
        """TITLE, or something more telling."""
        return self.TITLE

    @property
    def out(self) -> Tensor:
        """The result's tensor."""
        return tensor_of(self.results[0])

    def operand_tensor(self, index: int) -> Tensor:
        """Tensor of operand `index`."""
        return tensor_of(self.operands[index])

    @abstractmethod
    def result_shape(self) -> tuple[int, ...]:
        """Shape that the result must have. Raises VerifyException where operands and properties make no sense together."""

    def macs(self) -> int:
        """Multiply-accumulate operations of one execution."""
        return 0

    def row_access(self, operand: int) -> RowAccess | None:
        """How output rows read the rows of `operand`; None where the whole operand is needed before the first output row."""
        return None

    def reduces_rows(self) -> bool:
        """Whether the op can take the rows of its first operand one after the other into accumulators and needs none of them again."""
        return False

    def reordered(self, order: Sequence[int]) -> Mapping[str, Attribute] | None:
        """The properties with which the op computes the same on tensors whose dimension `order[i]` is what is now dimension i, for all
        operands and the result; None where there are none such. All tensors have as many dimensions as `order`."""
        return None

    def in_place_operands(self) -> tuple[int, ...]:
        """Operands over which the result may be written: element i of the result depends on no element of the operand but i."""
        return ()

    def verify_(self) -> None:
        """Checks the result's shape against `result_shape`, then `verify_op`."""
        expected = self.result_shape()
        if self.out.shape != expected:
            raise VerifyException(f"result has shape {list(self.out.shape)}, but operands and properties give {list(expected)}")
        self.verify_op()

    def verify_op(self) -> None:
        """Further checks of one op; raises VerifyException."""


class ClampedOp(NNOp):
    """An int8 result limited to `clamp`.

    `activation` is there only where the numerics profiles round the bounds of a fused activation differently (its real bound lies half-way
    between two quantised values): numerics then forms the bounds from its name, and `clamp` holds those of the default profile.
    """

    clamp = prop_def(DenseArrayBase)
    activation = opt_prop_def(StringAttr)

    def clamp_pair(self) -> tuple[int, int]:
        """Lower and upper bound of the quantised result."""
        lower, upper = self.clamp.get_values()
        return int(lower), int(upper)

    def verify_op(self) -> None:
        require_clamp(tuple(self.clamp.get_values()))
        require(self.activation is None or self.out.scale is not None, "an activation needs a quantised result")


class ElementwiseOp(NNOp):
    """One operand, result of the same shape, row by row."""

    input = operand_def(TensorType)
    result = result_def(TensorType)
    irdl_options = OPTIONS
    traits = traits_def(PURE)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def result_shape(self) -> tuple[int, ...]:
        return self.operand_tensor(0).shape

    def reordered(self, order: Sequence[int]) -> Mapping[str, Attribute] | None:
        return dict(self.properties)

    def row_access(self, operand: int) -> RowAccess | None:
        return EACH_ROW


def require(condition: bool, message: str) -> None:
    """Raises VerifyException(message) unless `condition` holds."""
    if not condition:
        raise VerifyException(message)


def require_int8(tensor: Tensor, what: str) -> None:
    """Raises VerifyException unless `tensor` is quantised int8."""
    require(tensor.element == "i8" and tensor.scale is not None, f"{what} must be a quantised i8 tensor, got {TensorType(tensor)}")


def require_clamp(clamp: tuple[int, ...]) -> None:
    """Raises VerifyException unless `clamp` is two int8 bounds in order."""
    require(len(clamp) == 2 and -128 <= clamp[0] <= clamp[1] <= 127, f"clamp must be two int8 bounds, lower first, got {list(clamp)}")


def constant_of(value: SSAValue) -> DenseAttr | None:
    """The data behind `value` if an `nn.constant` defines it."""
    owner = value.owner
    if isinstance(owner, Operation) and owner.name == "nn.constant":
        data = owner.properties["value"]
        assert isinstance(data, DenseAttr)
        return data
    return None


def set_layer(op: Operation, name: str) -> None:
    """Records the node name that reports and errors show."""
    op.attributes["layer"] = StringAttr(name)
