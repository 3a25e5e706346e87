"""Random ONNX models of a layer with what moves elements about, and activations, between it and its DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from support.onnx_builder import GraphBuilder
from support.onnx_cases import Draw, Feeds

Shape = tuple[int, ...]


class Chain:
    """A graph that grows by random ops; `shape` is that of the tensor `name`."""

    def __init__(self, draw: Draw) -> None:
        self.draw, self.graph, self.count = draw, GraphBuilder(draw.dtype), 0
        self.is_padded = False
        self.shape: Shape = (1, 4 * draw.integer(1, 3), 2 * draw.integer(2, 5), 2 * draw.integer(2, 5))
        self.graph.input("x", self.shape, draw.dtype)
        self.feeds: Feeds = {"x": draw.values(*self.shape)}
        self.name = self.graph.dequantize("x", (draw.scale(), draw.zero_point()))

    def add(self, op: str, shape: Shape, *constants: object, **attributes: object) -> None:
        """Puts a node behind the chain."""
        self.count += 1
        inputs = ["" if value is None else self.graph.constant(f"c{self.count}_{index}", value) for index, value in enumerate(constants)]
        self.name = self.graph.node(op, [self.name, *inputs], f"node{self.count}_{op}", **attributes)
        self.shape = shape

    def weights(self, *shape: int) -> str:
        """Name of random weights behind a DequantizeLinear."""
        self.count += 1
        data = self.draw.random.integers(-127, 128, shape).astype(np.int8)
        dtype, self.graph.dtype = self.graph.dtype, np.dtype(np.int8)
        name = self.graph.weights(f"w{self.count}", data, np.float32(0.01).reshape(()), 0)
        self.graph.dtype = dtype
        return name

    def layer(self, op: str, shape: Shape, *operands: str, **attributes: object) -> None:
        """Puts a node with computed operands behind the chain."""
        self.count += 1
        self.name = self.graph.node(op, [self.name, *operands], f"layer{self.count}_{op}", **attributes)
        self.shape = shape


def _integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _max_pool(chain: Chain) -> None:
    batch, channels, height, width = chain.shape
    if chain.is_padded:
        # ONNX Runtime makes the Pad part of the MaxPool, whose padding is no zeros (docs/onnx.md).
        return
    pads = [chain.draw.integer(0, 2)] * 4
    chain.add("MaxPool", (batch, channels, height + 2 * pads[0] - 1, width + 2 * pads[0] - 1), kernel_shape=[2, 2], pads=pads)


def _reshape(chain: Chain) -> None:
    batch, channels, height, width = chain.shape
    chain.add("Reshape", (batch, channels, width, height), _integers(0, 0, width, height))


def _transpose(chain: Chain) -> None:
    batch, channels, height, width = chain.shape
    chain.add("Transpose", (batch, channels, width, height), perm=[0, 1, 3, 2])


def _unsqueeze_and_squeeze(chain: Chain) -> None:
    shape = chain.shape
    chain.add("Unsqueeze", (1, *shape), _integers(0))
    chain.add("Squeeze", shape, _integers(1))


def _slice(chain: Chain) -> None:
    batch, channels, height, width = chain.shape
    if height > 2:
        chain.add("Slice", (batch, channels, height - 1, width), _integers(1), _integers(height), _integers(2))


def _identity(chain: Chain) -> None:
    chain.add("Identity", chain.shape)


def _dropout(chain: Chain) -> None:
    chain.add("Dropout", chain.shape)


def _cast(chain: Chain) -> None:
    chain.add("Cast", chain.shape, to=1)


def _resize(chain: Chain) -> None:
    batch, channels, height, width = chain.shape
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    chain.add("Resize", (batch, channels, 2 * height, 2 * width), None, np.array([1, 1, 2, 2], np.float32), **attributes)


def _depth_to_space(chain: Chain) -> None:
    batch, channels, height, width = chain.shape
    if channels % 4 == 0:
        chain.add("DepthToSpace", (batch, channels // 4, 2 * height, 2 * width), blocksize=2)


def _space_to_depth(chain: Chain) -> None:
    batch, channels, height, width = chain.shape
    if height % 2 == 0 and width % 2 == 0:
        chain.add("SpaceToDepth", (batch, channels * 4, height // 2, width // 2), blocksize=2)


def _pad(chain: Chain) -> None:
    batch, channels, height, width = chain.shape
    constants = [np.float32(0)] if chain.draw.integer(0, 2) else []
    chain.is_padded = True
    chain.add("Pad", (batch, channels, height + 2, width + 1), _integers(0, 0, 1, 0, 0, 0, 1, 1), *constants)


def _flatten(chain: Chain) -> None:
    shape = chain.shape
    chain.add("Flatten", (1, int(np.prod(shape))))
    chain.add("Reshape", shape, _integers(*shape))


def _split(chain: Chain) -> None:
    batch, channels, height, width = chain.shape
    if channels % 2 == 0:
        chain.count += 1
        outputs = [f"part{chain.count}_{index}" for index in range(2)]
        chain.graph.nodes.append(onnx.helper.make_node("Split", [chain.name], outputs, name=f"split{chain.count}", axis=1))
        chain.name, chain.shape = outputs[chain.draw.integer(0, 2)], (batch, channels // 2, height, width)


Step = Callable[[Chain], None]
JOINED: tuple[Step, ...] = (_max_pool, _reshape, _transpose, _unsqueeze_and_squeeze, _slice, _identity, _dropout, _cast)
APART: tuple[Step, ...] = (_resize, _depth_to_space, _space_to_depth, _pad, _flatten, _split)


def _relu(chain: Chain) -> None:
    chain.add("Relu", chain.shape)


def _clip(chain: Chain) -> None:
    chain.add("Clip", chain.shape, np.float32(0), np.float32(3))


def _conv(chain: Chain) -> None:
    channels = chain.shape[1]
    chain.layer("Conv", (1, 4, *chain.shape[2:]), chain.weights(4, channels, 1, 1))


def _padded_conv(chain: Chain) -> None:
    channels = chain.shape[1]
    chain.layer("Conv", (1, 8, *chain.shape[2:]), chain.weights(8, channels, 3, 3), pads=[1, 1, 1, 1])


def _matrix_product(chain: Chain) -> None:
    chain.layer("MatMul", (*chain.shape[:3], 6), chain.weights(chain.shape[3], 6))


def _average(chain: Chain) -> None:
    batch, channels, height, width = chain.shape
    chain.layer("AveragePool", (batch, channels, height - 1, width - 1), kernel_shape=[2, 2])


def _global_average(chain: Chain) -> None:
    chain.layer("GlobalAveragePool", (*chain.shape[:2], 1, 1))


def _sigmoid(chain: Chain) -> None:
    chain.layer("Sigmoid", chain.shape)


def _square(chain: Chain) -> None:
    chain.layer("Mul", chain.shape, chain.name)


def _double(chain: Chain) -> None:
    chain.layer("Add", chain.shape, chain.name)


LAYERS: tuple[Step, ...] = (_conv, _padded_conv, _matrix_product, _average, _global_average, _sigmoid, _square, _double)


def chain_case(draw: Draw) -> tuple[onnx.ModelProto, Feeds]:
    """DequantizeLinear, a few of JOINED and APART, one of LAYERS, more of them with activations among them, QuantizeLinear."""
    chain = Chain(draw)

    def steps(choices: tuple[Step, ...], most: int) -> None:
        for _ in range(draw.integer(0, most + 1)):
            if len(chain.shape) == 4 and min(chain.shape[2:]) > 1:
                choices[draw.integer(0, len(choices))](chain)

    some_apart = (*JOINED, *JOINED, *APART)
    steps(some_apart if draw.integer(0, 2) else JOINED, 2)
    if min(chain.shape[2:]) > 1:
        LAYERS[draw.integer(0, len(LAYERS))](chain)
    steps((*(some_apart if draw.integer(0, 3) == 0 else JOINED), _relu, _relu, _relu, _clip), 3)
    low = -128 if draw.dtype is np.int8 else 0
    zero_point = low if draw.integer(0, 3) else draw.zero_point()
    chain.graph.output(chain.graph.quantize(chain.name, (draw.scale(), zero_point)), draw.dtype)
    if draw.integer(0, 4) == 0:
        second = chain.graph.node("QuantizeLinear", [chain.name, *chain.graph.parameters("second", (0.07, zero_point))], "second")
        chain.graph.output(second, draw.dtype)
    return chain.graph.model(), chain.feeds
