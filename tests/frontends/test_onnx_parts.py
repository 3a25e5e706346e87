"""Activations with a scale for each position along an axis, or for each block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from support.host_network import needs_gcc
from support.onnx_builder import GraphBuilder, as_int8, run_onnxruntime
from tinyc.errors import UnsupportedError
from tinyc.frontends.onnx import import_onnx
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile
from tinyc.verify import verify

SHAPE = (1, 3, 5, 4)


def scales(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Different scales, some of them round."""
    random = np.random.default_rng(seed)
    return np.where(random.random(shape) < 0.5, 0.05, random.uniform(0.01, 0.1, shape)).astype(np.float32)


def zero_points(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Any zero points."""
    limits = np.iinfo(dtype)
    return np.random.default_rng(1).integers(limits.min, limits.max + 1, shape).astype(dtype)


def converted(op: str, dtype: type, shape: tuple[int, ...], axis: int, block: int = 0) -> onnx.ModelProto:
    """A QuantizeLinear or DequantizeLinear of SHAPE, with scales of `shape`."""
    graph = GraphBuilder(dtype)
    is_quantize = op == "QuantizeLinear"
    graph.input("x", SHAPE, np.float32 if is_quantize else dtype)
    constants = [graph.constant("scale", scales(shape)), graph.constant("zero", zero_points(shape, dtype))]
    attributes = {"axis": axis, **({"block_size": block} if block else {})}
    graph.output(graph.node(op, ["x", *constants], "y", **attributes), dtype if is_quantize else np.float32)
    model = graph.model(21)
    model.ir_version = 10
    return model


FORMS = {
    "channels": ((3,), 1, 0),
    "rows": ((5,), 2, 0),
    "last axis, counted from the end": ((4,), -1, 0),
    "blocks of two rows, the last not whole": ((1, 3, 3, 4), 2, 2),
}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("op", ["QuantizeLinear", "DequantizeLinear"])
def test_a_scale_for_each_part_is_exact(op: str, form: str, dtype: type) -> None:
    pytest.importorskip("onnxruntime")
    model, random = converted(op, dtype, *FORMS[form]), np.random.default_rng(2)
    x = random.normal(0, 4, SHAPE).astype(np.float32) if op == "QuantizeLinear" else zero_points(SHAPE, dtype)
    (found,) = evaluate(import_onnx(model.SerializeToString(), "model.onnx"), [as_int8(x)], Profile.ONNXRUNTIME)
    (expected,) = run_onnxruntime(model, {"x": x})
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(needs_gcc() is not None, reason="needs gcc")
def test_the_c_of_a_network_between_such_boundaries_equals_onnx_runtime(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    graph = GraphBuilder()
    graph.input("x", SHAPE)
    inputs = [graph.constant("in_scale", scales((3,), 3)), graph.constant("in_zero", zero_points((3,), np.int8))]
    real = graph.node("DequantizeLinear", [graph.node("QuantizeLinear", ["x", *inputs], "numbers", axis=1), *inputs], "x_real", axis=1)
    weights = graph.weights("w", np.arange(-12, 12).reshape(8, 3, 1, 1).astype(np.int8), np.full(8, 0.1, np.float32), 0)
    graph.output(graph.fake(graph.node("Conv", [graph.fake(real, (0.1, 3)), weights], "conv"), (0.3, -5)))
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.model().SerializeToString())
    result = verify(path, "host", runner="host", samples=20, keep_float_io=True)
    assert result.references == ("interpreter", "ONNX Runtime")


def test_more_parts_than_code_could_be_made_for_are_refused() -> None:
    graph = GraphBuilder()
    graph.input("x", [1, 2000])
    constants = [graph.constant("scale", np.ones(2000, np.float32)), graph.constant("zero", np.zeros(2000, np.int8))]
    graph.output(graph.node("QuantizeLinear", ["x", *constants], "y"), np.int8)
    with pytest.raises(UnsupportedError, match="2000 scales, at most 1024"):
        import_onnx(graph.model().SerializeToString(), "model.onnx")


@pytest.mark.parametrize(("dtype", "bounds"), [(np.int8, (-20, 90)), (np.uint8, (30, 200))])
def test_8_bit_numbers_are_limited_as_they_are(dtype: type, bounds: tuple[int, int]) -> None:
    pytest.importorskip("onnxruntime")
    graph = GraphBuilder(dtype)
    graph.input("x", SHAPE, dtype)
    limits = [graph.constant(name, np.array(value, dtype)) for name, value in zip(("low", "high"), bounds, strict=True)]
    graph.output(graph.dequantize(graph.node("Clip", ["x", *limits], "y"), (1.0, 0)))
    x = zero_points(SHAPE, dtype)
    (found,) = evaluate(import_onnx(graph.model().SerializeToString(), "model.onnx"), [as_int8(x)], Profile.ONNXRUNTIME)
    np.testing.assert_array_equal(found, np.clip(x, *bounds).astype(np.float32))
