"""Quantised ONNX networks end to end: the C in QEMU against ONNX Runtime, in both forms, both layouts and both types."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from support.host_network import compile_for_host, needs_gcc, run_on_host
from support.onnx_builder import one_op, run_onnxruntime
from support.onnx_networks import network
from tinyc.api import load
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.nn_base import NNOp
from tinyc.ir.nn_shape import TransposeOp
from tinyc.numerics.profile import Profile
from tinyc.passes.rewriting import main_block
from tinyc.verify import verify

FORMS = {"QDQ": True, "QOperator": False}
WITHOUT_TOOLS = [tool for tool in ("arm-none-eabi-gcc", "qemu-system-arm") if shutil.which(tool) is None]


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    """The model in a file."""
    path = folder / "network.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.skipif(bool(WITHOUT_TOOLS), reason=f"needs {' and '.join(WITHOUT_TOOLS)}")
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("form", FORMS)
def test_the_c_in_qemu_equals_onnx_runtime(tmp_path: Path, form: str, dtype: type, layout: str) -> None:
    pytest.importorskip("onnxruntime")
    path = saved(network(FORMS[form], dtype, seed=3, float_boundary=layout == "nhwc"), tmp_path)
    result = verify(path, "cortex-m7", samples=8, layout=layout)
    assert result.references == ("interpreter", "ONNX Runtime")
    assert result.outputs_compared == 80


@pytest.mark.skipif(needs_gcc() is not None, reason="needs gcc")
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_a_float_boundary_that_is_kept_equals_onnx_runtime(tmp_path: Path, dtype: type) -> None:
    pytest.importorskip("onnxruntime")
    model = network(True, dtype)
    compiled = compile_for_host(load(saved(model, tmp_path)).module, Profile.ONNXRUNTIME, keep_float_io=True)
    image = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32) * 3
    (found,) = run_on_host(compiled, tmp_path, [image.transpose(0, 2, 3, 1)])
    (expected,) = run_onnxruntime(model, {"image": image})
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_both_forms_of_a_network_give_the_same_c(tmp_path: Path, dtype: type) -> None:
    texts = []
    for qdq in FORMS.values():
        compiled = load(saved(network(qdq, dtype), tmp_path)).compile("cortex-m7", name="net", measure=False)
        texts.append(compiled.files["net_weights.c"])
    assert texts[0] == texts[1]


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("form", FORMS)
def test_no_transposes_are_left_inside_a_network_of_images(tmp_path: Path, form: str, layout: str) -> None:
    module = load(saved(network(FORMS[form]), tmp_path), layout=layout).module
    transposes = [op for op in main_block(module).ops if isinstance(op, TransposeOp) and not op.moves_nothing()]
    assert len(transposes) == (0 if layout == "nhwc" else 1)
    assert all(isinstance(op, NNOp) for op in list(main_block(module).ops)[:-1])


def test_the_header_and_the_report_name_the_layout(tmp_path: Path) -> None:
    model = network(False, float_boundary=False)
    for layout, shape in (("nhwc", "1, 16, 16, 3"), ("nchw", "1, 3, 16, 16")):
        compiled = load(saved(model, tmp_path), layout=layout).compile("cortex-m7", name="net", measure=False)
        assert f"row-major order, {layout.upper()}" in compiled.files["net.h"]
        assert f"NET_INPUT_0_DIMS {{ {shape} }}" in compiled.files["net.h"]
        assert f'"layout": "{layout}"' in compiled.files["report.json"]


def test_a_free_batch_becomes_one_and_other_shapes_are_given(tmp_path: Path) -> None:
    path = saved(network(True, batch="N"), tmp_path)
    assert main_block(load(path).module).args[0].type == main_block(load(path, {"image": (1, 3, 16, 16)}).module).args[0].type
    wider = load(path, {"image": (1, 3, 16, 24)})
    assert "[1, 16, 24, 3]" in str(main_block(wider.module).args[0].type)


def test_an_onnx_model_is_compiled_with_the_arithmetic_of_onnx_runtime(tmp_path: Path) -> None:
    model = load(saved(network(True), tmp_path))
    assert model.default_numerics == "onnxruntime"
    assert "numerics onnxruntime" in model.compile("cortex-m7", name="net", measure=False).files["net.h"]


def test_an_image_output_comes_in_the_layout_of_the_boundary(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = one_op("Relu", [((0.1, 3), (1, 4, 5, 6))], (0.1, 3))
    pooled = one_op("MaxPool", [((0.1, 3), (1, 4, 5, 6))], (0.1, 3), kernel_shape=[2, 2])
    values = np.random.default_rng(0).integers(-128, 128, (1, 4, 5, 6)).astype(np.int8)
    (expected,) = run_onnxruntime(pooled, {"x0": values})
    (last,) = evaluate(load(saved(pooled, tmp_path)).module, [np.ascontiguousarray(values.transpose(0, 2, 3, 1))], Profile.ONNXRUNTIME)
    np.testing.assert_array_equal(last.transpose(0, 3, 1, 2), expected)
    (first,) = evaluate(load(saved(pooled, tmp_path), layout="nchw").module, [values], Profile.ONNXRUNTIME)
    np.testing.assert_array_equal(first, expected)
    # Nothing in this one wants channels last.
    assert "[1, 4, 5, 6]" in str(main_block(load(saved(model, tmp_path)).module).args[0].type)
