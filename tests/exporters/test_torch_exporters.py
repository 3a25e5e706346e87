"""Float PyTorch networks through both of torch's ONNX exporters, the quantiser and the compiler."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed; pip install 'tinyc[torch]'")
pytest.importorskip("onnxscript", reason="onnxscript, which torch exports with, is not installed; pip install 'tinyc[torch]'")
pytest.importorskip("onnxruntime")

import torch
from torch_networks import NETWORKS, SHAPE, export, make

from tinyc.api import load
from tinyc.ir.nn_base import tensor_of
from tinyc.passes.rewriting import main_block
from tinyc.quantize.options import QuantizeOptions
from tinyc.quantize.post_training import quantize_arrays
from tinyc.quantize.run_float import Runner
from tinyc.verify import verify
from tinyc.zoo import synthetic_inputs

EXPORTERS = {"torchscript": False, "dynamo": True}
SAMPLES = 8


@pytest.fixture(scope="module", params=[(name, exporter) for name in NETWORKS for exporter in EXPORTERS], ids=lambda pair: "-".join(pair))
def quantised(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each network, exported by each exporter, as an int8 file."""
    name, exporter = request.param
    folder = tmp_path_factory.mktemp(f"{name}-{exporter}")
    path = export(make(name), folder / "float.onnx", EXPORTERS[exporter])
    result = quantize_arrays(path, {"input": synthetic_inputs(SHAPE[1:], 16, 1)}, QuantizeOptions())
    assert result.loss is not None
    assert min(layer.activation_sqnr for layer in result.loss.layers) > 20
    (folder / "int8.onnx").write_bytes(result.model.SerializeToString())
    return folder / "int8.onnx"


def kernels(path: Path, layout: str) -> list[str]:
    """Kernels of the C in the order of execution."""
    report = load(path, layout=layout).compile("cortex-m7", measure=False).report
    return [kernel for layer in report.layers for kernel in layer.kernels]


def test_no_transpose_is_left_in_the_c(quantised: Path) -> None:
    found = kernels(quantised, "nhwc")
    assert len(found) > 5
    assert [kernel for kernel in found if "transpose" in kernel] == []


def test_images_in_the_files_order_are_transposed_at_the_boundary_alone(quantised: Path) -> None:
    transposes = [index for index, kernel in enumerate(kernels(quantised, "nchw")) if "transpose" in kernel]
    terminator = main_block(load(quantised, layout="nchw").module).last_op
    assert terminator is not None
    images = sum(len(tensor_of(value).shape) == 4 for value in terminator.operands)
    assert transposes[0] == 0
    assert len(transposes) == 1 + images


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_the_c_on_the_host_equals_onnx_runtime(quantised: Path, layout: str) -> None:
    result = verify(quantised, "host", runner="host", samples=SAMPLES, layout=layout)
    assert result.references == ("interpreter", "ONNX Runtime")


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc")
@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="needs qemu-system-arm")
@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m7"])
def test_the_c_in_qemu_equals_onnx_runtime(quantised: Path, target: str) -> None:
    assert verify(quantised, target, samples=SAMPLES).references == ("interpreter", "ONNX Runtime")


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_quantised_network_answers_as_torch_does(name: str, exporter: str, tmp_path: Path) -> None:
    network = make(name)
    samples = synthetic_inputs(SHAPE[1:], 16, 1)
    path = export(network, tmp_path / "float.onnx", EXPORTERS[exporter])
    runner = Runner(quantize_arrays(path, {"input": samples}, QuantizeOptions(compare=False)).model)
    for sample in samples[:4]:
        found = list(runner.run({"input": sample[None]}).values())
        with torch.no_grad():
            answer = network(torch.from_numpy(sample[None]))
        expected = [part.numpy() for part in (answer if isinstance(answer, tuple) else (answer,))]
        for real, ours in zip(expected, found, strict=True):
            assert np.abs(real - ours).max() < 0.05 * np.abs(real).max()


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_free_batch_becomes_one(exporter: str, tmp_path: Path) -> None:
    path = export(make("classifier"), tmp_path / "float.onnx", EXPORTERS[exporter], free_batch=True)
    result = quantize_arrays(path, {"input": synthetic_inputs(SHAPE[1:], 2, 1)}, QuantizeOptions(compare=False))
    (tmp_path / "int8.onnx").write_bytes(result.model.SerializeToString())
    assert not any("transpose" in kernel for kernel in kernels(tmp_path / "int8.onnx", "nhwc"))
