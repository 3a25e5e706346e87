"""TFLite networks that mix the ops that move data with convolutions: a builder, four fixed networks and random chains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from support.tflite_builder import ACTIVATION_CODES, PADDING_CODES, Op, Tensor, build_model

Random = np.random.Generator
SCALE, ZERO_POINT = 0.05, 3


class Graph:
    """Adds one op after the other; every method takes and gives names of tensors. All images share one quantisation, so that they join."""

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.input = self._tensor(shape)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self.tensors[name].shape

    def model(self, outputs: Sequence[str]) -> bytes:
        """The file."""
        return build_model(list(self.tensors.values()), self.ops, [self.input], list(outputs))

    def _tensor(self, shape: Sequence[int], data: npt.NDArray[Any] | None = None, quantization: tuple[float, int] | None = None) -> str:
        name = f"t{len(self.tensors)}"
        scale, zero_point = quantization or (SCALE, ZERO_POINT)
        self.tensors[name] = Tensor(name, tuple(int(size) for size in shape), scale=scale, zero_point=zero_point, data=data)
        return name

    def _ints(self, values: Any) -> str:
        name, data = f"t{len(self.tensors)}", np.array(values)
        self.tensors[name] = Tensor(name, data.shape, "int32", data=data)
        return name

    def quantization(self, name: str) -> tuple[float, int]:
        """Scale and zero point of a tensor."""
        tensor = self.tensors[name]
        assert isinstance(tensor.scale, float)
        assert isinstance(tensor.zero_point, int)
        return tensor.scale, tensor.zero_point

    def op(
        self,
        code: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        options: Mapping[str, Any] | None = None,
        quantization: tuple[float, int] | None = None,
    ) -> str:
        """Any op with one int8 output, quantised like its first input where not said."""
        out = self._tensor(shape, quantization=quantization or self.quantization(inputs[0]))
        self.ops.append(Op(code, inputs, [out], options or {}))
        return out

    def conv(
        self,
        value: str,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        depthwise: bool = False,
        padding: str = "same",
        activation: str = "relu6",
        quantization: tuple[float, int] | None = None,
    ) -> str:
        """A convolution of any kind whose weights keep the outputs in range."""
        _, height, width, inputs = self.shape(value)
        channels = inputs if depthwise else channels
        shape = (1, kernel, kernel, inputs) if depthwise else (channels, kernel, kernel, inputs // groups)
        weights, scales = self._weights(shape, channels, self._gain(value, quantization))
        span = (kernel - 1) * dilation + 1
        size = [-(-extent // stride) if padding == "same" else (extent - span) // stride + 1 for extent in (height, width)]
        out = self._tensor((1, *size, channels), quantization=quantization)
        names = self._constants(weights, scales, channels, 3 if depthwise else 0, self.quantization(value)[0])
        options = {
            "Padding": PADDING_CODES[padding],
            "StrideH": stride,
            "StrideW": stride,
            "FusedActivationFunction": ACTIVATION_CODES[activation],
        }
        options |= {"DilationHFactor": dilation, "DilationWFactor": dilation} | ({"DepthMultiplier": 1} if depthwise else {})
        self.ops.append(Op("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [value, *names], [out], options))
        return out

    def transpose_conv(self, value: str, channels: int, kernel: int = 3, stride: int = 2, padding: str = "same") -> str:
        """A transposed convolution."""
        _, height, width, inputs = self.shape(value)
        weights, scales = self._weights((channels, kernel, kernel, inputs), channels)
        size = [extent * stride if padding == "same" else (extent - 1) * stride + kernel for extent in (height, width)]
        out = self._tensor((1, *size, channels), quantization=self.quantization(value))
        names = self._constants(weights, scales, channels, 0, self.quantization(value)[0])
        options = {"Padding": PADDING_CODES[padding], "StrideH": stride, "StrideW": stride}
        self.ops.append(Op("TRANSPOSE_CONV", [self._ints((1, *size, channels)), names[0], value, names[1]], [out], options))
        return out

    def _gain(self, value: str, quantization: tuple[float, int] | None) -> float:
        """How much larger the real outputs of a layer are to be than its inputs, for both to fill int8."""
        return (quantization or (SCALE, ZERO_POINT))[0] / self.quantization(value)[0]

    def _weights(self, shape: tuple[int, ...], channels: int, gain: float = 1.0) -> tuple[npt.NDArray[np.int8], list[float]]:
        weights = self.random.integers(-127, 128, shape).astype(np.int8)
        scale = gain / (73 * np.sqrt(weights.size / channels))
        return weights, [float(np.float32(scale * factor)) for factor in self.random.uniform(0.5, 1.5, channels)]

    def _constants(
        self, weights: npt.NDArray[np.int8], scales: list[float], channels: int, axis: int, input_scale: float = SCALE
    ) -> list[str]:
        names = [f"t{len(self.tensors)}", f"t{len(self.tensors) + 1}"]
        self.tensors[names[0]] = Tensor(names[0], weights.shape, scale=scales, zero_point=0, quantized_dimension=axis, data=weights)
        bias = self.random.integers(-3000, 3000, channels).astype(np.int32)
        bias_scales = [float(np.float32(input_scale) * np.float32(scale)) for scale in scales]
        self.tensors[names[1]] = Tensor(names[1], bias.shape, "int32", scale=bias_scales, data=bias)
        return names

    def concat(self, values: Sequence[str], axis: int) -> str:
        """Values side by side."""
        shapes = [self.shape(value) for value in values]
        shape = (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
        return self.op("CONCATENATION", values, shape, {"Axis": axis})

    def split(self, value: str, count: int, axis: int) -> list[str]:
        """Equal parts."""
        shape = self.shape(value)
        part = (*shape[:axis], shape[axis] // count, *shape[axis + 1 :])
        axis_name, outputs = self._ints(axis), [self._tensor(part, quantization=self.quantization(value)) for _ in range(count)]
        self.ops.append(Op("SPLIT", [axis_name, value], outputs, {"NumSplits": count}))
        return outputs

    def cut(self, value: str, begin: Sequence[int], size: Sequence[int], step: Sequence[int] = (1, 1, 1, 1)) -> str:
        """SLICE, or STRIDED_SLICE where a step is not 1."""
        if tuple(step) == (1, 1, 1, 1):
            return self.op("SLICE", [value, self._ints(begin), self._ints(size)], size)
        ends = [first + count * stride for first, count, stride in zip(begin, size, step, strict=True)]
        # An end of -1 would be the last position: before the first one is said by the mask.
        mask = sum(1 << index for index, end in enumerate(ends) if end < 0)
        return self.op("STRIDED_SLICE", [value, self._ints(begin), self._ints(ends), self._ints(step)], size, {"EndMask": mask})

    def resize(self, value: str, factor: int, bilinear: bool, half_pixel_centers: bool = False) -> str:
        """An image `factor` times as high and as wide."""
        _, height, width, channels = self.shape(value)
        size = (height * factor, width * factor)
        code = "RESIZE_BILINEAR" if bilinear else "RESIZE_NEAREST_NEIGHBOR"
        return self.op(code, [value, self._ints(size)], (1, *size, channels), {"HalfPixelCenters": int(half_pixel_centers)})

    def blocks(self, value: str, block: int, to_depth: bool) -> str:
        """SPACE_TO_DEPTH or DEPTH_TO_SPACE."""
        _, height, width, channels = self.shape(value)
        if to_depth:
            return self.op("SPACE_TO_DEPTH", [value], (1, height // block, width // block, channels * block * block), {"BlockSize": block})
        return self.op("DEPTH_TO_SPACE", [value], (1, height * block, width * block, channels // (block * block)), {"BlockSize": block})

    def pad(self, value: str, pads: Sequence[Sequence[int]], mode: int | None = None, filler: int | None = None) -> str:
        """MIRROR_PAD with a mode, PADV2 with a filler, PAD otherwise."""
        shape = [size + before + after for size, (before, after) in zip(self.shape(value), pads, strict=True)]
        if mode is not None:
            return self.op("MIRROR_PAD", [value, self._ints(pads)], shape, {"Mode": mode})
        if filler is not None:
            return self.op("PADV2", [value, self._ints(pads), self._tensor((1,), np.array([filler]), self.quantization(value))], shape)
        return self.op("PAD", [value, self._ints(pads)], shape)

    def reduce_max(self, value: str, axes: Sequence[int]) -> str:
        """Maxima, axes dropped."""
        shape = [size for axis, size in enumerate(self.shape(value)) if axis not in axes]
        return self.op("REDUCE_MAX", [value, self._ints(axes)], shape, {"KeepDims": 0})

    def arg_max(self, value: str, axis: int, dtype: str = "int64") -> str:
        """Positions of maxima."""
        shape, name = self.shape(value), f"t{len(self.tensors)}"
        self.tensors[name] = Tensor(name, shape[:axis] + shape[axis + 1 :], dtype)
        place = self._ints(axis)
        self.ops.append(Op("ARG_MAX", [value, place], [name], {"OutputType": 4 if dtype == "int64" else 2}))
        return name

    def dilated_by_batches(self, value: str, block: int, channels: int) -> str:
        """A SAME 3x3 convolution with dilation `block`, as TensorFlow's converter writes it."""
        _, height, width, inputs = self.shape(value)
        ends = [-(-(extent + 2 * block) // block) * block - extent - block for extent in (height, width)]
        sizes = [(extent + block + end) // block for extent, end in zip((height, width), ends, strict=True)]
        pads = [[block, end] for end in ends]
        batches = (block * block, *sizes, inputs)
        split = self.op("SPACE_TO_BATCH_ND", [value, self._ints([block, block]), self._ints(pads)], batches)
        weights, scales = self._weights((channels, 3, 3, inputs), channels)
        inner = self._tensor((block * block, sizes[0] - 2, sizes[1] - 2, channels))
        options = {"Padding": PADDING_CODES["valid"], "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
        self.ops.append(Op("CONV_2D", [split, *self._constants(weights, scales, channels, 0)], [inner], options))
        crops = [[0, (size - 2) * block - extent] for size, extent in zip(sizes, (height, width), strict=True)]
        shape = (1, height, width, channels)
        return self.op("BATCH_TO_SPACE_ND", [inner, self._ints([block, block]), self._ints(crops)], shape)


def segmentation(seed: int) -> bytes:
    """Encoder, dilated middle, decoder with skips (bilinear and transposed), a class for each pixel."""
    graph = Graph(seed, (1, 24, 20, 3))
    first = graph.conv(graph.input, 8, stride=2)
    second = graph.conv(graph.conv(first, 0, depthwise=True), 12, kernel=1)
    second = graph.conv(second, 16, stride=2)
    middle = graph.conv(second, 16, dilation=2)
    middle = graph.conv(middle, 0, dilation=3, depthwise=True)
    up = graph.concat([graph.resize(middle, 2, bilinear=True, half_pixel_centers=True), first], 3)
    up = graph.conv(up, 8)
    out = graph.transpose_conv(up, 5, kernel=3)
    return graph.model([graph.arg_max(out, 3)])


def shuffle(seed: int) -> bytes:
    """Split channels, grouped convolution, blocks, joins along every axis, a maximum over the image."""
    graph = Graph(seed, (1, 16, 12, 8))
    left, right = graph.split(graph.conv(graph.input, 16), 2, 3)
    left = graph.conv(left, 8, groups=2)
    joined = graph.concat([left, right, graph.input], 3)
    deep = graph.blocks(joined, 2, to_depth=True)
    deep = graph.conv(deep, 16, kernel=1)
    wide = graph.blocks(deep, 2, to_depth=False)
    framed = graph.pad(wide, [(0, 0), (1, 2), (2, 1), (0, 0)], mode=0)
    thin = graph.cut(framed, (0, 1, 0, 0), (1, 8, 14, 4), (1, 2, 1, 1))
    turned = graph.cut(thin, (0, 7, 13, 0), (1, 8, 7, 4), (1, -1, -2, 1))
    return graph.model([graph.reduce_max(graph.conv(turned, 10, activation="none"), (1, 2))])


def borders(seed: int) -> bytes:
    """Paddings of every kind, nearest neighbours, rows and columns of different branches joined."""
    graph = Graph(seed, (1, 9, 7, 4))
    bright = graph.pad(graph.input, [(0, 0), (1, 1), (2, 2), (0, 0)], filler=-100)
    sides = graph.pad(graph.input, [(0, 0), (0, 0), (2, 2), (1, 0)], mode=1)
    plain = graph.conv(bright, 5)
    both = graph.concat([plain, sides, graph.conv(sides, 5)], 1)
    large = graph.resize(both, 2, bilinear=False)
    below = graph.cut(large, (0, 10, 3, 1), (1, 20, 16, 4))
    halves = graph.split(graph.conv(below, 8), 2, 1)
    beside = graph.concat([halves[1], halves[0]], 2)
    small = graph.conv(beside, 6, stride=2, padding="valid")
    return graph.model([graph.transpose_conv(small, 3, kernel=4, padding="valid")])


def dilated(seed: int) -> bytes:
    """Dilation by options and by batches, in one chain."""
    graph = Graph(seed, (1, 13, 11, 6))
    value = graph.dilated_by_batches(graph.conv(graph.input, 8, dilation=2, padding="valid"), 2, 8)
    value = graph.dilated_by_batches(value, 3, 7)
    return graph.model([graph.conv(value, 0, dilation=2, depthwise=True)])


NETWORKS: Mapping[str, Callable[[int], bytes]] = {
    "segmentation": segmentation,
    "shuffle": shuffle,
    "borders": borders,
    "dilated": dilated,
}
"""Fixed networks by name; the seed draws their weights."""


def random_chain(seed: int) -> tuple[bytes, tuple[int, ...]]:
    """A chain of random ops with a skip here and there, and the shape of its input."""
    random = np.random.default_rng(seed)
    shape = (1, *(int(size) for size in random.integers(4, 14, 2)), int(random.integers(2, 9)))
    graph = Graph(seed, shape)
    value, skips = graph.input, [graph.input]
    for _ in range(int(random.integers(4, 9))):
        value = _random_step(graph, random, value, skips)
        skips.append(value)
    return graph.model([value]), shape


def _random_step(graph: Graph, random: Random, value: str, skips: Sequence[str]) -> str:
    _, height, width, channels = graph.shape(value)
    small = height * width * channels < 4000
    kinds = ["conv", "conv", "slice", "flip", "pad", "mirror"] + ["depthwise"] * (height > 2) + ["grouped"] * (channels % 2 == 0)
    kinds += (
        ["nearest", "bilinear", "transpose", "rows", "columns"] * small
        + ["depth"] * (height % 2 == width % 2 == 0)
        + ["space"] * (channels % 4 == 0)
    )
    partners = [skip for skip in skips if graph.shape(skip)[1:3] == (height, width)]
    kinds += ["join"] * (2 * bool(partners) * small)
    kind = str(random.choice(kinds))
    pads = [(0, 0), *(tuple(int(v) for v in random.integers(0, 3, 2)) for _ in range(2)), (0, 0)]
    if kind == "conv":
        return graph.conv(value, int(random.integers(2, 9)), int(random.choice([1, 3])), int(random.choice([1, 1, 2])))
    if kind == "depthwise":
        return graph.conv(value, 0, 3, dilation=int(random.choice([1, 2])), depthwise=True)
    if kind == "grouped":
        return graph.conv(value, 6, 3, groups=2)
    if kind in ("slice", "flip"):
        begin = [0, *(int(random.integers(0, (extent + 1) // 2)) for extent in (height, width, channels))]
        size = [
            1,
            *(
                extent - first - int(random.integers(0, 2)) * (extent - first > 1)
                for extent, first in zip((height, width, channels), begin[1:], strict=True)
            ),
        ]
        if kind == "slice":
            return graph.cut(value, begin, size)
        steps = [1, *(int(random.choice([1, 2, -1])) for _ in range(2)), 1]
        counts = [-(-count // abs(step)) for count, step in zip(size, steps, strict=True)]
        firsts = [first + (count - 1 if step < 0 else 0) for first, count, step in zip(begin, size, steps, strict=True)]
        return graph.cut(value, firsts, counts, steps)
    if kind == "pad":
        return graph.pad(value, pads, filler=int(random.integers(-128, 128)))
    if kind == "mirror":
        limits = [
            (0, 0),
            *(
                (min(before, extent - 1), min(after, extent - 1))
                for (before, after), extent in zip(pads[1:3], (height, width), strict=True)
            ),
            (0, 0),
        ]
        return graph.pad(value, limits, mode=0)
    if kind in ("nearest", "bilinear"):
        return graph.resize(value, int(random.integers(2, 4)), kind == "bilinear", bool(random.random() < 0.5))
    if kind == "transpose":
        return graph.transpose_conv(value, int(random.integers(2, 7)), int(random.integers(1, 5)), 2, str(random.choice(["same", "valid"])))
    if kind in ("depth", "space"):
        return graph.blocks(value, 2, kind == "depth")
    if kind in ("rows", "columns"):
        return graph.concat([value, graph.conv(value, channels)], 1 if kind == "rows" else 2)
    return graph.concat([value, str(random.choice(partners))], 3)
