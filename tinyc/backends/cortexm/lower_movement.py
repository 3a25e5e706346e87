"""Kernels for slices, concatenations, mirrors, resizes, blocks and maxima: by rows wherever the op says that it works by rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xdsl.ir import Operation, SSAValue

from tinyc.backends.cortexm.kernels import concat, gather, resize_bilinear
from tinyc.backends.cortexm.kernels.base import KernelSpec, Table
from tinyc.backends.cortexm.kernels.blocks import DepthToSpaceSpec, SpaceToDepthSpec
from tinyc.backends.cortexm.kernels.concat import StackRowsSpec
from tinyc.backends.cortexm.kernels.maximum import ArgMaxSpec, MaximumRowsSpec, MaximumTensorSpec
from tinyc.backends.cortexm.lowered import Lowered, Operand, refuse
from tinyc.interpreter.plans import bilinear_axes, nearest_axes
from tinyc.ir.nn_base import constant_of
from tinyc.ir.nn_movement import (
    ArgMaxOp,
    ConcatOp,
    DepthToSpaceOp,
    MirrorPadOp,
    ReduceMaxOp,
    ResizeBilinearOp,
    ResizeNearestOp,
    ResizeOp,
    SliceOp,
    SpaceToDepthOp,
    row_axis,
)
from tinyc.memory.row_access import EACH_ROW, RowAccess
from tinyc.numerics.profile import Profile
from tinyc.numerics.resize import bilinear_rounding

ELEMENT_C_TYPES = {"i8": "int8_t", "i32": "int32_t", "i64": "int64_t", "f32": "float"}


MAX_TABLE = 1 << 16
"""Greatest number of entries of a table of positions."""


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _whole(value: SSAValue, spec: KernelSpec, tables: tuple[Table, ...] = ()) -> Lowered:
    """One call for the whole tensor, as a row that is all of it."""
    return Lowered(spec, (Operand(value, EACH_ROW, 1),), tables, (), 1)


def lower_slice(op: SliceOp, profile: Profile) -> Lowered:
    """A copy with strides: of one row from one row, or of the whole tensor."""
    source, parts, access = op.source(), op.parts(), op.row_access(0)
    rows, strides = row_axis(source.shape), _strides(source.shape)
    inside = range(rows + 1, len(parts)) if access is not None and rows is not None else range(len(parts))
    loops = gather.merged_loops([(parts[axis][1], parts[axis][2] * strides[axis]) for axis in inside])
    offset = sum(parts[axis][0] * strides[axis] for axis in inside)
    spec = gather.StridedCopySpec(loops, offset, ELEMENT_C_TYPES[source.element])
    return _whole(op.operands[0], spec) if access is None else Lowered(spec, (Operand(op.operands[0], access),))


def lower_concat(op: ConcatOp, profile: Profile) -> Lowered:
    """Runs side by side, row by row; rows after rows where the axis is that of the rows; everything at once with constant parts."""
    axis, out = op.axis_number(), op.out
    constants = [constant_of(operand) for operand in op.operands]
    accesses = [op.row_access(index) for index in range(len(op.operands))]
    element = ELEMENT_C_TYPES[out.element]
    by_rows = all(constant is None for constant in constants) and all(access is not None for access in accesses)
    operands = [Operand(value, access) for value, access in zip(op.operands, accesses, strict=True) if access is not None]
    if by_rows and axis == row_axis(out.shape) and out.element == "i8":
        return Lowered(StackRowsSpec(len(operands), out.row_bytes), tuple(operands))
    by_rows = by_rows and axis != row_axis(out.shape)
    shapes = [op.operand_tensor(index).shape for index in range(len(op.operands))]
    start = (row_axis(out.shape) or 0) + 1 if by_rows else 0
    runs = tuple(math.prod(shape[axis:]) for shape in shapes)
    spec = concat.ConcatSpec(math.prod(out.shape[start:axis]), runs, tuple(constant is not None for constant in constants), element)
    if by_rows:
        return Lowered(spec, tuple(operands))
    known = [constant.array for constant in constants if constant is not None]
    whole = [Operand(value, EACH_ROW, 1) for value, constant in zip(op.operands, constants, strict=True) if constant is None]
    return Lowered(spec, tuple(whole), concat.pack(spec, known), (), 1)


def lower_mirror_pad(op: MirrorPadOp, profile: Profile) -> Lowered:
    """Pieces from tables: of a row, or of the whole image where rows are mirrored."""
    shape = op.source().shape
    if len(shape) > 4:
        refuse("paddings", f"mirroring a tensor of rank {len(shape)} is not supported", "reshape it to four dimensions or fewer")
    # Positions are listed in tables, so they must not be many; checked before any list is made.
    if max(op.out.shape[:-1], default=1) > MAX_TABLE or math.prod(op.out.shape[-2:]) > MAX_TABLE:
        refuse("paddings", f"mirroring to {list(op.out.shape)} takes tables of more than {MAX_TABLE} entries")
    missing = 4 - len(shape)
    strides = [0] * missing + _strides(shape)
    indices = [[0]] * missing + [op.indices(axis) for axis in range(len(shape))]
    run = shape[-1] if len(indices[3]) == shape[-1] else 1
    last = [0] if run > 1 else indices[3]
    columns = [column * strides[2] + channel for column in indices[2] for channel in last]
    if op.row_access(0) is not None and row_axis(shape) == 1:
        spec, tables = gather.gather(columns, run)
        return Lowered(spec, (Operand(op.operands[0], EACH_ROW),), tables)
    rows = [batch * strides[0] + row * strides[1] for batch in indices[0] for row in indices[1]]
    return _whole(op.operands[0], *gather.gather(columns, run, rows))


def _scaled_access(op: ResizeOp) -> RowAccess:
    """The rows under each output row in exact arithmetic; the references' rounding may differ by a row."""
    (align_corners, half_pixel_centers), rows, outputs = op.flags(), op.source().shape[1], op.out.shape[1]
    if align_corners and outputs > 1:
        return RowAccess(stride=rows - 1, divisor=outputs - 1)
    if half_pixel_centers:
        return RowAccess(stride=2 * rows, pad=outputs - rows, divisor=2 * outputs)
    return RowAccess(stride=rows, divisor=outputs)


def _covering(access: RowAccess, first: Sequence[int], last: Sequence[int]) -> RowAccess:
    """`access` with the least window that holds rows first[y] to last[y] for every output row y."""
    above = max(access.first(row) - wanted for row, wanted in enumerate(first))
    moved = replace(access, pad=access.pad + above * access.divisor)
    return replace(moved, window=max(wanted - moved.first(row) for row, wanted in enumerate(last)) + 1)


def lower_resize_nearest(op: ResizeNearestOp, profile: Profile) -> Lowered:
    """A row from a row, if one formula gives the rows; pieces of the whole image otherwise."""
    rows, columns = nearest_axes(op, profile)
    width, channels = op.source().shape[2:]
    access = _covering(_nearest_access(op), rows, rows)
    if access.window > 1:
        pitch = width * channels
        return _whole(op.operands[0], *gather.gather([column * channels for column in columns], channels, [row * pitch for row in rows]))
    repeats = op.out.shape[2] // width
    if columns == [column // repeats for column in range(width * repeats)] if repeats else False:
        loops = gather.merged_loops([(width, channels), (repeats, 0), (channels, 1)])
        return Lowered(gather.StridedCopySpec(loops, 0), (Operand(op.operands[0], access),))
    spec, tables = gather.gather([column * channels for column in columns], channels)
    return Lowered(spec, (Operand(op.operands[0], access),), tables)


def _nearest_access(op: ResizeNearestOp) -> RowAccess:
    """The nearest row of each output row in exact arithmetic."""
    (align_corners, half_pixel_centers), rows, outputs = op.flags(), op.source().shape[1], op.out.shape[1]
    if align_corners and outputs > 1:
        return RowAccess(stride=2 * (rows - 1), pad=-(outputs - 1), divisor=2 * (outputs - 1))
    if half_pixel_centers:
        return RowAccess(stride=2 * rows, pad=-rows, divisor=2 * outputs)
    return RowAccess(stride=rows, divisor=outputs)


def lower_resize_bilinear(op: ResizeBilinearOp, profile: Profile) -> Lowered:
    """A row from the rows around it."""
    rows, columns = bilinear_axes(op, profile)
    access = _covering(_scaled_access(op), rows.lower.tolist(), rows.upper.tolist())
    spec = resize_bilinear.ResizeBilinearSpec(op.out.shape[2], op.out.shape[3], access.window, bilinear_rounding(profile))
    try:
        tables = resize_bilinear.pack(spec, access, rows, columns)
    except ValueError as error:
        refuse("size", str(error))
    return Lowered(spec, (Operand(op.operands[0], access),), tables)


def lower_space_to_depth(op: SpaceToDepthOp, profile: Profile) -> Lowered:
    """A row of blocks from the rows that they cover."""
    (height, width), access = op.block_size(), op.row_access(0)
    assert access is not None
    spec = SpaceToDepthSpec(height, width, op.source().shape[3], op.out.shape[2])
    return Lowered(spec, (Operand(op.operands[0], access),))


def lower_depth_to_space(op: DepthToSpaceOp, profile: Profile) -> Lowered:
    """A row of every block from the row of pixels that hold the blocks."""
    (height, width), access = op.block_size(), op.row_access(0)
    assert access is not None
    spec = DepthToSpaceSpec(height, width, op.out.shape[3], op.source().shape[2])
    return Lowered(spec, (Operand(op.operands[0], access),))


def lower_reduce_max(op: ReduceMaxOp, profile: Profile) -> Lowered:
    """Maxima over rows as they arrive, or over any axes of the whole tensor."""
    shape, axes = op.source().shape, op.axis_list()
    if op.reduces_rows():
        return Lowered(MaximumRowsSpec(shape[2], shape[3], axes == (1,)), (Operand(op.operands[0]),))
    return Lowered(MaximumTensorSpec(shape, axes), (Operand(op.operands[0]),))


def lower_arg_max(op: ArgMaxOp, profile: Profile) -> Lowered:
    """Positions of maxima: row by row of an image unless rows are compared, otherwise of the whole tensor."""
    shape, axis, element = op.operand_tensor(0).shape, op.axis_number(), ELEMENT_C_TYPES[op.out.element]
    rows = row_axis(shape)
    if rows is not None and axis > rows:
        spec = ArgMaxSpec(math.prod(shape[rows + 1 : axis]), shape[axis], math.prod(shape[axis + 1 :]), element)
        return Lowered(spec, (Operand(op.operands[0], EACH_ROW),), (), (), shape[rows])
    spec = ArgMaxSpec(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]), element)
    return _whole(op.operands[0], spec)


MOVEMENT_RULES: Mapping[type[Operation], Callable[[Any, Profile], Lowered]] = {
    ArgMaxOp: lower_arg_max,
    ConcatOp: lower_concat,
    DepthToSpaceOp: lower_depth_to_space,
    MirrorPadOp: lower_mirror_pad,
    ReduceMaxOp: lower_reduce_max,
    ResizeBilinearOp: lower_resize_bilinear,
    ResizeNearestOp: lower_resize_nearest,
    SliceOp: lower_slice,
    SpaceToDepthOp: lower_space_to_depth,
}
