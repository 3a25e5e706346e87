"""In which order ONNX Runtime adds what ReduceMean takes the mean of, alone and between convolutions; why tinyc calls it approximate.

PYTHONPATH=tests python tests/numerics/measure_mean_order.py SHAPES SEED

A ReduceMean that stands alone adds in an order that `mean_in_order` follows, except where it leaves the sum to the matrix product, which
chooses a kernel by the processor. Between convolutions ONNX Runtime's layout optimiser rewrites the node for channels-last images, axes and
order with it, and whether it does depends on the nodes around it.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from support.onnx_builder import GraphBuilder

Floats = npt.NDArray[np.float32]
PACKET = 4
"""Values that a vector of SSE holds, which is what ONNX Runtime's Eigen is compiled for on x86-64."""


def packed_sum(values: Floats, offset: int) -> np.float32:
    """Eigen's sum of neighbouring values that begin `offset` values behind an aligned address: two vectors in turn, then their lanes."""
    count = len(values)
    start = min(-offset % PACKET, count)
    pairs, whole = (count - start) // (2 * PACKET) * 2 * PACKET, (count - start) // PACKET * PACKET
    if whole == 0:
        return sequential_sum(values)
    first = values[start : start + PACKET].copy()
    if whole > PACKET:
        second = values[start + PACKET : start + 2 * PACKET].copy()
        for index in range(start + 2 * PACKET, start + pairs, 2 * PACKET):
            first += values[index : index + PACKET]
            second += values[index + PACKET : index + 2 * PACKET]
        first += second
        if whole > pairs:
            first += values[start + pairs : start + pairs + PACKET]
    total = (first[0] + first[2]) + (first[1] + first[3])
    for value in (*values[:start], *values[start + whole :]):
        total = np.float32(total + value)
    return np.float32(total)


def sequential_sum(values: Floats) -> np.float32:
    """One value after the other."""
    total = values[0]
    for value in values[1:]:
        total = np.float32(total + value)
    return np.float32(total)


def groups(shape: tuple[int, ...], axes: list[int]) -> tuple[str, list[int]]:
    """Neighbouring dimensions that are all kept (K) or all reduced (R) as one: their letters, and sizes."""
    letters, sizes = "", list[int]()
    for axis, size in enumerate(shape):
        letter = "R" if axis in axes else "K"
        if letters.endswith(letter):
            sizes[-1] *= size
        else:
            letters, sizes = letters + letter, [*sizes, size]
    return letters, sizes


def mean_in_order(values: Floats, axes: list[int]) -> tuple[str, Floats | None]:
    """The letters of `groups`, and the means over `axes`, flat, with every addition in ONNX Runtime's order; None where it is unknown."""
    letters, sizes = groups(values.shape, axes)
    flat, count = values.reshape(-1), np.float32(np.prod([values.shape[axis] for axis in axes]))
    if letters == "KRK":
        return letters, None
    if letters in ("R", "KR") or (letters == "RKR" and sizes[1] > 1):
        outer, kept, inner = ([1] * (3 - len(sizes)) + sizes) if letters != "RKR" else sizes
        sums = []
        for position in range(kept):
            total = np.float32(0)
            for row in range(outer):
                offset = (row * kept + position) * inner
                total = np.float32(total + packed_sum(flat[offset : offset + inner], offset))
            sums.append(total)
    else:
        last = np.moveaxis(values, axes, range(values.ndim - len(axes), values.ndim))
        sums = [sequential_sum(row) for row in last.reshape(-1, int(count))]
    return letters, np.array(sums, np.float32) / count


def _session(model: onnx.ModelProto, path: str = "") -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.log_severity_level = 4
    options.optimized_model_filepath = path
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def aligned(shape: tuple[int, ...], random: np.random.Generator) -> Floats:
    """Random values at an address that ONNX Runtime's own buffers could have."""
    count = int(np.prod(shape))
    buffer = np.zeros(count + 16, np.float32)
    first = -buffer.ctypes.data % 64 // 4
    values = buffer[first : first + count].reshape(shape)
    values[...] = random.normal(0, 1, shape)
    return values


def alone(shape: tuple[int, ...], axes: list[int], values: Floats) -> Floats:
    """ONNX Runtime's means, flat."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=axes)
    boundary = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)] for name, dims in (("x", shape), ("y", None))]
    model = helper.make_model(helper.make_graph([node], "mean", *boundary), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return np.asarray(_session(model).run(None, {"x": values})[0], np.float32).reshape(-1)


def measure_alone(shapes: int, seed: int) -> tuple[Counter[str], Counter[str]]:
    """Of random shapes and axes, by their letters: how many, and how many of which `mean_in_order` does not follow every bit."""
    random, seen, differing = np.random.default_rng(seed), Counter[str](), Counter[str]()
    for _ in range(shapes):
        rank = int(random.integers(1, 6))
        shape = tuple(1 if random.random() < 0.3 else int(random.integers(2, 12)) for _ in range(rank))
        axes = sorted(random.choice(rank, random.integers(1, rank + 1), replace=False).tolist())
        values = aligned(shape, random)
        letters, expected = mean_in_order(values, axes)
        seen[letters] += 1
        if expected is None or not np.array_equal(expected, alone(shape, axes, values)):
            differing[letters] += 1
    return seen, differing


def rewritten_axes(axes: list[int], second: bool) -> list[int]:
    """Axes of the ReduceMean that ONNX Runtime executes behind a convolution, with a `second` one behind the mean or without."""
    graph = GraphBuilder()
    graph.input("x", [1, 8, 9, 9], np.int8)
    name = graph.dequantize("x", (0.1, 3))
    for index, layer in enumerate(("conv", "mean", "conv")[: 3 if second else 2]):
        if layer == "mean":
            name = graph.fake(graph.node("ReduceMean", [name], f"mean{index}", axes=axes), (0.05, 3))
            continue
        weights = graph.weights(f"w{index}", np.ones((8, 8, 1, 1), np.int8), np.full(8, 0.01, np.float32), 0)
        name = graph.fake(graph.node("Conv", [name, weights], f"conv{index}"), (0.2, 3))
    graph.output(name)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "optimised.onnx")
        _session(graph.model(), path)
        (mean,) = [node for node in onnx.load(path).graph.node if node.op_type == "ReduceMean"]
    return list(helper.get_node_attr_value(mean, "axes"))


def main() -> None:
    """Prints both findings."""
    seen, differing = measure_alone(int(sys.argv[1]), int(sys.argv[2]))
    print("| dimensions | means | not followed |\n|---|---:|---:|")
    for letters, count in sorted(seen.items()):
        print(f"| {letters} | {count:,} | {differing[letters]:,} |")
    for axes in ([2, 3], [1], [3]):
        print(f"axes {axes} behind a convolution: {rewritten_axes(axes, False)}; between two: {rewritten_axes(axes, True)}")


if __name__ == "__main__":
    main()
