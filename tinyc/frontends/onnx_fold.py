"""Nodes whose inputs are all known: constants and the shape arithmetic that exporters write."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import helper

from tinyc.frontends.onnx_node import Activation, Array, Known, KnownQuantized, Node, Pending, axis_of

MAX_ELEMENTS = 1 << 24
"""Folded values larger than this are refused: no shape or weight of a microcontroller's network is."""


def checked_size(node: Node, shape: Sequence[int]) -> None:
    """Refuses shapes that are negative or larger than MAX_ELEMENTS."""
    if min(shape, default=0) < 0 or math.prod(shape) > MAX_ELEMENTS:
        node.refuse("shape", f"the constant would have the shape {list(shape)}")


def resolved_shape(node: Node, source: Sequence[int], wanted: Sequence[int], allow_zero: bool) -> tuple[int, ...]:
    """Shape that Reshape to `wanted` gives: 0 keeps a size unless `allow_zero`, one -1 takes what is left."""
    sizes = list(wanted)
    for axis, size in enumerate(sizes):
        if size == 0 and not allow_zero:
            if axis >= len(source):
                node.refuse("shape", f"0 at position {axis} of {list(wanted)} has no size to keep")
            sizes[axis] = source[axis]
    if sizes.count(-1) > 1 or min(sizes, default=0) < -1:
        node.refuse("shape", f"{list(wanted)} is no shape")
    total = math.prod(source)
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        if rest == 0 or total % rest:
            node.refuse("shape", f"{list(source)} does not reshape to {list(wanted)}")
        sizes[sizes.index(-1)] = total // rest
    if math.prod(sizes) != total:
        node.refuse("shape", f"{list(source)} does not reshape to {list(wanted)}")
    return tuple(sizes)


def axes_of(node: Node, position: int, rank: int) -> list[int] | None:
    """`axes` from an input (opset 13) or attribute, counted from the front; None where there are none."""
    if node.has(position):
        listed = node.integers(position, "axes")
    elif "axes" in node.info.attributes:
        listed = node.attribute("axes", list, [])
    else:
        return None
    return [axis_of(node, axis, rank) for axis in listed]


def squeezed(node: Node, shape: Sequence[int]) -> tuple[int, ...]:
    """Shape behind a Squeeze."""
    axes = axes_of(node, 1, len(shape))
    if axes is None:
        axes = [axis for axis, size in enumerate(shape) if size == 1]
    if any(shape[axis] != 1 for axis in axes):
        node.refuse("axes", f"{axes} are not all of size 1 in {list(shape)}")
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def unsqueezed(node: Node, shape: Sequence[int]) -> tuple[int, ...]:
    """Shape behind an Unsqueeze."""
    count = len(node.integers(1, "axes") if node.has(1) else node.attribute("axes", list, []))
    axes = axes_of(node, 1, len(shape) + count)
    if not axes or len(set(axes)) != len(axes):
        node.refuse("axes", f"{axes} are no distinct axes")
    rest = iter(shape)
    return tuple(1 if axis in axes else next(rest) for axis in range(len(shape) + count))


Part = tuple[int, int, int]


def slice_parts(node: Node, shape: Sequence[int]) -> list[Part]:
    """(begin, size, step) of every dimension for a Slice, whose bounds are inputs 1 to 4."""
    starts, ends = node.integers(1, "starts"), node.integers(2, "ends")
    axes = [axis_of(node, axis, len(shape)) for axis in (node.integers(3, "axes") if node.has(3) else range(len(starts)))]
    steps = node.integers(4, "steps") if node.has(4) else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps or len(set(axes)) != len(axes):
        node.refuse("starts", "starts, ends, axes and steps do not fit together")
    parts = [(0, size, 1) for size in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # An end far below 0 means "to the front" with a negative step, as in numpy once it is out of range.
        indices = range(shape[axis])[start : (None if step < 0 and end < -shape[axis] else end) : step]
        parts[axis] = (indices[0] if len(indices) else 0, len(indices), step)
    return parts


def _shape(node: Node) -> Array:
    state = node.state(0)
    shape = (
        state.array.shape if isinstance(state, (Known, KnownQuantized)) else state.shape if isinstance(state, (Activation, Pending)) else ()
    )
    end = node.attribute("end", int, None)
    return np.array(shape[node.integer("start", 0) : end], np.int64)


def _constant(node: Node) -> Array:
    for name, dtype in (
        ("value", None),
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in node.info.attributes:
            return np.asarray(node.info.attributes[name], dtype)
    node.refuse("value", "the constant has no numeric value")


def _inputs(node: Node) -> list[Array]:
    return [node.constant(position, "inputs") for position in range(len(node.info.inputs)) if node.has(position)]


def _elementwise(function: Callable[..., Any]) -> Callable[[Node], Array]:
    def rule(node: Node) -> Array:
        arrays = _inputs(node)
        try:
            checked_size(node, np.broadcast_shapes(*(array.shape for array in arrays)))
            with np.errstate(all="ignore"):
                return np.asarray(function(*arrays))
        except (ValueError, TypeError, ZeroDivisionError) as error:
            node.refuse("inputs", str(error))

    return rule


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if np.any(b == 0):
        raise ValueError("an integer is divided by 0")
    # ONNX divides integers as C does.
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)), a.dtype)


def _cast(node: Node) -> Array:
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(node.integer("to", 0)))
    except KeyError:
        node.refuse("to", f"type {node.integer('to', 0)} is unknown")
    # The onnx package lends numpy types of its own, float8 among them, which round in other ways than ONNX says.
    if dtype.kind not in "biuf" or dtype.isbuiltin != 1:
        node.refuse("to", f"casts to {dtype} are not supported")
    with np.errstate(all="ignore"):
        return node.constant(0, "inputs").astype(dtype)


def _gather(node: Node) -> Array:
    data, indices = node.constant(0, "data"), node.constant(1, "indices")
    axis = axis_of(node, node.integer("axis", 0), data.ndim)
    if indices.dtype.kind not in "iu" or np.any(indices < -data.shape[axis]) or np.any(indices >= data.shape[axis]):
        node.refuse("indices", f"indices leave a dimension of {data.shape[axis]}")
    checked_size(node, (indices.size, data.size))
    return np.take(data, indices, axis)


def _concat(node: Node) -> Array:
    arrays = _inputs(node)
    axis = axis_of(node, node.integer("axis", 0), arrays[0].ndim)
    try:
        return np.concatenate(arrays, axis)
    except ValueError as error:
        node.refuse("axis", str(error))


def _slice(node: Node) -> Array:
    data = node.constant(0, "data")
    return data[np.ix_(*(begin + np.arange(size) * step for begin, size, step in slice_parts(node, data.shape)))] if data.ndim else data


def _constant_of_shape(node: Node) -> Array:
    shape, value = node.integers(0, "shape"), np.asarray(node.info.attributes.get("value", np.zeros(1, np.float32)))
    checked_size(node, shape)
    return np.full(shape, value.reshape(-1)[0], value.dtype)


def _range(node: Node) -> Array:
    start, limit, delta = (node.constant(position, "inputs").reshape(-1)[0] for position in range(3))
    # In float64, which holds what numpy's scalars overflow at.
    if delta == 0 or not abs((float(limit) - float(start)) / float(delta)) <= MAX_ELEMENTS:
        node.refuse("delta", f"a range from {start} to {limit} by {delta} is endless or too long")
    return np.arange(start, limit, delta, dtype=np.asarray(start).dtype)


def _expand(node: Node) -> Array:
    data, shape = node.constant(0, "input"), node.integers(1, "shape")
    checked_size(node, shape)
    try:
        return np.asarray(data * np.ones(np.broadcast_shapes(data.shape, tuple(shape)), data.dtype))
    except ValueError as error:
        node.refuse("shape", str(error))


def _transpose(node: Node) -> Array:
    data = node.constant(0, "data")
    order = node.attribute("perm", list, list(range(data.ndim))[::-1])
    if sorted(order) != list(range(data.ndim)):
        node.refuse("perm", f"{order} does not permute {data.ndim} dimensions")
    return data.transpose(order)


FOLDS: Mapping[str, Callable[[Node], Array]] = {
    "Add": _elementwise(np.add),
    "Cast": _cast,
    "Ceil": _elementwise(np.ceil),
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _elementwise(_divide),
    "Equal": _elementwise(np.equal),
    "Expand": _expand,
    "Flatten": lambda node: _flattened(node),
    "Floor": _elementwise(np.floor),
    "Gather": _gather,
    "Greater": _elementwise(np.greater),
    "Identity": lambda node: node.constant(0, "input"),
    "Less": _elementwise(np.less),
    "Mul": _elementwise(np.multiply),
    "Neg": _elementwise(np.negative),
    "Range": _range,
    "Reshape": lambda node: node.constant(0, "data").reshape(
        resolved_shape(node, node.constant(0, "data").shape, node.integers(1, "shape"), bool(node.integer("allowzero", 0)))
    ),
    "Shape": _shape,
    "Slice": _slice,
    "Squeeze": lambda node: node.constant(0, "data").reshape(squeezed(node, node.constant(0, "data").shape)),
    "Sub": _elementwise(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": lambda node: node.constant(0, "data").reshape(unsqueezed(node, node.constant(0, "data").shape)),
    "Where": _elementwise(np.where),
}
"""Ops that are computed when all their inputs are known; Shape needs the shape of its input only."""


def flat_shape(node: Node, shape: Sequence[int]) -> tuple[int, int]:
    """Shape behind a Flatten."""
    axis = node.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        node.refuse("axis", f"axis {axis} does not cut {len(shape)} dimensions")
    axis = axis + len(shape) if axis < 0 else axis
    return math.prod(shape[:axis]), math.prod(shape[axis:])


def _flattened(node: Node) -> Array:
    data = node.constant(0, "data")
    return data.reshape(flat_shape(node, data.shape))


def fold(node: Node) -> Known | None:
    """The node's result where it can be known, otherwise None."""
    rule = FOLDS.get(node.info.op)
    if rule is None:
        return None
    if node.info.op != "Shape" and any(node.known(position) is None for position in range(len(node.info.inputs)) if node.has(position)):
        return None
    return Known(rule(node))
