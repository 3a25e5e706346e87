"""`tinyc zoo` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from tinyc.cli.main import run_cli
from tinyc.zoo import make_network, networks


def test_list_prints_every_network_with_its_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["zoo", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(networks())
    assert next(line for line in lines if line.startswith("mcunet-in3")).split()[1:4] == ["3x176x176", "81.79", "737,408"]


def test_list_as_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["zoo", "list", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["ds-cnn"] == {
        "title": "MLPerf Tiny keyword spotting",
        "input": [1, 49, 10],
        "macs": 2_656_768,
        "parameters": 23_180,
        "options": ["classes"],
    }


def test_make_writes_the_float_network_and_reports_its_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "net.onnx"
    assert run_cli(["zoo", "make", "mobilenet-v1", "-o", str(path), "--width", "0.25", "--resolution", "96", "--classes", "2"]) == 0
    assert "7.49 M MACs" in capsys.readouterr().out
    assert onnx.load(path) == make_network("mobilenet-v1", width=0.25, resolution=96, classes=2)
    assert [entry.name for entry in path.parent.iterdir()] == ["net.onnx"]


def test_make_int8_writes_a_quantised_network_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    for name in ("a", "b"):
        assert run_cli(["zoo", "make", "ds-cnn", "-o", str(tmp_path / name), "--int8"]) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(tmp_path / "a").graph.node}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["lenet"], 2, "no network lenet"),
        (["ds-cnn", "--width", "2"], 2, "no --width"),
        (["ds-cnn", "--weights", "x.bin"], 2, "expected random or an npz"),
        (["ds-cnn", "--weights", "x.npz"], 1, "No such file"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line_and_nothing_is_written(
    arguments: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["zoo", "make", *arguments, "-o", str(tmp_path / "net.onnx")]) == code
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_a_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["zoo", "make", "ds-cnn", "-o", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err


def test_a_full_disk_is_reported_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert run_cli(["zoo", "make", "ds-cnn", "-o", str(tmp_path / "net.onnx")]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
