"""Zoo, quantiser, compiler, emulator: every output byte equals ONNX Runtime's. Run with -m slow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from float_models import save

from tinyc.quantize.options import QuantizeOptions
from tinyc.quantize.post_training import quantize_arrays
from tinyc.targets import load_target
from tinyc.verify import verify
from tinyc.zoo import make_network, networks, synthetic_inputs

pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed"),
    pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed"),
]
SAMPLES = 8


def assert_equal(name: str, folder: Path, options: QuantizeOptions, **settings: float) -> None:
    model = make_network(name, **settings)  # type: ignore[arg-type]
    shape = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    quantized = quantize_arrays(save(model, folder), {"input": synthetic_inputs(shape[1:], 8, 1)}, options)
    result = verify(save(quantized.model, folder, "int8.onnx"), load_target("cortex-m7"), samples=SAMPLES)
    assert "ONNX Runtime" in result.references
    outputs = [[dimension.dim_value for dimension in value.type.tensor_type.shape.dim] for value in model.graph.output]
    assert result.outputs_compared == SAMPLES * sum(_product(sizes) for sizes in outputs)


def _product(sizes: list[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


@pytest.mark.parametrize(
    "name", ["ds-cnn", "resnet-8", "autoencoder", "mobilenet-v1-vww", "mcunet-in0", "mcunet-vww1", "mbv2-w0.3", "yolo-fpn"]
)
def test_small_networks_equal_onnx_runtime_in_the_emulator(name: str, tmp_path: Path) -> None:
    assert_equal(name, tmp_path, QuantizeOptions(compare=False))


@pytest.mark.parametrize("name", [name for name, network in networks().items() if network.defaults.resolution > 96 and name != "yolo-fpn"])
def test_large_networks_at_low_resolution_equal_onnx_runtime_in_the_emulator(name: str, tmp_path: Path) -> None:
    narrow = {"width": 0.35} if "width" in networks()[name].adjustable else {}
    assert_equal(name, tmp_path, QuantizeOptions(compare=False), resolution=64, classes=10, **narrow)


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_every_calibrator_and_correction_keeps_equality(method: str, tmp_path: Path) -> None:
    assert_equal("ds-cnn", tmp_path, QuantizeOptions(method, equalise=True, correct_bias=True, compare=False))
