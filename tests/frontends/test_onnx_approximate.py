"""`--approximate`: layers that ONNX Runtime computes in float32 are refused, or computed in integers, listed, and at most one step off."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from numerics.measure_approximate import measure, output_scale
from support.host_network import needs_gcc
from support.onnx_builder import Array, GraphBuilder, one_op, run_onnxruntime
from support.onnx_cases import Draw
from support.onnx_float_layers import FLOAT_OPS, REASONS, float_layer, symmetric_network
from support.onnx_networks import network
from tinyc.api import load
from tinyc.errors import MismatchError, UnsupportedError
from tinyc.frontends.onnx import import_onnx
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.text import parse_module, print_module
from tinyc.numerics.profile import Profile
from tinyc.passes.rewriting import main_block
from tinyc.verify import verify


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("op", FLOAT_OPS)
def test_a_layer_that_onnx_runtime_computes_in_float32_is_refused_with_the_flag_as_the_way_on(op: str, reason: str, dtype: type) -> None:
    model, _ = float_layer(op, reason, Draw(np.random.default_rng(5), dtype))
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(model.SerializeToString(), "model.onnx")
    assert {entry.node for entry in caught.value.diagnostics} == {"result"}
    assert "in float32" in caught.value.diagnostics[0].reason
    assert "--approximate" in caught.value.diagnostics[0].hint


@pytest.mark.parametrize("op", FLOAT_OPS)
def test_such_a_layer_in_integers_is_at_most_one_step_from_onnx_runtime(op: str) -> None:
    pytest.importorskip("onnxruntime")
    found = measure(op, 30, 3)
    assert found.outputs > 200
    assert found.greatest <= 1
    assert found.differing < found.outputs * 0.08


def test_uint8_weights_of_int8_activations_are_at_most_one_step_from_onnx_runtime() -> None:
    pytest.importorskip("onnxruntime")
    random = np.random.default_rng(0)
    graph = GraphBuilder()
    graph.input("x", [3, 12], np.int8)
    weights = [
        graph.constant("w", random.integers(0, 256, (12, 5)).astype(np.uint8)),
        graph.constant("s", np.float32(0.02)),
        graph.constant("z", np.uint8(120)),
    ]
    real = [graph.dequantize("x", (0.1, 3)), graph.node("DequantizeLinear", weights, "real_weights")]
    graph.output(graph.quantize(graph.node("MatMul", real, "layer"), (0.3, -7)), np.int8)
    model = graph.model()
    module = import_onnx(model.SerializeToString(), "model.onnx", approximate=True)
    assert "approximate_layers" in module.attributes
    x = random.integers(-128, 128, (3, 12)).astype(np.int8)
    (found,), (expected,) = evaluate(module, [x], Profile.ONNXRUNTIME), run_onnxruntime(model, {"x": x})
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    assert len(np.unique(found)) > 5


def test_several_nodes_that_quantise_a_result_in_the_same_way_share_one_computation() -> None:
    graph = GraphBuilder()
    graph.input("x", [1, 4, 6, 6], np.int8)
    weights = graph.weights("w", np.ones((4, 4, 1, 1), np.int8), np.full(4, 0.1, np.float32), 0)
    real = graph.node("Conv", [graph.dequantize("x", (0.1, 3)), weights], "layer")
    for index, scale in enumerate((0.2, 0.2, 0.3)):
        graph.output(graph.node("QuantizeLinear", [real, *graph.parameters(f"p{index}", (scale, 0))], f"y{index}"), np.int8)
    module = import_onnx(graph.model().SerializeToString(), "model.onnx", approximate=True)
    assert sum(op.name == "nn.conv2d" for op in main_block(module).ops) == 2


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [None, [2, 3], [-1], [1, 2]])
def test_a_mean_over_any_axes_has_the_shape_that_onnx_gives_it(axes: list[int] | None, keepdims: int) -> None:
    given = {} if axes is None else {"axes": axes}
    model = one_op("ReduceMean", [((0.1, 3), (1, 4, 5, 6))], (0.1, 3), keepdims=keepdims, **given)
    module = import_onnx(model.SerializeToString(), "model.onnx", approximate=True)
    x = np.random.default_rng(0).integers(-128, 128, (1, 4, 5, 6)).astype(np.int8)
    (found,) = evaluate(module, [x], Profile.ONNXRUNTIME)
    expected = (x.astype(np.float64) - 3).mean(tuple(axes) if axes else None, keepdims=bool(keepdims)) + 3
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 0.5 + 1e-6


def test_axes_of_a_mean_may_be_an_input_and_none_may_mean_nothing() -> None:
    shape = (1, 4, 5, 6)
    model = one_op("ReduceMean", [((0.1, 3), shape)], (0.1, 3), extra={"axes": np.array([2, -1])}, opset=18)
    module = import_onnx(model.SerializeToString(), "model.onnx", approximate=True)
    assert "[1, 4, 1, 1]" in str(module)
    nothing = one_op("ReduceMean", [((0.1, 3), shape)], (0.1, 3), extra={"axes": np.zeros(0, np.int64)}, opset=18, noop_with_empty_axes=1)
    module = import_onnx(nothing.SerializeToString(), "model.onnx", approximate=True)
    assert "approximate_layers" not in module.attributes
    assert not any(op.name == "nn.mean" for op in main_block(module).ops)


# Whole networks


@pytest.fixture(scope="module")
def symmetric(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CNN that quantize_static has quantised with zero points of 0, behind each ReLU only."""
    pytest.importorskip("onnxruntime")
    return symmetric_network(tmp_path_factory.mktemp("symmetric"))


def test_a_symmetric_network_is_refused_without_the_flag(symmetric: Path) -> None:
    with pytest.raises(UnsupportedError, match="--approximate"):
        load(symmetric)


def test_the_layers_are_listed_in_module_report_and_ir_text(symmetric: Path) -> None:
    model = load(symmetric, approximate=True)
    layers = ("first", "depthwise", "last")
    assert model.approximate_layers == layers
    compiled = model.compile("host", measure=False)
    assert compiled.report.approximate_layers == layers
    assert '"approximate_layers": [\n  "first",' in compiled.files["report.json"]
    assert "approximate       3 layers" in compiled.memory_report()
    again = parse_module(print_module(model.module, True), "text")
    assert again.attributes["approximate_layers"] == model.module.attributes["approximate_layers"]


@pytest.mark.skipif(needs_gcc() is not None, reason="needs gcc")
@pytest.mark.parametrize("keep_float_io", [False, True])
def test_the_c_of_a_symmetric_network_equals_the_interpreter(symmetric: Path, tmp_path: Path, keep_float_io: bool) -> None:
    result = verify(symmetric, "host", runner="host", samples=20, approximate=True, keep_float_io=keep_float_io)
    assert result.references == ("interpreter",)
    assert result.approximate_layers == ("first", "depthwise", "last")
    assert "200 output values" in result.notes[0]


def changed_reference(monkeypatch: pytest.MonkeyPatch, change: Callable[[Array], Array]) -> None:
    """Has ONNX Runtime answer something else."""
    module = import_module("tinyc.verify.verify")
    right = module.run_onnxruntime
    monkeypatch.setattr(module, "run_onnxruntime", lambda *given: [[change(array) for array in sample] for sample in right(*given)])


@pytest.mark.skipif(needs_gcc() is not None, reason="needs gcc")
@pytest.mark.parametrize("keep_float_io", [False, True])
def test_a_difference_to_onnx_runtime_is_a_note_with_count_and_steps(
    symmetric: Path, monkeypatch: pytest.MonkeyPatch, keep_float_io: bool
) -> None:
    step = np.float32(output_scale(load(symmetric, approximate=True).module))

    def three_steps_off(values: Array) -> Array:
        return values + step * np.where(np.arange(values.size) < 4, np.float32(3), np.float32(0))

    changed_reference(monkeypatch, three_steps_off)
    result = verify(symmetric, "host", runner="host", samples=5, approximate=True, keep_float_io=keep_float_io)
    assert "20 of 50 output values differ from ONNX Runtime's, by at most 3 steps" in result.notes[0]


@pytest.mark.skipif(needs_gcc() is not None, reason="needs gcc")
def test_a_network_without_such_layers_must_still_equal_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "network.onnx"
    path.write_bytes(network(True).SerializeToString())
    assert verify(path, "host", runner="host", approximate=True).references == ("interpreter", "ONNX Runtime")
    changed_reference(monkeypatch, lambda values: values + np.float32(1))
    with pytest.raises(MismatchError, match="but not ONNX Runtime"):
        verify(path, "host", runner="host", approximate=True)


def test_the_flag_changes_nothing_where_all_layers_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(network(True).SerializeToString())
    modules = [print_module(load(path, approximate=approximate).module, True) for approximate in (False, True)]
    assert modules[0] == modules[1]


def test_what_quantize_static_writes_by_itself_needs_no_flag(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = load(symmetric_network(tmp_path, before_relu=True), approximate=True)
    assert model.approximate_layers == ()
