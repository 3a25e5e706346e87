"""What stands between a layer and its DequantizeLinear or QuantizeLinear: exact where ONNX Runtime joins them, listed elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from support.onnx_builder import GraphBuilder, as_int8, run_onnxruntime
from support.onnx_cases import Draw
from support.onnx_chains import chain_case
from tinyc.errors import UnsupportedError
from tinyc.frontends.onnx import import_onnx
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile
from tinyc.passes.rewriting import main_block

FLOAT = {"AveragePool", "Conv", "FusedConv", "GlobalAveragePool", "MatMul", "MatMulIntegerToFloat", "MatMulNBits", "Mul"}
"""Ops that ONNX Runtime's optimised graph holds where it computes a layer in float32."""


def optimised_ops(model: onnx.ModelProto, path: str) -> list[str]:
    """Ops of the graph that ONNX Runtime executes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = path
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(path).graph.node]


def test_a_layer_that_is_not_listed_is_one_that_onnx_runtime_computes_in_8_bits(tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("onnxruntime")
    path = str(tmp_path_factory.mktemp("optimised") / "model.onnx")
    exact = listed = needless = 0
    for index in range(250):
        draw = Draw(np.random.default_rng([7, index]), np.uint8 if index % 2 else np.int8)
        model, feeds = chain_case(draw)
        try:
            module = import_onnx(model.SerializeToString(), "model.onnx", approximate=True)
        except UnsupportedError:
            continue
        in_float = bool(FLOAT & set(optimised_ops(model, path)))
        if "approximate_layers" in module.attributes:
            listed, needless = listed + 1, needless + (not in_float)
            continue
        assert not in_float, f"model {index}"
        exact += 1
        answers = evaluate(module, [as_int8(values) for values in feeds.values()], Profile.ONNXRUNTIME)
        for found, expected in zip(answers, run_onnxruntime(model, feeds), strict=True):
            np.testing.assert_array_equal(found, expected, f"model {index}")
    assert exact > 100
    assert listed > 50
    assert needless <= listed // 20


def pooled(zero_point: int, bounded: bool = True, *, layers: int = 1) -> onnx.ModelProto:
    """Convolutions, each with ReLU and MaxPool in front of its QuantizeLinear."""
    graph, random = GraphBuilder(), np.random.default_rng(0)
    graph.input("x", [1, 4, 12, 12], np.int8)
    name = graph.dequantize("x", (0.1, 3))
    for index in range(layers):
        values = random.integers(-127, 128, (4, 4, 3, 3)).astype(np.int8)
        name = graph.node("Conv", [name, graph.weights(f"w{index}", values, np.full(4, 0.01, np.float32), 0)], f"conv{index}")
        if bounded:
            name = graph.node("Relu", [name], f"relu{index}")
        name = graph.node("MaxPool", [name], f"pool{index}", kernel_shape=[2, 2])
        name = graph.quantize(name, (0.9, zero_point))
        if index + 1 < layers:
            name = graph.dequantize(name, (0.9, zero_point))
    graph.output(name, np.int8)
    return graph.model()


@pytest.mark.parametrize("bounded", [False, True])
def test_a_maximum_between_a_layer_and_its_quantisation_is_exact(bounded: bool) -> None:
    pytest.importorskip("onnxruntime")
    model = pooled(-128, bounded, layers=2)
    module = import_onnx(model.SerializeToString(), "model.onnx")
    x = np.random.default_rng(1).integers(-128, 128, (1, 4, 12, 12)).astype(np.int8)
    (found,), (expected,) = evaluate(module, [x], Profile.ONNXRUNTIME), run_onnxruntime(model, {"x": x})
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) > 20


def test_all_layers_that_onnx_runtime_computes_in_float32_are_refused_at_once() -> None:
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(pooled(0, layers=3).SerializeToString(), "model.onnx")
    assert [entry.node for entry in caught.value.diagnostics] == ["conv0", "conv1", "conv2"]
    assert all("bounds 0 and none" in entry.reason and "--approximate" in entry.hint for entry in caught.value.diagnostics)


def test_a_maximum_behind_a_bound_that_is_not_implied_is_at_most_one_step_off() -> None:
    pytest.importorskip("onnxruntime")
    model = pooled(0)
    module = import_onnx(model.SerializeToString(), "model.onnx", approximate=True)
    assert sum(op.name == "nn.max_pool2d" for op in main_block(module).ops) == 1
    x = np.random.default_rng(1).integers(-128, 128, (1, 4, 12, 12)).astype(np.int8)
    (found,), (expected,) = evaluate(module, [x], Profile.ONNXRUNTIME), run_onnxruntime(model, {"x": x})
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert len(np.unique(found)) > 20


@pytest.mark.parametrize("op", ["Flatten", "Resize", "Split"])
def test_an_op_that_onnx_runtime_does_not_move_over_is_named(op: str) -> None:
    graph = GraphBuilder()
    graph.input("x", [1, 4, 6, 6], np.int8)
    name = graph.dequantize("x", (0.1, 3))
    if op == "Flatten":
        name = graph.node("Flatten", [name], "moved")
        weights, layer = graph.weights("w", np.ones((5, 144), np.int8), np.float32(0.01).reshape(()), 0), "Gemm"
    elif op == "Resize":
        name = graph.node("Resize", [name, "", graph.constant("factors", np.array([1, 1, 2, 2], np.float32))], "moved", mode="nearest")
        weights, layer = graph.weights("w", np.ones((4, 4, 1, 1), np.int8), np.float32(0.01).reshape(()), 0), "Conv"
    else:
        graph.nodes.append(onnx.helper.make_node("Split", [name], ["moved", "other"], name="moved", axis=1))
        name = "moved"
        weights, layer = graph.weights("w", np.ones((4, 2, 1, 1), np.int8), np.float32(0.01).reshape(()), 0), "Conv"
    graph.output(
        graph.quantize(graph.node(layer, [name, weights], "layer", **({"transB": 1} if op == "Flatten" else {})), (0.2, 0)), np.int8
    )
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(graph.model().SerializeToString(), "model.onnx")
    assert [entry.node for entry in caught.value.diagnostics] == ["layer"]
    assert f"over {op}" in caught.value.diagnostics[0].reason


def test_a_layer_beside_another_quantisation_of_its_moved_input_is_listed(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    graph = GraphBuilder()
    graph.input("x", [1, 4, 6, 6], np.int8)
    moved = graph.node("MaxPool", [graph.dequantize("x", (0.1, 3))], "pool", kernel_shape=[2, 2])
    cut = [graph.constant(name, np.array([value])) for name, value in (("begin", 1), ("end", 5), ("axis", 2))]
    weights = graph.weights("w", np.ones((4, 4, 1, 1), np.int8), np.full(4, 0.01, np.float32), 0)
    layer = graph.node("Conv", [graph.node("Slice", [moved, *cut], "cut"), weights], "layer")
    graph.output(graph.quantize(layer, (0.3, 0)), np.int8)
    graph.output(graph.quantize(moved, (0.2, 0)), np.int8)
    with pytest.raises(UnsupportedError, match="over MaxPool"):
        import_onnx(graph.model().SerializeToString(), "model.onnx")
    assert "Conv" in optimised_ops(graph.model(), str(tmp_path / "optimised.onnx"))


def test_zeros_around_the_image_of_a_convolution_are_joined_with_it() -> None:
    pytest.importorskip("onnxruntime")
    graph, random = GraphBuilder(), np.random.default_rng(0)
    graph.input("x", [1, 4, 6, 6], np.int8)
    padded = graph.node("Pad", [graph.dequantize("x", (0.1, 3)), graph.constant("pads", np.array([0, 0, 1, 0, 0, 0, 1, 1]))], "padded")
    weights = graph.weights("w", random.integers(-127, 128, (4, 4, 3, 3)).astype(np.int8), np.full(4, 0.01, np.float32), 0)
    graph.output(graph.quantize(graph.node("Conv", [padded, weights], "conv"), (0.3, 0)), np.int8)
    module = import_onnx(graph.model().SerializeToString(), "model.onnx")
    x = random.integers(-128, 128, (1, 4, 6, 6)).astype(np.int8)
    (found,), (expected,) = evaluate(module, [x], Profile.ONNXRUNTIME), run_onnxruntime(graph.model(), {"x": x})
    np.testing.assert_array_equal(found, expected)


def test_padding_that_the_inputs_scale_does_not_hold_is_taken_only_in_that_scale() -> None:
    for out, is_taken in (((0.1, 3), True), ((0.07, 3), False)):
        graph = GraphBuilder()
        graph.input("x", [1, 4, 6, 6], np.int8)
        constants = [graph.constant("pads", np.array([0, 0, 1, 0, 0, 0, 1, 1])), graph.constant("value", np.float32(0.123))]
        graph.output(graph.quantize(graph.node("Pad", [graph.dequantize("x", (0.1, 3)), *constants], "padded"), out), np.int8)
        content = graph.model().SerializeToString()
        if is_taken:
            import_onnx(content, "model.onnx")
            continue
        with pytest.raises(UnsupportedError, match="none that the input's scale stands for"):
            import_onnx(content, "model.onnx")
