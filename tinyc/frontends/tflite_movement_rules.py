"""Import rules of ops that move data: slices, splits, joins, paddings, resizes, blocks, maxima, and what is known at compile time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite
from xdsl.dialects.builtin import BoolAttr, StringAttr
from xdsl.ir import Operation, SSAValue

from tinyc.frontends.tflite_node import Node, Rule
from tinyc.frontends.tflite_operands import image, make
from tinyc.frontends.tflite_reader import TensorInfo
from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import integers, tensor_of
from tinyc.ir.nn_movement import (
    MIRROR_MODES,
    ArgMaxOp,
    ConcatOp,
    DepthToSpaceOp,
    MirrorPadOp,
    ReduceMaxOp,
    ResizeBilinearOp,
    ResizeNearestOp,
    SliceOp,
    SpaceToDepthOp,
    integer,
)
from tinyc.ir.nn_shape import ConstantOp, PadOp, ReshapeOp
from tinyc.ir.tensor_type import NUMPY_TYPES, Tensor, TensorType

_OPTIONS = tflite.BuiltinOptions
Part = tuple[int, int, int]
MAX_FILL = 1 << 20
"""More elements than a FILL of any network for a microcontroller has; what a file claims is not allocated unseen."""
MAX_SIDE = 1 << 15
"""Greatest height and width of a resized image: positions are kept in 16 bits."""


def _constant(array: npt.NDArray[Any], kind: TensorType) -> Operation:
    values = np.asarray(array, dtype=NUMPY_TYPES[kind.data.element], order="C")
    return ConstantOp.create(properties={"value": DenseAttr.of(values)}, result_types=[kind])


def _axis(node: Node, axis: int, rank: int) -> int:
    """`axis` counted from the front. Refuses what is no axis of a tensor with `rank` dimensions."""
    found = axis + rank if axis < 0 else axis
    if not 0 <= found < rank:
        node.refuse("axis", f"axis {axis} is no axis of a tensor with {rank} dimensions")
    return found


def _same_quantization(node: Node, source: Tensor, result: Tensor) -> None:
    if (source.element, source.scale, source.zero_point) != (result.element, result.scale, result.zero_point):
        node.refuse(
            "quantization",
            f"{node.operator.op} must keep the type, scale and zero point of its input",
            "requantise the model, as LiteRT asks",
        )


def _slice(node: Node, position: int, parts: Sequence[Part], result: TensorInfo) -> Operation:
    """The elements begin + i * step of an input, in the shape of `result`; a constant where the input is one."""
    kind, known = node.type_of(result), node.known(position)
    if any(size < 1 for _, size, _ in parts):
        node.refuse("shape", f"{result.name} has no elements")
    sizes = tuple(size for _, size, _ in parts)
    if np.prod(sizes) != kind.data.elements:
        node.refuse("shape", f"the slice has shape {list(sizes)}, the file says {list(kind.data.shape)}")
    if known is not None:
        picked = known[np.ix_(*(begin + np.arange(size) * step for begin, size, step in parts))] if parts else known
        return _constant(picked.reshape(kind.data.shape), kind)
    value = node.value(position)
    if all(part == (0, size, 1) for part, size in zip(parts, tensor_of(value).shape, strict=True)):
        return ReshapeOp.create(operands=[value], result_types=[kind])
    columns = {name: integers([part[index] for part in parts]) for index, name in enumerate(("begin", "size", "step"))}
    if sizes == kind.data.shape:
        return SliceOp.create(operands=[value], properties=columns, result_types=[kind])
    cut = TensorType(Tensor(sizes, kind.data.element, kind.data.scale, kind.data.zero_point))
    return ReshapeOp.create(
        operands=[node.add(SliceOp.create(operands=[value], properties=columns, result_types=[cut]))], result_types=[kind]
    )


def _slice_op(node: Node) -> Operation:
    shape, begin, size = node.tensor(0).shape, node.integers(1, "begin").ravel(), node.integers(2, "size").ravel()
    if not len(shape) == len(begin) == len(size):
        node.refuse("begin", f"begin and size need {len(shape)} values each")
    sizes = [extent - int(b) if s == -1 else int(s) for extent, b, s in zip(shape, begin, size, strict=True)]
    for axis, (extent, b, s) in enumerate(zip(shape, begin, sizes, strict=True)):
        if b < 0 or s < 1 or b + s > extent:
            node.refuse("size", f"begin {b} and size {s} leave dimension {axis} of {list(shape)}")
    return _slice(node, 0, [(int(b), s, 1) for b, s in zip(begin, sizes, strict=True)], node.output_tensor())


def strided_part(size: int, begin: int | None, end: int | None, step: int) -> Part:
    """One dimension of a STRIDED_SLICE as (begin, size, step); None stands for a masked bound. Numpy's slices have the same rules."""
    indices = range(size)[begin:end:step]
    return (indices[0] if len(indices) else 0, len(indices), step)


def _strided_slice(node: Node) -> Operation:
    options = node.options(tflite.StridedSliceOptions, _OPTIONS.StridedSliceOptions)
    shape = node.tensor(0).shape
    begin, end, strides = (node.integers(position, name).ravel() for position, name in enumerate(("begin", "end", "strides"), 1))
    if not len(begin) == len(end) == len(strides) or (strides == 0).any():
        node.refuse("strides", "begin, end and strides need the same number of values, and no stride may be 0")

    def masked(mask: int, index: int) -> bool:
        return bool(mask >> index & 1)

    ellipses = [index for index in range(len(begin)) if masked(options.EllipsisMask(), index)]
    new = [index for index in range(len(begin)) if masked(options.NewAxisMask(), index) and index not in ellipses]
    rest = len(shape) - (len(begin) - len(new) - len(ellipses))
    if len(ellipses) > 1 or rest < 0:
        node.refuse("ellipsis_mask", f"{len(begin)} slices do not fit {len(shape)} dimensions")
    if ellipses and rest == 0:
        node.refuse("ellipsis_mask", "the ellipsis stands for no dimension, which LiteRT takes for one", "leave the ellipsis out")
    parts: list[Part] = []
    for index in range(len(begin)):
        if index in ellipses:
            parts += [(0, size, 1) for size in shape[len(parts) : len(parts) + rest]]
        elif index not in new:
            size, step = shape[len(parts)], int(strides[index])
            first = int(begin[index])
            if masked(options.ShrinkAxisMask(), index):
                if not -size <= first < size:
                    node.refuse("begin", f"{first} is no position of a dimension of {size}")
                parts.append((first % size, 1, 1))
                continue
            last = int(end[index]) + (first if options.Offset() else 0)
            masks = masked(options.BeginMask(), index), masked(options.EndMask(), index)
            parts.append(strided_part(size, None if masks[0] else first, None if masks[1] else last, step))
    parts += [(0, size, 1) for size in shape[len(parts) :]]
    return _slice(node, 0, parts, node.output_tensor())


def _outputs(node: Node) -> list[TensorInfo]:
    return [node.graph.tensors[index] for index in node.operator.outputs]


def _cut(node: Node, position: int, axis: int, sizes: Sequence[int]) -> list[Operation]:
    """Consecutive slices of `sizes` along `axis`, one for each output."""
    shape, outputs = node.tensor(position).shape, _outputs(node)
    if len(sizes) != len(outputs) or sum(sizes) != shape[axis] or min(sizes, default=0) < 1:
        node.refuse("sizes", f"parts of {list(sizes)} for {len(outputs)} outputs do not make up a dimension of {shape[axis]}")
    operations = []
    for index, (size, output) in enumerate(zip(sizes, outputs, strict=True)):
        parts = [(0, extent, 1) for extent in shape]
        parts[axis] = (sum(sizes[:index]), size, 1)
        if node.known(position) is None:
            _same_quantization(node, node.type_of(node.tensor(position)).data, node.type_of(output).data)
        operations.append(_slice(node, position, parts, output))
    return operations


def _split(node: Node) -> Sequence[Operation]:
    shape, axes = node.tensor(1).shape, node.integers(0, "axis").ravel()
    if len(axes) != 1:
        node.refuse("axis", "SPLIT needs one axis")
    axis, count = _axis(node, int(axes[0]), len(shape)), len(node.operator.outputs)
    if count == 0 or shape[axis] % count:
        node.refuse("num_splits", f"{count} outputs do not divide a dimension of {shape[axis]}")
    return _cut(node, 1, axis, [shape[axis] // count] * count)


def _split_v(node: Node) -> Sequence[Operation]:
    shape, sizes, axes = node.tensor(0).shape, node.integers(1, "size_splits").ravel(), node.integers(2, "axis").ravel()
    if len(axes) != 1:
        node.refuse("axis", "SPLIT_V needs one axis")
    axis = _axis(node, int(axes[0]), len(shape))
    known = sum(int(size) for size in sizes if size >= 0)
    return _cut(node, 0, axis, [shape[axis] - known if size == -1 else int(size) for size in sizes])


def _unpack(node: Node) -> Sequence[Operation]:
    options = node.options(tflite.UnpackOptions, _OPTIONS.UnpackOptions)
    shape = node.tensor(0).shape
    return _cut(node, 0, _axis(node, options.Axis(), len(shape)), [1] * len(node.operator.outputs))


def _reshape(node: Node) -> Operation:
    """SQUEEZE, EXPAND_DIMS: the file says which shape comes out."""
    known, kind = node.known(0), node.output_type()
    if known is not None and known.size == kind.data.elements:
        return _constant(known.reshape(kind.data.shape), kind)
    return make(ReshapeOp, node, [node.value(0)], {})


def _joined(node: Node, axis: int, shape: tuple[int, ...] | None) -> Operation:
    """All inputs side by side along `axis`, each in `shape` first where one is given; a constant where all are."""
    kind = node.output_type()
    positions = range(len(node.operator.inputs))
    known = [node.known(position) for position in positions]
    arrays = [array for array in known if array is not None]
    if len(arrays) == len(known):
        parts = [array if shape is None else array.reshape(shape) for array in arrays]
        return _constant(np.concatenate(parts, axis=axis).reshape(kind.data.shape), kind)
    values: list[SSAValue] = []
    for position in positions:
        value = node.value(position)
        tensor = tensor_of(value)
        _same_quantization(node, tensor, kind.data)
        if shape is not None and shape != tensor.shape:
            reshaped = TensorType(Tensor(shape, tensor.element, tensor.scale, tensor.zero_point))
            value = node.add(ReshapeOp.create(operands=[value], result_types=[reshaped]))
        values.append(value)
    if len(values) == 1:
        return make(ReshapeOp, node, values, {})
    return make(ConcatOp, node, values, {"axis": integer(axis)})


def _concatenation(node: Node) -> Operation:
    options = node.options(tflite.ConcatenationOptions, _OPTIONS.ConcatenationOptions)
    if options.FusedActivationFunction() != tflite.ActivationFunctionType.NONE:
        node.refuse("fused_activation_function", "CONCATENATION takes no activation, in LiteRT neither", "put the activation behind it")
    return _joined(node, _axis(node, options.Axis(), len(node.output_tensor().shape)), None)


def _pack(node: Node) -> Operation:
    options = node.options(tflite.PackOptions, _OPTIONS.PackOptions)
    shape = node.output_tensor().shape
    axis = _axis(node, options.Axis(), len(shape))
    return _joined(node, axis, (*shape[:axis], 1, *shape[axis + 1 :]))


def _paddings(node: Node) -> dict[str, Any]:
    paddings = node.integers(1, "paddings")
    if paddings.shape != (len(node.tensor(0).shape), 2) or paddings.min(initial=0) < 0:
        node.refuse("paddings", f"paddings {paddings.tolist()} do not fit shape {list(node.tensor(0).shape)}")
    return {"before": integers(paddings[:, 0].tolist()), "after": integers(paddings[:, 1].tolist())}


def _pad_v2(node: Node) -> Operation:
    value, kind = node.known(2), node.output_type()
    if value is None or value.size != 1 or node.tensor(2).element != "i8":
        node.refuse("constant_values", "the padding value must be one constant int8")
    _same_quantization(node, node.type_of(node.tensor(0)).data, kind.data)
    _same_quantization(node, node.type_of(node.tensor(2)).data, kind.data)
    return make(PadOp, node, [node.value(0)], {**_paddings(node), "value": integer(int(value.ravel()[0]))})


def _mirror_pad(node: Node) -> Operation:
    options = node.options(tflite.MirrorPadOptions, _OPTIONS.MirrorPadOptions)
    if not 0 <= options.Mode() < len(MIRROR_MODES):
        node.refuse("mode", f"mode {options.Mode()} is unknown")
    _same_quantization(node, node.type_of(node.tensor(0)).data, node.output_type().data)
    return make(MirrorPadOp, node, [node.value(0)], {**_paddings(node), "mode": StringAttr(MIRROR_MODES[options.Mode()])})


def _resize(node: Node, kind: type[Operation], options: Any) -> Operation:
    image(node)
    size, shape = node.integers(1, "size").ravel().tolist(), node.output_tensor().shape
    if max(*node.tensor(0).shape, *shape) > MAX_SIDE:
        node.refuse("size", f"images of {list(node.tensor(0).shape)} and {list(shape)}, at most {MAX_SIDE} is supported for a dimension")
    if size != list(shape[1:3]):
        node.refuse("size", f"the node resizes to {size}, its output has shape {list(shape)}")
    flags = {"align_corners": options.AlignCorners(), "half_pixel_centers": options.HalfPixelCenters()}
    if all(flags.values()):
        node.refuse("align_corners", "align_corners and half_pixel_centers exclude each other, in LiteRT too")
    return make(kind, node, [node.value(0)], {name: BoolAttr.from_bool(bool(flag)) for name, flag in flags.items()})


def _resize_nearest(node: Node) -> Operation:
    return _resize(node, ResizeNearestOp, node.options(tflite.ResizeNearestNeighborOptions, _OPTIONS.ResizeNearestNeighborOptions))


def _resize_bilinear(node: Node) -> Operation:
    options = node.options(tflite.ResizeBilinearOptions, _OPTIONS.ResizeBilinearOptions)
    _same_quantization(node, node.type_of(node.tensor(0)).data, node.output_type().data)
    return _resize(node, ResizeBilinearOp, options)


def _reduce_max(node: Node) -> Operation:
    options = node.options(tflite.ReducerOptions, _OPTIONS.ReducerOptions)
    rank = len(node.tensor(0).shape)
    axes = sorted({_axis(node, int(axis), rank) for axis in node.integers(1, "axes").ravel()})
    if not axes:
        node.refuse("axes", "REDUCE_MAX needs an axis")
    return make(ReduceMaxOp, node, [node.value(0)], {"axes": integers(axes), "keep_dims": BoolAttr.from_bool(bool(options.KeepDims()))})


def _arg_max(node: Node) -> Operation:
    axes, rank = node.integers(1, "axis").ravel(), len(node.tensor(0).shape)
    if len(axes) != 1:
        node.refuse("axis", "ARG_MAX needs one axis")
    return make(ArgMaxOp, node, [node.value(0)], {"axis": integer(_axis(node, int(axes[0]), rank))})


def _blocks(kind: type[Operation], options_kind: type, expected: int) -> Rule:
    def rule(node: Node) -> Operation:
        options = node.options(options_kind, expected)
        image(node)
        if options.BlockSize() < 1:
            node.refuse("block_size", f"a block of {options.BlockSize()} pixels makes no sense")
        _same_quantization(node, node.type_of(node.tensor(0)).data, node.output_type().data)
        return make(kind, node, [node.value(0)], {"block": integers([options.BlockSize()] * 2)})

    return rule


def _shape(node: Node) -> Operation:
    shape = np.array(node.tensor(0).shape, dtype=np.int64)
    return _constant(shape, node.output_type())


def _fill(node: Node) -> Operation:
    value, kind = node.known(1), node.output_type()
    if value is None or value.size != 1 or node.integers(0, "dims").ravel().tolist() != list(kind.data.shape):
        node.refuse("value", "FILL needs a constant value, and the shape that its output has", "export the model with static shapes")
    if kind.data.elements > MAX_FILL:
        node.refuse("dims", f"{kind.data.elements} elements, at most {MAX_FILL} are supported")
    return _constant(np.full(kind.data.shape, value.ravel()[0]), kind)


MOVEMENT_RULES: Mapping[str, Rule] = {
    "ARG_MAX": _arg_max,
    "CONCATENATION": _concatenation,
    "DEPTH_TO_SPACE": _blocks(DepthToSpaceOp, tflite.DepthToSpaceOptions, _OPTIONS.DepthToSpaceOptions),
    "EXPAND_DIMS": _reshape,
    "FILL": _fill,
    "MIRROR_PAD": _mirror_pad,
    "PACK": _pack,
    "PADV2": _pad_v2,
    "REDUCE_MAX": _reduce_max,
    "RESIZE_BILINEAR": _resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest,
    "SHAPE": _shape,
    "SLICE": _slice_op,
    "SPACE_TO_DEPTH": _blocks(SpaceToDepthOp, tflite.SpaceToDepthOptions, _OPTIONS.SpaceToDepthOptions),
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "UNPACK": _unpack,
}
