"""Random one-op models of the ops that move, resize, compare or join elements, and of grouped, dilated and transposed convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from support.tflite_builder import ACTIVATION_CODES, PADDING_CODES, Op, Tensor, build_model

Random = np.random.Generator
Values = npt.NDArray[Any]


@dataclass(frozen=True)
class MovementCase:
    """A TFLite file and values for its inputs."""

    model: bytes
    inputs: tuple[Values, ...]
    name: str


def _sizes(random: Random, rank: int, low: int = 1, high: int = 8) -> tuple[int, ...]:
    return tuple(int(size) for size in random.integers(low, high, rank))


def _image(random: Random, high: int = 10) -> tuple[int, ...]:
    return (1, *_sizes(random, 3, 1, high))


def _any_shape(random: Random) -> tuple[int, ...]:
    return _image(random) if random.random() < 0.5 else _sizes(random, int(random.integers(1, 6)), 1, 6)


def _int8(random: Random, shape: tuple[int, ...]) -> Values:
    if random.random() < 0.2:
        return random.choice(np.array([-128, 127], np.int8), shape)
    return random.integers(-128, 128, shape).astype(np.int8)


def _quantization(random: Random) -> tuple[float, int]:
    return float(np.float32(2.0 ** random.uniform(-9, 1))), int(random.choice([-128, 127, 0, int(random.integers(-128, 128))]))


def _tensor(name: str, shape: tuple[int, ...], quantization: tuple[float, int], data: Values | None = None) -> Tensor:
    return Tensor(name, shape, scale=quantization[0], zero_point=quantization[1], data=data)


def _ints(name: str, values: Any, random: Random | None = None) -> Tensor:
    array = np.array(values)
    return Tensor(name, array.shape, "int32", data=array)


def _model(random: Random, op: Op, tensors: list[Tensor], values: Mapping[str, Values]) -> MovementCase:
    text = ", ".join(
        f"{tensor.name} {tensor.shape} {tensor.data.tolist() if tensor.dtype == 'int32' and tensor.data is not None else ''}"
        for tensor in tensors
    )
    name = f"{op.code} {dict(op.options)}: {text}"
    return MovementCase(build_model(tensors, [op], list(values), list(op.outputs)), tuple(values.values()), name)


def concatenation_case(random: Random) -> MovementCase:
    shape, quantization = _any_shape(random), _quantization(random)
    axis, count = int(random.integers(len(shape))), int(random.integers(1, 5))
    tensors, values, total = [], {}, 0
    for index in range(count):
        own = (*shape[:axis], int(random.integers(1, 6)), *shape[axis + 1 :])
        data = _int8(random, own)
        constant = index > 0 and random.random() < 0.2
        tensors.append(_tensor(f"x{index}", own, quantization, data if constant else None))
        total += own[axis]
        if not constant:
            values[f"x{index}"] = data
    names = [tensor.name for tensor in tensors]
    tensors.append(_tensor("y", (*shape[:axis], total, *shape[axis + 1 :]), quantization))
    if random.random() < 0.3:
        axis -= len(shape)
    return _model(random, Op("CONCATENATION", names, ["y"], {"Axis": axis}), tensors, values)


def split_case(random: Random) -> MovementCase:
    shape, quantization, count = _any_shape(random), _quantization(random), int(random.integers(1, 4))
    axis = int(random.integers(len(shape)))
    part = shape[axis]
    shape = (*shape[:axis], part * count, *shape[axis + 1 :])
    outputs = [_tensor(f"y{index}", (*shape[:axis], part, *shape[axis + 1 :]), quantization) for index in range(count)]
    axis = axis - len(shape) if random.random() < 0.3 else axis
    op = Op("SPLIT", ["axis", "x"], [tensor.name for tensor in outputs], {"NumSplits": count})
    return _model(random, op, [_ints("axis", axis), _tensor("x", shape, quantization), *outputs], {"x": _int8(random, shape)})


def split_v_case(random: Random) -> MovementCase:
    shape, quantization = _any_shape(random), _quantization(random)
    axis, sizes = int(random.integers(len(shape))), [int(size) for size in random.integers(1, 5, int(random.integers(1, 4)))]
    shape = (*shape[:axis], sum(sizes), *shape[axis + 1 :])
    outputs = [_tensor(f"y{index}", (*shape[:axis], size, *shape[axis + 1 :]), quantization) for index, size in enumerate(sizes)]
    given = [-1 if random.random() < 0.3 and index == 0 else size for index, size in enumerate(sizes)]
    op = Op("SPLIT_V", ["x", "sizes", "axis"], [tensor.name for tensor in outputs], {"NumSplits": len(sizes)})
    tensors = [_tensor("x", shape, quantization), _ints("sizes", given), _ints("axis", axis), *outputs]
    return _model(random, op, tensors, {"x": _int8(random, shape)})


def slice_case(random: Random) -> MovementCase:
    shape, quantization = _any_shape(random), _quantization(random)
    begin = [int(random.integers(size)) for size in shape]
    size = [int(random.integers(1, extent - start + 1)) for extent, start in zip(shape, begin, strict=True)]
    given = [-1 if random.random() < 0.3 and start + own == extent else own for extent, start, own in zip(shape, begin, size, strict=True)]
    tensors = [_tensor("x", shape, quantization), _ints("begin", begin), _ints("size", given), _tensor("y", tuple(size), quantization)]
    return _model(random, Op("SLICE", ["x", "begin", "size"], ["y"]), tensors, {"x": _int8(random, shape)})


def strided_slice_case(random: Random) -> MovementCase:
    """Masks and strides of every kind; where nothing would be left, the next random choice is taken."""
    while True:
        shape = _image(random) if random.random() < 0.5 else _sizes(random, int(random.integers(1, 5)), 1, 7)
        masks = dict.fromkeys(("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask"), 0)
        begin, end, stride, index = [], [], [], []
        dimension = 0
        while dimension < len(shape) and random.random() < 0.9:
            bit, extent = 1 << len(begin), shape[dimension]
            kind = str(random.choice(["range", "range", "range", "shrink", "new", "ellipsis"]))
            low, high, step = int(random.integers(-extent - 1, extent + 2)), int(random.integers(-extent - 1, extent + 2)), 1
            if kind == "ellipsis" and not masks["EllipsisMask"] and random.random() < 0.5:
                masks["EllipsisMask"] |= bit
                index.append(Ellipsis)
                dimension += int(random.integers(0, len(shape) - dimension + 1))
            elif kind == "new" and len(shape) < 4:
                masks["NewAxisMask"] |= bit
                index.append(None)
            elif kind == "shrink" and not masks["EllipsisMask"]:
                low = int(random.integers(-extent, extent))
                high = low + 1
                masks["ShrinkAxisMask"] |= bit
                index.append(low)
                dimension += 1
            else:
                step = int(random.choice([1, 1, 2, 3, -1, -2]))
                masks["BeginMask"] |= bit * int(random.random() < 0.3)
                masks["EndMask"] |= bit * int(random.random() < 0.3)
                index.append(slice(None if masks["BeginMask"] & bit else low, None if masks["EndMask"] & bit else high, step))
                dimension += 1
            begin.append(low)
            end.append(high)
            stride.append(step)
        values = _int8(random, shape)
        given = sum(item is not None and item is not Ellipsis for item in index)
        if given > len(shape) or not begin or (masks["EllipsisMask"] and given == len(shape)):
            # LiteRT takes an ellipsis that stands for no dimension for one; tinyc refuses it.
            continue
        expected = values[tuple(index)]
        if expected.size == 0 or expected.ndim > 5:
            continue
        quantization = _quantization(random)
        tensors = [_tensor("x", shape, quantization), _ints("begin", begin), _ints("end", end), _ints("strides", stride)]
        tensors.append(_tensor("y", expected.shape, quantization))
        return _model(random, Op("STRIDED_SLICE", ["x", "begin", "end", "strides"], ["y"], masks), tensors, {"x": values})


def squeeze_case(random: Random) -> MovementCase:
    shape, quantization = (1, *_sizes(random, 2), 1), _quantization(random)
    dimensions = [[0], [3], [0, 3], [-1]][int(random.integers(4))]
    result = tuple(size for axis, size in enumerate(shape) if axis not in [dimension % 4 for dimension in dimensions])
    op = Op("SQUEEZE", ["x"], ["y"], {"SqueezeDims": dimensions})
    return _model(random, op, [_tensor("x", shape, quantization), _tensor("y", result, quantization)], {"x": _int8(random, shape)})


def expand_dims_case(random: Random) -> MovementCase:
    shape, quantization = _sizes(random, int(random.integers(1, 4))), _quantization(random)
    axis = int(random.integers(-len(shape) - 1, len(shape) + 1))
    result = np.expand_dims(np.empty(shape), axis).shape
    tensors = [_tensor("x", shape, quantization), _ints("axis", [axis]), _tensor("y", result, quantization)]
    return _model(random, Op("EXPAND_DIMS", ["x", "axis"], ["y"]), tensors, {"x": _int8(random, shape)})


def pack_case(random: Random) -> MovementCase:
    shape, quantization = _sizes(random, int(random.integers(1, 4))), _quantization(random)
    count, axis = int(random.integers(1, 4)), int(random.integers(-len(shape) - 1, len(shape) + 1))
    values = {f"x{index}": _int8(random, shape) for index in range(count)}
    result = np.stack(list(values.values()), axis).shape
    tensors = [*(_tensor(name, shape, quantization) for name in values), _tensor("y", result, quantization)]
    return _model(random, Op("PACK", list(values), ["y"], {"ValuesCount": count, "Axis": axis}), tensors, values)


def unpack_case(random: Random) -> MovementCase:
    shape, quantization = _sizes(random, int(random.integers(2, 5)), 1, 5), _quantization(random)
    axis = int(random.integers(len(shape)))
    outputs = [_tensor(f"y{index}", shape[:axis] + shape[axis + 1 :], quantization) for index in range(shape[axis])]
    op = Op("UNPACK", ["x"], [tensor.name for tensor in outputs], {"Num": shape[axis], "Axis": axis})
    return _model(random, op, [_tensor("x", shape, quantization), *outputs], {"x": _int8(random, shape)})


def _pads(random: Random, shape: tuple[int, ...], limit: int) -> Values:
    pads = random.integers(0, 4, (len(shape), 2)) * (random.random((len(shape), 2)) < 0.5)
    return np.minimum(pads, np.maximum(np.array(shape)[:, np.newaxis] - limit, 0)) if limit >= 0 else pads


def pad_v2_case(random: Random) -> MovementCase:
    shape, quantization = (
        _image(random) if random.random() < 0.5 else _sizes(random, int(random.integers(1, 5)), 1, 6),
        _quantization(random),
    )
    pads, value = _pads(random, shape, -1), _int8(random, (1,))
    if len(shape) == 4 and shape[0] == 1 and random.random() < 0.7:
        pads[0] = 0
    tensors = [_tensor("x", shape, quantization), _ints("pads", pads), _tensor("value", (1,), quantization, value)]
    tensors.append(_tensor("y", tuple(int(size) for size in np.array(shape) + pads.sum(axis=1)), quantization))
    return _model(random, Op("PADV2", ["x", "pads", "value"], ["y"]), tensors, {"x": _int8(random, shape)})


def mirror_pad_case(random: Random) -> MovementCase:
    shape, quantization = (
        _image(random) if random.random() < 0.6 else _sizes(random, int(random.integers(1, 5)), 1, 6),
        _quantization(random),
    )
    mode = int(random.integers(2))
    pads = _pads(random, shape, 1 - mode)
    if random.random() < 0.4:
        pads[: len(shape) - 2] = 0
    tensors = [_tensor("x", shape, quantization), _ints("pads", pads)]
    tensors.append(_tensor("y", tuple(int(size) for size in np.array(shape) + pads.sum(axis=1)), quantization))
    return _model(random, Op("MIRROR_PAD", ["x", "pads"], ["y"], {"Mode": mode}), tensors, {"x": _int8(random, shape)})


def _resize(random: Random, code: str) -> MovementCase:
    shape, quantization = _image(random, 20), _quantization(random)
    size = _sizes(random, 2, 1, 40)
    kind = random.random()
    if kind < 0.4:
        factors = _sizes(random, 2, 1, 5)
        size = (shape[1] * factors[0], shape[2] * factors[1])
    elif kind < 0.5:
        shape = (1, size[0] * 2, size[1] * 3, 2)
    flags = {"AlignCorners": 0, "HalfPixelCenters": 0} | dict(
        [[("AlignCorners", 1)], [("HalfPixelCenters", 1)], []][int(random.integers(3))]
    )
    tensors = [_tensor("x", shape, quantization), _ints("size", size), _tensor("y", (1, *size, shape[3]), quantization)]
    return _model(random, Op(code, ["x", "size"], ["y"], flags), tensors, {"x": _int8(random, shape)})


def resize_nearest_case(random: Random) -> MovementCase:
    return _resize(random, "RESIZE_NEAREST_NEIGHBOR")


def resize_bilinear_case(random: Random) -> MovementCase:
    return _resize(random, "RESIZE_BILINEAR")


def reduce_max_case(random: Random) -> MovementCase:
    shape, quantization = _any_shape(random), _quantization(random)
    axes = [axis for axis in range(len(shape)) if random.random() < 0.5] or [int(random.integers(len(shape)))]
    if len(shape) == 4 and random.random() < 0.4:
        axes = [[1], [1, 2], [2]][int(random.integers(3))]
    keep = bool(random.random() < 0.5)
    values = _int8(random, shape)
    result = values.max(axis=tuple(axes), keepdims=keep).shape
    given = [axis - len(shape) if random.random() < 0.2 else axis for axis in axes]
    tensors = [_tensor("x", shape, quantization), _ints("axes", given), _tensor("y", result, quantization)]
    return _model(random, Op("REDUCE_MAX", ["x", "axes"], ["y"], {"KeepDims": int(keep)}), tensors, {"x": values})


def arg_max_case(random: Random) -> MovementCase:
    shape, quantization = _any_shape(random), _quantization(random)
    axis, wide = int(random.integers(len(shape))), bool(random.random() < 0.5)
    # Few distinct values: ties are common.
    values = random.integers(-2, 3, shape).astype(np.int8)
    tensors = [_tensor("x", shape, quantization), _ints("axis", axis - len(shape) if random.random() < 0.3 else axis)]
    tensors.append(Tensor("y", shape[:axis] + shape[axis + 1 :], "int64" if wide else "int32"))
    return _model(random, Op("ARG_MAX", ["x", "axis"], ["y"], {"OutputType": 4 if wide else 2}), tensors, {"x": values})


def space_to_depth_case(random: Random) -> MovementCase:
    block, (height, width, channels), quantization = int(random.integers(2, 5)), _sizes(random, 3, 1, 6), _quantization(random)
    shape = (1, height * block, width * block, channels)
    tensors = [_tensor("x", shape, quantization), _tensor("y", (1, height, width, channels * block * block), quantization)]
    return _model(random, Op("SPACE_TO_DEPTH", ["x"], ["y"], {"BlockSize": block}), tensors, {"x": _int8(random, shape)})


def depth_to_space_case(random: Random) -> MovementCase:
    block, (height, width, channels), quantization = int(random.integers(2, 5)), _sizes(random, 3, 1, 6), _quantization(random)
    shape = (1, height, width, channels * block * block)
    tensors = [_tensor("x", shape, quantization), _tensor("y", (1, height * block, width * block, channels), quantization)]
    return _model(random, Op("DEPTH_TO_SPACE", ["x"], ["y"], {"BlockSize": block}), tensors, {"x": _int8(random, shape)})


def _weighted(
    random: Random, code: str, shape: tuple[int, ...], weights: Values, result: tuple[int, ...], options: dict[str, int], axis: int = 0
) -> MovementCase:
    """A convolution of `shape` to `result` whose outputs mostly stay inside int8."""
    channels, zero_point = weights.shape[axis], int(random.integers(-128, 128))
    input_scale = float(np.float32(2.0 ** random.uniform(-7, -2)))
    scales = (2.0 ** random.uniform(-8, -5, channels if random.random() < 0.7 else 1)).astype(np.float32)
    spread = float(np.sqrt(weights.size / channels)) * 80 * 73 * input_scale * float(scales.mean())
    output = float(np.float32(spread / 60 * 2.0 ** random.uniform(-1, 1))), int(random.integers(-128, 128))
    tensors = [
        _tensor("x", shape, (input_scale, zero_point)),
        Tensor("w", weights.shape, scale=[float(scale) for scale in scales], quantized_dimension=axis, data=weights),
        _tensor("y", result, output),
    ]
    transposed = code == "TRANSPOSE_CONV"
    operands: list[str | None] = ["size", "w", "x"] if transposed else ["x", "w"]
    if transposed:
        tensors.append(_ints("size", result))
    if not transposed or random.random() < 0.7:
        bias = random.integers(-5000, 5000, channels).astype(np.int32)
        tensors.append(Tensor("b", bias.shape, "int32", scale=[float(np.float32(input_scale) * scale) for scale in scales], data=bias))
        operands.append("b")
    activation = str(random.choice(["none", "none", "relu", "relu6"]))
    op = Op(code, operands, ["y"], options | {"FusedActivationFunction": ACTIVATION_CODES[activation]}, 4 if len(operands) == 4 else None)
    return _model(random, op, tensors, {"x": _int8(random, shape)})


def _window(
    random: Random, high: int, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Height and width of an image and of the result, and the padding's code."""
    size = (int(random.integers(3, high)), int(random.integers(3, high)))
    spans = [(kernel[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
    same = bool(random.random() < 0.5) or spans[0] > size[0] or spans[1] > size[1]
    result = [-(-size[axis] // stride[axis]) if same else (size[axis] - spans[axis]) // stride[axis] + 1 for axis in (0, 1)]
    return size, (result[0], result[1]), PADDING_CODES["same" if same else "valid"]


def grouped_conv_case(random: Random) -> MovementCase:
    groups, inputs, outputs = (int(v) for v in random.integers((2, 1, 1), (5, 5, 5)))
    kernel, stride = _sizes(random, 2, 1, 4), _sizes(random, 2, 1, 3)
    size, result, padding = _window(random, 10, (kernel[0], kernel[1]), (stride[0], stride[1]), (1, 1))
    weights = random.integers(-127, 128, (groups * outputs, *kernel, inputs)).astype(np.int8)
    options = {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1], "DilationHFactor": 1, "DilationWFactor": 1}
    return _weighted(random, "CONV_2D", (1, *size, groups * inputs), weights, (1, *result, groups * outputs), options)


def dilated_conv_case(random: Random) -> MovementCase:
    kernel, dilation = _sizes(random, 2, 1, 5), _sizes(random, 2, 1, 5)
    size, result, padding = _window(random, 16, (kernel[0], kernel[1]), (1, 1), (dilation[0], dilation[1]))
    channels, depthwise = int(random.integers(1, 9)), bool(random.random() < 0.5)
    options = {"Padding": padding, "StrideH": 1, "StrideW": 1, "DilationHFactor": dilation[0], "DilationWFactor": dilation[1]}
    if depthwise:
        multiplier = int(random.choice([1, 1, 2]))
        weights = random.integers(-127, 128, (1, *kernel, channels * multiplier)).astype(np.int8)
        shape = (1, *result, channels * multiplier)
        return _weighted(random, "DEPTHWISE_CONV_2D", (1, *size, channels), weights, shape, options | {"DepthMultiplier": multiplier}, 3)
    outputs = int(random.integers(1, 9))
    weights = random.integers(-127, 128, (outputs, *kernel, channels)).astype(np.int8)
    return _weighted(random, "CONV_2D", (1, *size, channels), weights, (1, *result, outputs), options)


def transpose_conv_case(random: Random) -> MovementCase:
    kernel, stride, size = _sizes(random, 2, 1, 6), _sizes(random, 2, 1, 4), _sizes(random, 2, 1, 8)
    inputs, outputs = (int(v) for v in random.integers(1, 7, 2))
    same = bool(random.random() < 0.5)
    result = []
    for axis in (0, 1):
        full = (size[axis] - 1) * stride[axis] + kernel[axis]
        # Every size that the forward convolution would bring back to `size`.
        low, high = (size[axis] * stride[axis] - stride[axis] + 1, size[axis] * stride[axis]) if same else (full, full + stride[axis] - 1)
        result.append(high if same and random.random() < 0.6 else int(random.integers(low, high + 1)))
    weights = random.integers(-127, 128, (outputs, *kernel, inputs)).astype(np.int8)
    options = {"Padding": PADDING_CODES["same" if same else "valid"], "StrideH": stride[0], "StrideW": stride[1]}
    return _weighted(random, "TRANSPOSE_CONV", (1, *size, inputs), weights, (1, *result, outputs), options)


MOVEMENT_CASES: dict[str, Callable[[Random], MovementCase]] = {
    "ARG_MAX": arg_max_case,
    "CONCATENATION": concatenation_case,
    "CONV_2D dilated": dilated_conv_case,
    "CONV_2D grouped": grouped_conv_case,
    "DEPTH_TO_SPACE": depth_to_space_case,
    "EXPAND_DIMS": expand_dims_case,
    "MIRROR_PAD": mirror_pad_case,
    "PACK": pack_case,
    "PADV2": pad_v2_case,
    "REDUCE_MAX": reduce_max_case,
    "RESIZE_BILINEAR": resize_bilinear_case,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest_case,
    "SLICE": slice_case,
    "SPACE_TO_DEPTH": space_to_depth_case,
    "SPLIT": split_case,
    "SPLIT_V": split_v_case,
    "SQUEEZE": squeeze_case,
    "STRIDED_SLICE": strided_slice_case,
    "TRANSPOSE_CONV": transpose_conv_case,
    "UNPACK": unpack_case,
}
"""A maker of random models for each op."""
