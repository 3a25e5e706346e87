"""Import rules of what moves elements about: it computes nothing, so that it may stand on either side of a DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import BoolAttr, StringAttr
from xdsl.ir import SSAValue

from tinyc.frontends.onnx_fold import Part, flat_shape, resolved_shape, slice_parts, squeezed, unsqueezed
from tinyc.frontends.onnx_layout import channels_first, channels_last, transpose
from tinyc.frontends.onnx_node import Activation, KnownQuantized, Node, Pending, Quantization, Rule, State, axis_of, quantized_type
from tinyc.frontends.onnx_quantize_rules import requantized
from tinyc.ir.nn_base import integers
from tinyc.ir.nn_movement import ConcatOp, DepthToSpaceOp, MirrorPadOp, ResizeNearestOp, SliceOp, SpaceToDepthOp, integer
from tinyc.ir.nn_shape import PadOp, ReshapeOp
from tinyc.ir.tensor_type import TensorType
from tinyc.numerics.profile import Profile
from tinyc.numerics.resize import nearest_indices

_MAX_INPUTS = 1000
"""Of a Concat; more only a damaged file has."""


def _moved(activation: Activation, value: SSAValue) -> Activation:
    return replace(activation, value=value)


def reshaped(node: Node, x: Activation, shape: Sequence[int]) -> Activation:
    """The same elements in another shape."""
    if tuple(shape) == x.shape:
        return x
    kind = TensorType(replace(x.tensor, shape=tuple(shape)))
    return _moved(x, node.add(ReshapeOp.create(operands=[x.value], result_types=[kind])))


def _dropout(node: Node) -> State:
    if node.has(2) and node.constant(2, "training_mode").any():
        node.refuse("training_mode", "a Dropout that drops is not supported", "export the model in inference mode")
    return _same(node)


def _same(node: Node) -> State:
    if any(node.info.outputs[1:]):
        node.refuse("outputs", "the mask of a Dropout is not supported", "export the model in inference mode")
    state = node.state(0)
    if isinstance(state, Pending):
        # ONNX Runtime takes the node out: what reads its result reads its input.
        return replace(state, shared=state.shared or node.graph.uses[node.info.inputs[0]] > 1)
    return state


def _reshape(node: Node) -> State:
    state = node.state(0)
    shape = state.array.shape if isinstance(state, KnownQuantized) else node.movable(0).shape
    wanted = resolved_shape(node, shape, node.integers(1, "shape"), bool(node.integer("allowzero", 0)))
    if isinstance(state, KnownQuantized) and state.scales.size == 1:
        return replace(state, array=state.array.reshape(wanted))
    return reshaped(node, node.movable(0), wanted)


def _flatten(node: Node) -> State:
    x = node.movable(0)
    return reshaped(node, x, flat_shape(node, x.shape))


def _squeeze(node: Node) -> State:
    x = node.movable(0)
    return reshaped(node, x, squeezed(node, x.shape))


def _unsqueeze(node: Node) -> State:
    x = node.movable(0)
    return reshaped(node, x, unsqueezed(node, x.shape))


def _transpose(node: Node) -> State:
    state = node.state(0)
    rank = state.array.ndim if isinstance(state, KnownQuantized) else len(node.movable(0).shape)
    order = node.attribute("perm", list, list(range(rank))[::-1])
    if sorted(order) != list(range(rank)):
        node.refuse("perm", f"{order} does not permute {rank} dimensions")
    if isinstance(state, KnownQuantized):
        axis = order.index(state.axis) if state.scales.size > 1 else 0
        return replace(state, array=np.ascontiguousarray(state.array.transpose(order)), axis=axis)
    x = node.movable(0)
    return _moved(x, transpose(node, x.value, tuple(order)))


def _cut(node: Node, x: Activation, parts: Sequence[Part]) -> Activation:
    sizes = tuple(size for _, size, _ in parts)
    if min(sizes, default=1) < 1:
        node.refuse("ends", f"the slice of {list(x.shape)} has no elements")
    if all(part == (0, size, 1) for part, size in zip(parts, x.shape, strict=True)):
        return x
    columns = {name: integers([part[index] for part in parts]) for index, name in enumerate(("begin", "size", "step"))}
    kind = TensorType(replace(x.tensor, shape=sizes))
    return _moved(x, node.add(SliceOp.create(operands=[x.value], properties=columns, result_types=[kind])))


def _slice(node: Node) -> State:
    x = node.movable(0)
    return _cut(node, x, slice_parts(node, x.shape))


def _split(node: Node) -> Sequence[State]:
    x = node.movable(0)
    axis, count = axis_of(node, node.integer("axis", 0), len(x.shape)), len(node.info.outputs)
    if node.has(1):
        sizes = node.integers(1, "split")
    elif "split" in node.info.attributes:
        sizes = node.attribute("split", list, [])
    else:
        chunk = -(-x.shape[axis] // count)
        sizes = [chunk] * (count - 1) + [x.shape[axis] - chunk * (count - 1)]
    if len(sizes) != count or sum(sizes) != x.shape[axis] or min(sizes) < 1:
        node.refuse("split", f"parts of {sizes} for {count} outputs do not make up a dimension of {x.shape[axis]}")
    results: list[State] = []
    for index, size in enumerate(sizes):
        parts = [(0, extent, 1) for extent in x.shape]
        parts[axis] = (sum(sizes[:index]), size, 1)
        results.append(_cut(node, x, parts))
    return results


def concatenated(node: Node, inputs: Sequence[Activation], axis: int, out: Quantization) -> SSAValue:
    """Tensors side by side along `axis`, each brought to the quantisation `out` first."""
    values = [requantized(node, x, out) for x in inputs]
    shape = list(inputs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in inputs)
    return node.add(ConcatOp.create(operands=values, properties={"axis": integer(axis)}, result_types=[quantized_type(shape, out)]))


def _checked_axis(node: Node, inputs: Sequence[Activation]) -> int:
    axis = axis_of(node, node.integer("axis", 0), len(inputs[0].shape))
    for x in inputs:
        if len(x.shape) != len(inputs[0].shape) or any(
            a != b for index, (a, b) in enumerate(zip(x.shape, inputs[0].shape, strict=True)) if index != axis
        ):
            node.refuse("axis", f"{list(x.shape)} does not lie beside {list(inputs[0].shape)} along axis {axis}")
    return axis


def _concat(node: Node) -> State:
    inputs = [node.quantized(position) for position in range(len(node.info.inputs))]
    if not 1 <= len(inputs) <= _MAX_INPUTS:
        node.refuse("inputs", f"Concat has {len(inputs)} inputs, expected 1 to {_MAX_INPUTS}")
    axis = _checked_axis(node, inputs)
    first = inputs[0].quantization
    if all((x.quantization.scale, x.quantization.zero_point) == (first.scale, first.zero_point) for x in inputs):
        return replace(inputs[0], value=concatenated(node, inputs, axis, first), real=any(x.real for x in inputs))
    if not all(x.real for x in inputs):
        node.refuse("inputs", "int8 tensors of different scales lie side by side", "give them one scale, or use QLinearConcat")
    shape = list(inputs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in inputs)

    def emit(out: Quantization) -> SSAValue:
        return concatenated(node, inputs, axis, out)

    return Pending(node, tuple(shape), emit, emit)


def _qlinear_concat(node: Node) -> State:
    count = len(node.info.inputs) - 2
    if count < 3 or count % 3:
        node.refuse("inputs", f"expected an output scale and zero point, then three inputs a tensor, found {len(node.info.inputs)} inputs")
    out = node.parameters(0, 1)
    inputs = [node.described(position) for position in range(2, count + 2, 3)]
    return Activation(concatenated(node, inputs, _checked_axis(node, inputs), out), False, out.unsigned)


def _pad(node: Node) -> State:
    x = node.quantized(0)
    before, after = _pad_counts(node, len(x.shape))
    shape = tuple(size + a + b for size, a, b in zip(x.shape, before, after, strict=True))
    kind = TensorType(replace(x.tensor, shape=shape))
    properties = {"before": integers(before), "after": integers(after)}
    mode = node.attribute("mode", str, "constant")
    if mode == "reflect":
        made = MirrorPadOp.create(operands=[x.value], properties={**properties, "mode": StringAttr("reflect")}, result_types=[kind])
        return _moved(x, node.add(made))
    if mode != "constant":
        node.refuse("mode", f"padding mode {mode} is not supported", "use constant or reflect")
    value, is_exact = _pad_value(node, x)
    fill = {} if value == x.tensor.zero_point else {"value": integer(value)}

    def padded() -> SSAValue:
        return node.add(PadOp.create(operands=[x.value], properties={**properties, **fill}, result_types=[kind]))

    def emit(out: Quantization) -> SSAValue:
        if (out.scale, out.zero_point) != (x.quantization.scale, x.quantization.zero_point):
            node.refuse("constant_value", "the padding value is none that the input's scale stands for", "pad with zeros")
        return padded()

    return _moved(x, padded()) if is_exact else Pending(node, shape, emit, emit)


def _pad_counts(node: Node, rank: int) -> tuple[list[int], list[int]]:
    """Elements added in front of and behind each of `rank` dimensions."""
    pads = node.integers(1, "pads")
    axes = [axis_of(node, axis, rank) for axis in (node.integers(3, "axes") if node.has(3) else range(rank))]
    if len(pads) != 2 * len(axes) or min(pads, default=0) < 0:
        node.refuse("pads", f"{pads} does not fit {rank} dimensions; negative padding is not supported", "use Slice to crop")
    before, after = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        before[axis], after[axis] = pads[position], pads[position + len(axes)]
    return before, after


def _pad_value(node: Node, x: Activation) -> tuple[int, bool]:
    """The int8 that fills the padding, and whether it stands for just the number that the file gives."""
    state = node.state(2) if node.has(2) else None
    if isinstance(state, KnownQuantized):
        real = float((state.array.reshape(-1)[0] - state.zero_points[0]) * state.scales[0])
    else:
        found = node.known(2)
        if found is None and state is not None:
            node.refuse("constant_value", "the padding value must be constant")
        real = 0.0 if found is None else float(found.reshape(-1)[0])
        if not x.real:
            return int(real) - (128 if x.unsigned and found is not None and found.dtype == np.uint8 else 0), True
    value = np.rint(np.float32(real) / np.float32(x.quantization.scale)) + x.tensor.zero_point
    if not -128 <= value <= 127:
        node.refuse("constant_value", f"the padding value {real} lies outside what int8 holds with the input's scale")
    held = np.float32(value - x.tensor.zero_point) * np.float32(x.quantization.scale)
    return int(value), bool(held == np.float32(real))


_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def resize_indices(size: int, outputs: int, scale: np.float32, coordinates: str, rounding: str) -> npt.NDArray[np.int64]:
    """(outputs,) positions along one axis of the input that nearest-neighbour Resize copies; float32 throughout, as in ONNX Runtime."""
    positions = np.arange(outputs, dtype=np.float32)
    if coordinates == "asymmetric":
        source = positions / scale
    elif coordinates == "align_corners":
        source = positions * np.float32(size - 1) / np.float32(max(outputs - 1, 1))
    elif coordinates == "pytorch_half_pixel" and outputs <= 1:
        source = np.zeros_like(positions)
    else:
        source = (positions + np.float32(0.5)) / scale - np.float32(0.5)
    if rounding == "floor":
        found = np.floor(source)
    elif rounding == "ceil":
        found = np.ceil(source)
    elif rounding == "round_prefer_ceil":
        found = np.floor(source.astype(np.float64) + 0.5)
    else:
        found = np.ceil(source.astype(np.float64) - 0.5)
    return np.asarray(np.clip(found, 0, size - 1), np.int64)


def _resize_sizes(node: Node, shape: Sequence[int]) -> tuple[list[int], list[np.float32]]:
    """Sizes of the result and factors, for every axis; `axes` lists those that inputs speak of, all by default."""
    axes = [axis_of(node, axis, len(shape)) for axis in node.attribute("axes", list, list(range(len(shape))))]
    sizes, scales = list(shape), [np.float32(1)] * len(shape)
    if node.has(3):
        wanted = node.integers(3, "sizes")
        if len(wanted) != len(axes):
            node.refuse("sizes", f"expected {len(axes)} sizes, found {wanted}")
        ratios = [np.float32(size) / np.float32(shape[axis]) for size, axis in zip(wanted, axes, strict=True)]
        policy = node.attribute("keep_aspect_ratio_policy", str, "stretch")
        if policy in ("not_larger", "not_smaller"):
            common = min(ratios) if policy == "not_larger" else max(ratios)
            ratios = [common] * len(axes)
            wanted = [int(np.floor(common * np.float32(shape[axis]) + np.float32(0.5))) for axis in axes]
        elif policy != "stretch":
            node.refuse("keep_aspect_ratio_policy", f"{policy} is unknown")
    else:
        factors = node.constant(1 if node.info.op == "Upsample" else 2, "scales").astype(np.float32)
        if factors.shape != (len(axes),) or not np.isfinite(factors).all() or not (factors > 0).all() or (factors > 64).any():
            node.refuse("scales", f"expected {len(axes)} factors between 0 and 64, found {factors.tolist()}")
        ratios = list(factors)
        wanted = [int(np.floor(shape[axis] * factor)) for axis, factor in zip(axes, factors, strict=True)]
    for axis, size, ratio in zip(axes, wanted, ratios, strict=True):
        sizes[axis], scales[axis] = size, ratio
    return sizes, scales


def _resize(node: Node) -> State:
    x = node.quantized(0)
    mode = node.attribute("mode", str, "nearest")
    if mode != "nearest":
        node.refuse("mode", f"Resize with mode {mode} is not supported", "use nearest")
    if len(x.shape) != 4 or x.shape[0] != 1:
        node.refuse("shape", f"expects an image of shape [1, C, H, W], got {list(x.shape)}")
    sizes, scales = _resize_sizes(node, x.shape)
    if sizes[:2] != list(x.shape[:2]) or min(sizes) < 1 or max(sizes) > 1 << 16:
        node.refuse("sizes", f"from {list(x.shape)} to {sizes}: only height and width may change")
    coordinates = node.attribute("coordinate_transformation_mode", str, "asymmetric" if node.info.op == "Upsample" else "half_pixel")
    rounding = node.attribute("nearest_mode", str, "floor" if node.info.op == "Upsample" else "round_prefer_floor")
    if coordinates not in ("asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel") or rounding not in _ROUNDINGS:
        node.refuse("coordinate_transformation_mode", f"{coordinates} with {rounding} is not supported")
    wanted = [resize_indices(x.shape[axis], sizes[axis], scales[axis], coordinates, rounding) for axis in (2, 3)]
    for flags in ((False, False), (False, True), (True, False)):
        ours = [nearest_indices(Profile.ONNXRUNTIME, x.shape[axis], sizes[axis], *flags) for axis in (2, 3)]
        if all(np.array_equal(a, b) for a, b in zip(wanted, ours, strict=True)):
            properties = {"align_corners": BoolAttr.from_bool(flags[0]), "half_pixel_centers": BoolAttr.from_bool(flags[1])}
            kind = quantized_type((1, sizes[2], sizes[3], sizes[1]), x.quantization)
            made = ResizeNearestOp.create(operands=[channels_last(node, x.value)], properties=properties, result_types=[kind])
            return _moved(x, channels_first(node, node.add(made)))
    node.refuse(
        "nearest_mode",
        f"{coordinates} with {rounding} from {list(x.shape[2:])} to {sizes[2:]} picks elements that no rule of tinyc picks",
        "use a whole-numbered factor, or asymmetric with floor",
    )


def _depth_to_space(node: Node) -> State:
    return _blocks(node, node.quantized(0), True)


def _space_to_depth(node: Node) -> State:
    return _blocks(node, node.quantized(0), False)


def _blocks(node: Node, x: Activation, to_space: bool) -> State:
    size, mode = node.integer("blocksize", 0), node.attribute("mode", str, "DCR")
    if mode not in ("DCR", "CRD"):
        node.refuse("mode", f"mode {mode} is unknown", "use DCR or CRD")
    if len(x.shape) != 4 or x.shape[0] != 1:
        node.refuse("shape", f"expects an image of shape [1, C, H, W], got {list(x.shape)}")
    _, channels, height, width = x.shape
    fits = channels % (size * size) == 0 if to_space and size else size and height % size == 0 and width % size == 0
    if not 1 <= size <= 1 << 10 or not fits:
        node.refuse("blocksize", f"blocks of {size} do not fit {list(x.shape)}")
    if mode == "CRD":
        return _blocks_within_channels(node, x, size, to_space)
    if to_space:
        shape = (1, height * size, width * size, channels // (size * size))
    else:
        shape = (1, height // size, width // size, channels * size * size)
    op = DepthToSpaceOp if to_space else SpaceToDepthOp
    made = op.create(
        operands=[channels_last(node, x.value)],
        properties={"block": integers((size, size))},
        result_types=[quantized_type(shape, x.quantization)],
    )
    return _moved(x, channels_first(node, node.add(made)))


def _blocks_within_channels(node: Node, x: Activation, size: int, to_space: bool) -> State:
    """Mode CRD, in which the elements of a block are neighbours among the channels, as PyTorch's PixelShuffle has them."""
    _, channels, height, width = x.shape
    if to_space:
        kept = channels // (size * size)
        cut = reshaped(node, x, (kept, size, size, height, width))
        moved = _moved(cut, transpose(node, cut.value, (0, 3, 1, 4, 2)))
        return reshaped(node, moved, (1, kept, height * size, width * size))
    cut = reshaped(node, x, (channels, height // size, size, width // size, size))
    moved = _moved(cut, transpose(node, cut.value, (0, 2, 4, 1, 3)))
    return reshaped(node, moved, (1, channels * size * size, height // size, width // size))


MOVEMENT_RULES: Mapping[str, Rule] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Identity": _same,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
    "com.microsoft.QLinearConcat": _qlinear_concat,
}

__all__ = ["MOVEMENT_RULES", "concatenated", "reshaped", "resize_indices"]
