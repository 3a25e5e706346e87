"""Zoo, quantiser, compiler, emulator: every output byte equals ONNX Runtime's. benchmarks/all.py does the same for the whole zoo."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from float_models import save

from tinyc.quantize.options import METHODS, QuantizeOptions
from tinyc.quantize.post_training import quantize_arrays
from tinyc.verify import verify
from tinyc.zoo import make_network, synthetic_inputs

pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed"),
    pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed"),
]


def assert_equal(name: str, folder: Path, options: QuantizeOptions, outputs: int) -> None:
    """The network `name` with `outputs` output values, quantised with `options`, gives in QEMU what it gives in ONNX Runtime."""
    model = make_network(name)
    shape = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    quantized = quantize_arrays(save(model, folder), {"input": synthetic_inputs(shape[1:], 8, 1)}, options)
    result = verify(save(quantized.model, folder, "int8.onnx"), "cortex-m7", samples=2)
    assert result.references == ("interpreter", "ONNX Runtime")
    assert result.outputs_compared == 2 * outputs


@pytest.mark.parametrize("method", METHODS)
def test_every_calibrator_and_correction_keeps_equality(method: str, tmp_path: Path) -> None:
    assert_equal("ds-cnn", tmp_path, QuantizeOptions(method, equalise=True, correct_bias=method != "mse", compare=False), 12)


def test_a_network_of_inverted_residuals_keeps_equality(tmp_path: Path) -> None:
    assert_equal("mcunet-vww0", tmp_path, QuantizeOptions(compare=False), 2)
