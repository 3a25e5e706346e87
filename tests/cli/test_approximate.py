"""`--approximate` on the command line: who takes it, and what is said about the layers that it lets in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.host_network import needs_gcc
from support.onnx_cases import Draw
from support.onnx_float_layers import float_layer
from tinyc.cli.main import run_cli

TFLITE = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite"


@pytest.fixture
def layer(tmp_path: Path) -> str:
    """A model of one matrix product with a ReLU that its quantisation does not imply."""
    model, _ = float_layer("Gemm", "bounds", Draw(np.random.default_rng(0), np.int8))
    path = tmp_path / "layer.onnx"
    path.write_bytes(model.SerializeToString())
    return str(path)


def test_check_names_the_flag_and_with_it_the_layers(layer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["check", layer, "-t", "stm32f746"]) == 1
    assert "--approximate" in capsys.readouterr().out
    assert run_cli(["check", layer, "-t", "stm32f746", "--approximate"]) == 0
    said = capsys.readouterr()
    assert "approximate       1 layer that ONNX Runtime computes in float32, results may differ: result" in said.out
    assert said.err.startswith("note: approximate: 1 layer")


def test_compile_and_memory_report_tell_the_layers_and_the_build_keeps_them(
    layer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = tmp_path / "build"
    assert run_cli(["compile", layer, "-t", "stm32f746", "--no-measure", "-o", str(build)]) == 1
    assert "--approximate" in capsys.readouterr().err
    assert not build.exists()
    assert run_cli(["compile", layer, "-t", "stm32f746", "--no-measure", "--approximate", "-o", str(build)]) == 0
    said = capsys.readouterr()
    assert "note: approximate: 1 layer" in said.err
    assert "approximate       1 layer" in said.out
    assert json.loads((build / "report.json").read_text())["approximate_layers"] == ["result"]
    assert run_cli(["memory-report", str(build)]) == 0
    assert "approximate       1 layer" in capsys.readouterr().out
    assert run_cli(["memory-report", layer, "-t", "host", "--approximate", "--format", "json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["approximate_layers"] == ["result"]
    assert "note: approximate" in said.err


@pytest.mark.skipif(needs_gcc() is not None, reason="needs gcc")
def test_verify_tells_the_layers_and_the_distance(layer: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert run_cli(["verify", layer, "-t", "host", "--approximate", "--json"]) == 0
    said = capsys.readouterr()
    facts = json.loads(said.out)
    assert facts["approximate_layers"] == ["result"]
    assert facts["references"] == ["interpreter"]
    assert "ONNX Runtime's" in facts["notes"][0]
    assert "note: approximate: 1 layer" in said.err


@pytest.mark.parametrize("verb", ["bench", "check", "compile", "memory-report", "pareto", "profile", "verify"])
def test_the_flag_with_a_tflite_model_is_wrong_usage(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ["-o", str(tmp_path / "build")] if verb == "compile" else []
    assert run_cli([verb, str(TFLITE), "-t", "cortex-m7", "--approximate", *output]) == 2
    assert "ONNX models" in capsys.readouterr().err


def test_pareto_takes_the_flag_and_tells_the_layers(layer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["pareto", layer, "-t", "cortex-m7", "--no-count", "--approximate"]) == 0
    assert "note: approximate: 1 layer" in capsys.readouterr().err


def test_the_flag_with_a_build_folder_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["memory-report", str(tmp_path), "--approximate"]) == 2
    assert "build folder" in capsys.readouterr().err
