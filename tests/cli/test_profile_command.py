"""`tinyc profile`: models and builds, three formats, refusals."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import shutil
from pathlib import Path

import pytest

import tinyc
from tinyc.cli.main import run_cli

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite"
needs_tools = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or importlib.util.find_spec("unicorn") is None,
    reason="arm-none-eabi-gcc and unicorn are not both installed",
)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinyc.load(EXAMPLE).compile("stm32h743", measure=False).write(tmp_path_factory.mktemp("profile") / "build")


@needs_tools
def test_the_three_formats_say_the_same(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["profile", str(build), "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert run_cli(["profile", str(build), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert run_cli(["profile", str(build)]) == 0
    text = capsys.readouterr().out
    assert [int(row["instructions"]) for row in rows] == [layer["instructions"] for layer in facts["layers"]]
    assert sum(int(row["estimated_cycles"]) for row in rows) == facts["total"]["estimated_cycles"]
    assert f"{facts['total']['instructions']:,}" in text
    assert facts["total"]["estimated_ms"] == pytest.approx(facts["total"]["estimated_cycles"] / 480e3)
    for line in text.splitlines()[:4]:
        assert "cycles" not in line or "estimated" in line


@needs_tools
def test_a_model_is_compiled_for_the_target_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_cli(["profile", str(EXAMPLE), "-t", "cortex-m4", "--format", "csv"]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["-t", "cortex-m4"], "that build is for stm32h743", 2),
        (["--optimize", "speed"], "are for models", 2),
        (["--seed", "1", "--input", "x.npz"], "exclude each other", 2),
        (["--input", "missing.npz"], "missing.npz", 1),
    ],
)
def test_what_does_not_go_together_is_refused(
    build: Path, arguments: list[str], message: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["profile", str(build), *arguments]) == code
    assert message in capsys.readouterr().err


def test_a_model_needs_a_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["profile", str(EXAMPLE)]) == 2
    assert "give a target" in capsys.readouterr().err
