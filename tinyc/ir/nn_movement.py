"""`nn` ops that pick, join and rearrange elements: slice, concat, mirror_pad, resizes, space_to_depth, depth_to_space, and maxima."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from xdsl.dialects.builtin import BoolAttr, DenseArrayBase, IntegerAttr, StringAttr, i64
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, traits_def, var_operand_def

from tinyc.ir.nn_base import OPTIONS, PURE, NNOp, integers, reordered_list, require, require_int8
from tinyc.ir.tensor_type import Tensor, TensorType
from tinyc.memory.row_access import EACH_ROW, RowAccess

MIRROR_MODES = ("reflect", "symmetric")


def row_axis(shape: Sequence[int]) -> int | None:
    """The axis that a tensor of `shape` is divided into rows along, or None where it is one row; see Tensor.rows."""
    if len(shape) == 4 and shape[0] == 1:
        return 1
    return 0 if len(shape) == 2 else None


def integer(value: int) -> IntegerAttr:
    """An integer property."""
    return IntegerAttr(value, i64)


class MovementOp(NNOp):
    """One operand, one result of the same element type."""

    input = operand_def(TensorType)
    result = result_def(TensorType)
    irdl_options = OPTIONS
    traits = traits_def(PURE)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def source(self) -> Tensor:
        """The operand's tensor."""
        return self.operand_tensor(0)

    def image(self) -> tuple[int, ...]:
        """The operand's shape. Raises VerifyException unless it is an image [1, H, W, C]."""
        shape = self.source().shape
        require(len(shape) == 4 and shape[0] == 1, f"expects an image of shape [1, H, W, C], got {list(shape)}")
        return shape

    def verify_op(self) -> None:
        require(self.source().element == self.out.element, f"{self.name} keeps the element type")


@irdl_op_definition
class SliceOp(MovementOp):
    """Element i of the result is element `begin + i * step` of the input in every dimension; steps may be negative. The bytes stay."""

    name = "nn.slice"
    TITLE: ClassVar[str] = "SLICE"
    begin = prop_def(DenseArrayBase)
    size = prop_def(DenseArrayBase)
    step = prop_def(DenseArrayBase)

    def parts(self) -> tuple[tuple[int, int, int], ...]:
        """(begin, size, step) for each dimension."""
        columns = (self.begin.get_values(), self.size.get_values(), self.step.get_values())
        return tuple((int(begin), int(size), int(step)) for begin, size, step in zip(*columns, strict=True))

    def result_shape(self) -> tuple[int, ...]:
        shape = self.source().shape
        require(len(self.begin) == len(self.size) == len(self.step) == len(shape), f"begin, size and step need {len(shape)} values each")
        for axis, (begin, size, step) in enumerate(self.parts()):
            last = begin + (size - 1) * step
            inside = size >= 1 and step != 0 and 0 <= begin < shape[axis] and 0 <= last < shape[axis]
            require(inside, f"begin {begin}, size {size}, step {step} leave dimension {axis} of {list(shape)}")
        return tuple(size for _, size, _ in self.parts())

    def reordered(self, order: Sequence[int]) -> Mapping[str, Attribute] | None:
        return {name: reordered_list(getattr(self, name), order) for name in ("begin", "size", "step")}

    def row_access(self, operand: int) -> RowAccess | None:
        axis = row_axis(self.source().shape)
        if axis is None or row_axis(self.out.shape) != axis:
            return None
        begin, size, step = self.parts()[axis]
        # A single row has no direction; rows in reverse order are beyond what a stream delivers.
        return RowAccess(stride=max(step, 1), pad=-begin) if step > 0 or size == 1 else None


@irdl_op_definition
class ConcatOp(NNOp):
    """Tensors side by side along `axis`. The bytes stay as they are, so all have the quantisation of the result."""

    name = "nn.concat"
    TITLE: ClassVar[str] = "CONCATENATION"
    inputs = var_operand_def(TensorType)
    result = result_def(TensorType)
    axis = prop_def(IntegerAttr)
    irdl_options = OPTIONS
    traits = traits_def(PURE)
    assembly_format = "$inputs attr-dict `:` functional-type(operands, results)"

    def axis_number(self) -> int:
        """The axis, not negative."""
        return int(self.axis.value.data)

    def reordered(self, order: Sequence[int]) -> Mapping[str, Attribute] | None:
        return {"axis": integer(order[self.axis_number()])}

    def starts(self) -> tuple[int, ...]:
        """Where each operand begins along the axis."""
        sizes = [self.operand_tensor(index).shape[self.axis_number()] for index in range(len(self.operands))]
        return tuple(sum(sizes[:index]) for index in range(len(sizes)))

    def result_shape(self) -> tuple[int, ...]:
        require(len(self.operands) >= 1, "concat needs an operand")
        shapes = [self.operand_tensor(index).shape for index in range(len(self.operands))]
        first, axis = shapes[0], self.axis_number()
        require(0 <= axis < len(first), f"axis {axis} is no axis of {list(first)}")
        for shape in shapes:
            rest = shape[:axis] + shape[axis + 1 :]
            require(rest == first[:axis] + first[axis + 1 :], f"{list(shape)} does not lie beside {list(first)} along axis {axis}")
        return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])

    def row_access(self, operand: int) -> RowAccess | None:
        rows = row_axis(self.out.shape)
        if rows is None or row_axis(self.operand_tensor(operand).shape) != rows:
            return None
        # Along the rows, an operand's rows lie further down; elsewhere every row has its part of each operand.
        return RowAccess(pad=self.starts()[operand]) if self.axis_number() == rows else EACH_ROW

    def verify_op(self) -> None:
        for index in range(len(self.operands)):
            tensor = self.operand_tensor(index)
            same = (tensor.element, tensor.scale, tensor.zero_point) == (self.out.element, self.out.scale, self.out.zero_point)
            require(same, f"operand {index} has another element type or quantisation than the result")


@irdl_op_definition
class MirrorPadOp(MovementOp):
    """Padding with what lies inside: `reflect` leaves the border element out, `symmetric` repeats it."""

    name = "nn.mirror_pad"
    TITLE: ClassVar[str] = "MIRROR_PAD"
    before = prop_def(DenseArrayBase)
    after = prop_def(DenseArrayBase)
    mode = prop_def(StringAttr)

    def pads(self) -> tuple[tuple[int, int], ...]:
        """(before, after) for each dimension."""
        return tuple((int(a), int(b)) for a, b in zip(self.before.get_values(), self.after.get_values(), strict=True))

    def result_shape(self) -> tuple[int, ...]:
        shape = self.source().shape
        require(self.mode.data in MIRROR_MODES, f"mode must be one of {', '.join(MIRROR_MODES)}, got {self.mode.data}")
        require(len(self.before) == len(self.after) == len(shape), f"before and after need {len(shape)} values each")
        reach = 1 if self.mode.data == "reflect" else 0
        for size, (a, b) in zip(shape, self.pads(), strict=True):
            require(0 <= a <= size - reach and 0 <= b <= size - reach, f"a dimension of {size} cannot be mirrored by {a} and {b}")
        return tuple(size + a + b for size, (a, b) in zip(shape, self.pads(), strict=True))

    def reordered(self, order: Sequence[int]) -> Mapping[str, Attribute] | None:
        return {**self.properties, "before": reordered_list(self.before, order), "after": reordered_list(self.after, order)}

    def indices(self, axis: int) -> list[int]:
        """For each position of the result along `axis`, the position of the input."""
        size, (before, after) = self.source().shape[axis], self.pads()[axis]
        skip = 1 if self.mode.data == "reflect" else 0
        return [*range(before + skip - 1, skip - 1, -1), *range(size), *range(size - 1 - skip, size - 1 - skip - after, -1)]

    def row_access(self, operand: int) -> RowAccess | None:
        axis = row_axis(self.source().shape)
        return EACH_ROW if axis is not None and row_axis(self.out.shape) == axis and self.pads()[axis] == (0, 0) else None


class ResizeOp(MovementOp):
    """An image scaled to the height and width of the result. The two flags say which positions of the grids coincide, as in TFLite.

    Which rows an output row reads depends on how a profile rounds, so that lowering answers it, not `row_access`.
    """

    align_corners = prop_def(BoolAttr)
    half_pixel_centers = prop_def(BoolAttr)

    def flags(self) -> tuple[bool, bool]:
        """align_corners, half_pixel_centers."""
        return bool(self.align_corners.value.data), bool(self.half_pixel_centers.value.data)

    def result_shape(self) -> tuple[int, ...]:
        image, shape = self.image(), self.out.shape
        require(not all(self.flags()), "align_corners and half_pixel_centers exclude each other")
        require(
            len(shape) == 4 and (shape[0], shape[3]) == (1, image[3]) and min(shape) >= 1,
            f"the result must have shape [1, height, width, {image[3]}], got {list(shape)}",
        )
        return shape

    def verify_op(self) -> None:
        require_int8(self.source(), "input")
        require_int8(self.out, "result")


@irdl_op_definition
class ResizeNearestOp(ResizeOp):
    """Every element of the result is the nearest one of the input. Which one that is at a tie is a matter of numerics."""

    name = "nn.resize_nearest"
    TITLE: ClassVar[str] = "RESIZE_NEAREST_NEIGHBOR"


@irdl_op_definition
class ResizeBilinearOp(ResizeOp):
    """Every element of the result is the weighted mean of the four around it."""

    name = "nn.resize_bilinear"
    TITLE: ClassVar[str] = "RESIZE_BILINEAR"

    def macs(self) -> int:
        return 4 * self.out.elements


class BlockOp(MovementOp):
    """Blocks of `block` (height, width) pixels on one side, as many groups of channels, in row-major order, on the other."""

    block = prop_def(DenseArrayBase)

    def block_size(self) -> tuple[int, int]:
        """Height and width of a block."""
        require(len(self.block) == 2, "block must be two integers: height, width")
        height, width = self.block.get_values()
        require(min(int(height), int(width)) >= 1, "a block has at least one pixel")
        return int(height), int(width)


@irdl_op_definition
class SpaceToDepthOp(BlockOp):
    """Each block of pixels becomes one pixel."""

    name = "nn.space_to_depth"
    TITLE: ClassVar[str] = "SPACE_TO_DEPTH"

    def result_shape(self) -> tuple[int, ...]:
        (_, height, width, channels), block = self.image(), self.block_size()
        require(height % block[0] == 0 and width % block[1] == 0, f"{height}x{width} pixels do not divide into blocks of {list(block)}")
        return 1, height // block[0], width // block[1], channels * block[0] * block[1]

    def row_access(self, operand: int) -> RowAccess | None:
        height = self.block_size()[0]
        return RowAccess(window=height, stride=height)


@irdl_op_definition
class DepthToSpaceOp(BlockOp):
    """Each pixel becomes a block of pixels."""

    name = "nn.depth_to_space"
    TITLE: ClassVar[str] = "DEPTH_TO_SPACE"

    def result_shape(self) -> tuple[int, ...]:
        (_, height, width, channels), block = self.image(), self.block_size()
        require(channels % (block[0] * block[1]) == 0, f"{channels} channels do not divide into blocks of {list(block)}")
        return 1, height * block[0], width * block[1], channels // (block[0] * block[1])

    def row_access(self, operand: int) -> RowAccess | None:
        return RowAccess(divisor=self.block_size()[0])


@irdl_op_definition
class ReduceMaxOp(MovementOp):
    """Maximum over `axes` (sorted, not negative); `keep_dims` leaves them as 1."""

    name = "nn.reduce_max"
    TITLE: ClassVar[str] = "REDUCE_MAX"
    axes = prop_def(DenseArrayBase)
    keep_dims = prop_def(BoolAttr)

    def axis_list(self) -> tuple[int, ...]:
        """The reduced axes."""
        return tuple(int(axis) for axis in self.axes.get_values())

    def result_shape(self) -> tuple[int, ...]:
        shape, axes = self.source().shape, self.axis_list()
        require(bool(axes) and list(axes) == sorted(set(axes)), "axes must be sorted, without repeats")
        require(axes[0] >= 0 and axes[-1] < len(shape), f"axes {list(axes)} are not axes of {list(shape)}")
        if bool(self.keep_dims.value.data):
            return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        return tuple(size for axis, size in enumerate(shape) if axis not in axes)

    def reordered(self, order: Sequence[int]) -> Mapping[str, Attribute] | None:
        if not bool(self.keep_dims.value.data):
            return None
        return {**self.properties, "axes": integers(sorted(order[axis] for axis in self.axis_list()))}

    def reduces_rows(self) -> bool:
        return row_axis(self.source().shape) == 1 and self.axis_list() in ((1,), (1, 2))

    def verify_op(self) -> None:
        require_int8(self.source(), "input")
        source, out = self.source(), self.out
        require(
            (source.element, source.scale, source.zero_point) == (out.element, out.scale, out.zero_point),
            "a maximum keeps the quantisation of its input",
        )


@irdl_op_definition
class ArgMaxOp(NNOp):
    """Position of the first maximum along `axis`, which the result does not have."""

    name = "nn.arg_max"
    TITLE: ClassVar[str] = "ARG_MAX"
    input = operand_def(TensorType)
    result = result_def(TensorType)
    axis = prop_def(IntegerAttr)
    irdl_options = OPTIONS
    traits = traits_def(PURE)
    assembly_format = "$input attr-dict `:` functional-type(operands, results)"

    def axis_number(self) -> int:
        """The axis, not negative."""
        return int(self.axis.value.data)

    def result_shape(self) -> tuple[int, ...]:
        shape, axis = self.operand_tensor(0).shape, self.axis_number()
        require(0 <= axis < len(shape), f"axis {axis} is no axis of {list(shape)}")
        return shape[:axis] + shape[axis + 1 :]

    def verify_op(self) -> None:
        require_int8(self.operand_tensor(0), "input")
        require(self.out.element in ("i32", "i64"), f"the result must be i32 or i64, got {self.out.element}")


MOVEMENT_OPS = (
    ArgMaxOp,
    ConcatOp,
    DepthToSpaceOp,
    MirrorPadOp,
    ReduceMaxOp,
    ResizeBilinearOp,
    ResizeNearestOp,
    SliceOp,
    SpaceToDepthOp,
)
"""All ops of this file, for the dialect."""
