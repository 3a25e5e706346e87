"""channels-last: what it moves, what it leaves, and that results stay."""

from __future__ import annotations

import numpy as np
import pytest

from support.onnx_builder import GraphBuilder
from tinyc.errors import UsageError
from tinyc.frontends.onnx import import_onnx
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.nn_shape import TransposeOp
from tinyc.numerics.profile import Profile
from tinyc.passes.channels_last import ChannelsLast
from tinyc.passes.manager import run_passes
from tinyc.passes.rewriting import main_block

SCALE = (0.1, 3)
WINDOW = {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}


def between_two_pools(op: str, operands: int = 1, extra: dict[str, np.ndarray] | None = None, **attributes: object) -> GraphBuilder:
    """Two pools, which want channels last, around an op on (1, 4, 6, 6)."""
    graph = GraphBuilder()
    graph.input("x", [1, 4, 6, 6], np.int8)
    first = graph.node("MaxPool", [graph.dequantize("x", SCALE)], "first", **WINDOW)
    inputs = [graph.fake(first, SCALE)] * operands + [graph.constant(name, values) for name, values in (extra or {}).items()]
    middle = graph.fake(graph.node(op, inputs, "middle", **attributes), SCALE)
    graph.output(graph.quantize(graph.node("MaxPool", [middle], "last", **WINDOW), SCALE), np.int8)
    return graph


MOVED = {
    "Add": lambda: between_two_pools("Add", 2),
    "Concat of channels": lambda: between_two_pools("Concat", 2, axis=1),
    "Concat of rows": lambda: between_two_pools("Concat", 2, axis=2),
    "Pad": lambda: between_two_pools("Pad", 1, {"pads": np.array([0, 1, 2, 3, 0, 1, 0, 1])}),
    "reflecting Pad": lambda: between_two_pools("Pad", 1, {"pads": np.array([0, 0, 2, 3, 0, 0, 0, 1])}, mode="reflect"),
    "ReduceMean": lambda: between_two_pools("ReduceMean", 1, axes=[3], keepdims=1),
    "Relu": lambda: between_two_pools("Relu"),
    "Sigmoid": lambda: between_two_pools("Sigmoid"),
    "Slice": lambda: between_two_pools(
        "Slice", 1, {"starts": np.array([1, 4]), "ends": np.array([3, 0]), "axes": np.array([1, 2]), "steps": np.array([1, -1])}
    ),
    "Softmax over channels": lambda: between_two_pools("Softmax", axis=1),
}


def arranged(graph: GraphBuilder, boundary: str) -> tuple[int, list[np.ndarray]]:
    """Transposes that are left, and the outputs for one random image in the file's order."""
    module = import_onnx(graph.model().SerializeToString(), "model.onnx", approximate=True)
    values = np.random.default_rng(1).integers(-128, 128, (1, 4, 6, 6)).astype(np.int8)
    expected = evaluate(module, [values], Profile.ONNXRUNTIME)
    run_passes(module, [ChannelsLast(boundary)])
    left = sum(isinstance(op, TransposeOp) and not op.moves_nothing() for op in main_block(module).ops)
    given = np.ascontiguousarray(values.transpose(0, 2, 3, 1)) if boundary == "nhwc" else values
    found = evaluate(module, [given], Profile.ONNXRUNTIME)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.transpose(0, 3, 1, 2) if boundary == "nhwc" else ours, theirs)
    return left, found


@pytest.mark.parametrize("op", MOVED)
def test_nothing_is_left_inside_and_results_stay(op: str) -> None:
    assert arranged(MOVED[op](), "nhwc")[0] == 0
    assert arranged(MOVED[op](), "nchw")[0] == 2


def test_an_op_over_the_last_dimension_keeps_its_transposes_and_its_result() -> None:
    left, _ = arranged(between_two_pools("Softmax", axis=3), "nhwc")
    assert left == 2


def test_constants_of_any_rank_are_put_into_the_other_order() -> None:
    for shape in ((1, 4, 1, 1), (4, 1, 1), (6,), (1, 1, 6, 6)):
        graph = GraphBuilder()
        graph.input("x", [1, 4, 6, 6], np.int8)
        pool = graph.fake(graph.node("MaxPool", [graph.dequantize("x", SCALE)], "first", **WINDOW), SCALE)
        values = np.random.default_rng(2).integers(-128, 128, shape).astype(np.int8)
        constant = graph.weights("c", values, np.float32(0.1), 0)
        graph.output(graph.quantize(graph.node("Mul", [pool, constant], "product"), (0.5, 0)), np.int8)
        assert arranged(graph, "nhwc")[0] == 0


def test_weights_behind_a_flattened_image_are_reordered() -> None:
    graph, random = GraphBuilder(), np.random.default_rng(3)
    graph.input("x", [1, 4, 6, 6], np.int8)
    pool = graph.fake(graph.node("MaxPool", [graph.dequantize("x", SCALE)], "first", **WINDOW), SCALE)
    flat = graph.fake(graph.node("Flatten", [pool], "flat"), SCALE)
    weights = graph.weights("w", random.integers(-127, 128, (5, 144)).astype(np.int8), random.uniform(0.01, 0.02, 5), 0)
    graph.output(graph.quantize(graph.node("Gemm", [flat, weights], "y", transB=1), (4.0, 0)), np.int8)
    module = import_onnx(graph.model().SerializeToString(), "model.onnx")
    values = random.integers(-128, 128, (1, 4, 6, 6)).astype(np.int8)
    (expected,) = evaluate(module, [values], Profile.ONNXRUNTIME)
    run_passes(module, [ChannelsLast()])
    assert not any(isinstance(op, TransposeOp) for op in main_block(module).ops)
    (found,) = evaluate(module, [np.ascontiguousarray(values.transpose(0, 2, 3, 1))], Profile.ONNXRUNTIME)
    np.testing.assert_array_equal(found, expected)


def test_an_input_that_nothing_wants_channels_last_keeps_its_order() -> None:
    graph = GraphBuilder()
    graph.input("x", [1, 4, 6, 6], np.int8)
    graph.output(graph.quantize(graph.node("Sigmoid", [graph.dequantize("x", SCALE)], "y"), SCALE), np.int8)
    module = import_onnx(graph.model().SerializeToString(), "model.onnx")
    before = str(module)
    run_passes(module, [ChannelsLast()])
    assert str(main_block(module).args[0].type) in before
    assert not any(isinstance(op, TransposeOp) for op in main_block(module).ops)


def test_an_unknown_boundary_is_wrong_usage() -> None:
    module = import_onnx(between_two_pools("Relu").model().SerializeToString(), "model.onnx")
    with pytest.raises(UsageError, match="nhwc or nchw"):
        run_passes(module, [ChannelsLast("hwcn")])
