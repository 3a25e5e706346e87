"""`tinyc quantize`, and `tinyc compile --calibration`, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from float_models import make_model, node, random_constants, save

from tinyc.cli.main import run_cli
from tinyc.zoo import make_network, synthetic_inputs

pytest.importorskip("onnxruntime")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(make_network("ds-cnn"), tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, input=synthetic_inputs((1, 49, 10), 8, 1))
    return path


def refused(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> None:
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.strip().splitlines()) == 1, error
    for word in words:
        assert word in error, error


def quantize(*arguments: object) -> int:
    return run_cli(["quantize", *map(str, arguments)])


def test_it_writes_the_model_and_prints_the_worst_layers(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = model.with_name("int8.onnx")
    assert quantize(model, "--calibration", data, "-o", output, "--rows", 3) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[0].split() == ["tensor", "operator", "SQNR", "dB", "weights", "dB"]
    assert lines[4].startswith("... and")
    assert "same top class" in lines[5]
    notes = ["note: layers with a corrected bias: 10", "note: layers with a corrected mean: 1"]
    assert lines[6:] == [*notes, f"written           {output}"]
    onnx.checker.check_model(onnx.load(output))
    assert "\r" not in printed.out


def test_options_reach_the_quantiser_and_json_says_what_they_did(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = model.with_name("int8.onnx")
    assert quantize(model, "--calibration", data, "-o", output, "--equalize", "--method", "mse", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    steps = ["pairs of layers equalised", "layers with a corrected bias", "layers with a corrected mean"]
    assert [note.partition(":")[0] for note in facts["notes"]] == steps
    assert facts["samples"] == 8
    assert facts["layers"][0]["sqnr_db"] <= facts["layers"][-1]["sqnr_db"]


def test_biases_can_be_left_alone(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantize(model, "--calibration", data, "-o", model.with_name("int8.onnx"), "--no-correct-bias", "--json") == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []


def test_the_array_may_have_any_name_where_there_is_one_input(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", images=synthetic_inputs((1, 49, 10), 2, 1))
    assert quantize(model, "--calibration", tmp_path / "other.npz", "-o", tmp_path / "int8.onnx") == 0


def test_samples_may_come_as_one_npy_file_where_there_is_one_input(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "samples.npy", synthetic_inputs((1, 49, 10), 8, 1))
    assert quantize(model, "--calibration", tmp_path / "samples.npy", "-o", tmp_path / "int8.onnx") == 0


def test_few_samples_and_integers_are_taken_with_a_note(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "bytes.npz", input=np.random.RandomState(0).randint(0, 256, (2, 1, 49, 10)).astype(np.uint8))
    assert quantize(model, "--calibration", tmp_path / "bytes.npz", "-o", tmp_path / "int8.onnx") == 0
    printed = capsys.readouterr().out
    assert "note: 2 calibration samples" in printed
    assert "note: input was uint8 and is taken as it is, from 0 to 255" in printed


def test_a_percentile_without_its_method_is_refused(model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (model, "--calibration", data, "-o", tmp_path / "int8.onnx", "--percentile", "99")
    assert quantize(*arguments) == 2
    refused(capsys, 2, "--percentile is for --method percentile")
    assert quantize(*arguments, "--method", "percentile") == 0


def test_a_free_dimension_can_be_fixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(make_model([node("Conv", ["x", "w"], ["y"])], random_constants(w=(2, 3, 3, 3)), shape=("n", 3, "h", "w")), tmp_path)
    np.savez(tmp_path / "data.npz", x=synthetic_inputs((3, 8, 8), 2, 1))
    arguments = (path, "--calibration", tmp_path / "data.npz", "-o", tmp_path / "int8.onnx")
    assert quantize(*arguments) == 1
    refused(capsys, 1, "--shape x=1,3,?,?")
    assert quantize(*arguments, "--shape", "x=1,3,8,8") == 0
    assert quantize(*arguments, "--shape", "x=1,4,8,8") == 1
    assert quantize(*arguments, "--shape", "z=1,3,8,8") == 1
    assert quantize(*arguments, "--shape", "x=1,3,8,eight") == 2


def test_without_calibration_data_the_message_says_how_to_give_it(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantize(model, "-o", tmp_path / "int8.onnx") == 2
    refused(capsys, 2, "float weights", "--calibration DATA.npz", "'input' of shape (N, 1, 49, 10)")
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"input": np.zeros((4, 49, 10, 1), np.float32)}, ["(4, 49, 10, 1)", "NHWC", "transpose(0, 3, 1, 2)"]),
        ({"input": np.zeros((1, 49, 10), np.float32)}, ["add a first axis"]),
        ({"input": np.zeros((4, 1, 10, 49), np.float32)}, ["expected (N, 1, 49, 10)"]),
        ({"input": np.zeros((0, 1, 49, 10), np.float32)}, ["no sample"]),
        ({"input": np.full((1, 1, 49, 10), np.nan, np.float32)}, ["infinity or NaN"]),
        ({"input": np.full((1, 1, 49, 10), "a")}, ["expected float32"]),
        ({"a": np.zeros(1), "b": np.zeros(1)}, ["no array input", "a, b"]),
    ],
)
def test_calibration_data_that_does_not_fit_is_refused_with_the_reason(
    arrays: dict[str, np.ndarray], words: list[str], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)  # type: ignore[arg-type]
    assert quantize(model, "--calibration", tmp_path / "data.npz", "-o", tmp_path / "int8.onnx") == 1
    refused(capsys, 1, *words)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken", b"\x93NUMPY"])
def test_a_calibration_file_that_is_no_archive_is_refused(
    content: bytes, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    assert quantize(model, "--calibration", tmp_path / "data.npz", "-o", tmp_path / "int8.onnx") == 1
    refused(capsys, 1, "data.npz", "not an npz archive")


@pytest.mark.parametrize("content", [b"", b"hello, this is no network", b"\x08\x08", bytes(range(256)), b"TFL3" * 9])
def test_a_file_that_is_no_onnx_model_is_refused(content: bytes, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    assert quantize(tmp_path / "bad.onnx", "--calibration", data, "-o", tmp_path / "int8.onnx") == 1
    refused(capsys, 1, "bad.onnx", "not an ONNX file")


def test_truncated_models_are_refused_and_never_crash(model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = model.read_bytes()
    for length in (10, 100, 1_000, 20_000, len(content) - 5):
        (tmp_path / "cut.onnx").write_bytes(content[:length])
        assert quantize(tmp_path / "cut.onnx", "--calibration", data, "-o", tmp_path / "int8.onnx") == 1
        refused(capsys, 1, "cut.onnx")


def test_missing_files_and_folders_are_refused(model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "int8.onnx"
    assert quantize(tmp_path / "no.onnx", "--calibration", data, "-o", output) == 1
    refused(capsys, 1, "no.onnx", "No such file")
    assert quantize(tmp_path, "--calibration", data, "-o", output) == 1
    refused(capsys, 1, "is a folder")
    assert quantize(model, "--calibration", tmp_path / "no.npz", "-o", output) == 1
    refused(capsys, 1, "no.npz", "No such file")
    assert quantize(model, "--calibration", data, "-o", model) == 2
    refused(capsys, 2, "the output is the model itself")
    (tmp_path / "file").write_bytes(b"")
    assert quantize(model, "--calibration", data, "-o", tmp_path / "file" / "int8.onnx") == 1
    refused(capsys, 1, "cannot write")
    assert not output.exists()


def test_a_quantised_model_is_not_quantised_again(model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantize(model, "--calibration", data, "-o", tmp_path / "int8.onnx") == 0
    assert quantize(tmp_path / "int8.onnx", "--calibration", data, "-o", tmp_path / "again.onnx") == 1
    refused(capsys, 1, "is quantised already")


def test_a_bar_is_drawn_on_a_terminal_and_wiped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from tinyc.cli.quantize_options import progress_bar

    with progress_bar() as silent:
        silent("ranges", 1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress_bar() as draw:
        draw("ranges", 1, 2)
        draw("ranges", 2, 2)
    drawn = capsys.readouterr().err
    assert "ranges" in drawn
    assert "1/2" in drawn
    assert "2/2" in drawn
    assert drawn.split("\r")[-2].strip() == ""


def test_compile_refuses_quantisation_options_without_calibration(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["compile", str(model), "-t", "cortex-m4", "-o", str(tmp_path / "out"), "--equalize"]) == 2
    refused(capsys, 2, "give --calibration too")


def test_compile_with_calibration_gives_the_c_of_the_quantised_model(model: Path, data: Path, tmp_path: Path) -> None:
    arguments = ["-t", "cortex-m4", "--no-measure", "--name", "net"]
    assert run_cli(["compile", str(model), *arguments, "--calibration", str(data), "-o", str(tmp_path / "direct")]) == 0
    assert quantize(model, "--calibration", data, "-o", tmp_path / "int8.onnx") == 0
    assert run_cli(["compile", str(tmp_path / "int8.onnx"), *arguments, "-o", str(tmp_path / "twice")]) == 0
    for name in ("net.c", "net_weights.c"):
        assert (tmp_path / "direct" / name).read_text() == (tmp_path / "twice" / name).read_text()


def test_compile_refuses_a_float_model_and_names_the_option(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["compile", str(model), "-t", "cortex-m4", "-o", str(tmp_path / "out")]) == 1
    assert "--calibration" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
