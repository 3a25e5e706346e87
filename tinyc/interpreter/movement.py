"""Evaluators of the ops that move, resize and compare elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.ir import Operation

from tinyc.interpreter.plans import bilinear_axes, nearest_axes
from tinyc.ir.nn_movement import (
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
from tinyc.ir.tensor_type import NUMPY_TYPES
from tinyc.numerics.profile import Profile
from tinyc.numerics.resize import bilinear_rounding, resize_bilinear

Array = npt.NDArray[Any]


def _slice(op: SliceOp, operands: Sequence[Array], profile: Profile) -> Array:
    indices = [begin + np.arange(size) * step for begin, size, step in op.parts()]
    return np.ascontiguousarray(operands[0][np.ix_(*indices)])


def _concat(op: ConcatOp, operands: Sequence[Array], profile: Profile) -> Array:
    return np.concatenate(operands, axis=op.axis_number())


def _mirror_pad(op: MirrorPadOp, operands: Sequence[Array], profile: Profile) -> Array:
    return np.ascontiguousarray(operands[0][np.ix_(*(op.indices(axis) for axis in range(operands[0].ndim)))])


def _resize_nearest(op: ResizeNearestOp, operands: Sequence[Array], profile: Profile) -> Array:
    rows, columns = nearest_axes(op, profile)
    return np.ascontiguousarray(operands[0][:, rows][:, :, columns])


def _resize_bilinear(op: ResizeBilinearOp, operands: Sequence[Array], profile: Profile) -> Array:
    return resize_bilinear(bilinear_rounding(profile), *bilinear_axes(op, profile), operands[0])


def _space_to_depth(op: SpaceToDepthOp, operands: Sequence[Array], profile: Profile) -> Array:
    (_, height, width, channels), block = op.out.shape, op.block_size()
    pixels = operands[0].reshape(height, block[0], width, block[1], channels // (block[0] * block[1]))
    return np.ascontiguousarray(pixels.transpose(0, 2, 1, 3, 4)).reshape(op.out.shape)


def _depth_to_space(op: DepthToSpaceOp, operands: Sequence[Array], profile: Profile) -> Array:
    (_, height, width, _), block = op.source().shape, op.block_size()
    blocks = operands[0].reshape(height, width, *block, op.out.shape[3])
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3, 4)).reshape(op.out.shape)


def _reduce_max(op: ReduceMaxOp, operands: Sequence[Array], profile: Profile) -> Array:
    return np.asarray(operands[0].max(axis=op.axis_list(), keepdims=bool(op.keep_dims.value.data)))


def _arg_max(op: ArgMaxOp, operands: Sequence[Array], profile: Profile) -> Array:
    # numpy, too, takes the first of equal maxima.
    positions: Array = operands[0].argmax(axis=op.axis_number())
    return np.asarray(positions).astype(NUMPY_TYPES[op.out.element])


MOVEMENT_EVALUATORS: Mapping[type[Operation], Callable[[Any, Sequence[Array], Profile], Array]] = {
    ArgMaxOp: _arg_max,
    ConcatOp: _concat,
    DepthToSpaceOp: _depth_to_space,
    MirrorPadOp: _mirror_pad,
    ReduceMaxOp: _reduce_max,
    ResizeBilinearOp: _resize_bilinear,
    ResizeNearestOp: _resize_nearest,
    SliceOp: _slice,
    SpaceToDepthOp: _space_to_depth,
}
