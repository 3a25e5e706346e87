"""`tinyc bench`: a table of a user's own models."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

import tinyc
from tinyc.cli.main import run_cli
from tinyc.runners import random_inputs, read_description, run_build

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite"
needs_tools = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or importlib.util.find_spec("unicorn") is None,
    reason="arm-none-eabi-gcc and unicorn are not both installed",
)


@needs_tools
def test_figures_are_those_of_compile_and_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["bench", str(EXAMPLE), "-t", "stm32h743", "--runner", "unicorn", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["measurements"]
    compiled = tinyc.load(EXAMPLE).compile("stm32h743")
    build = compiled.write(tmp_path / "build")
    counted = run_build(build, "unicorn", random_inputs(read_description(build), 1, 0))
    assert row["instructions"] == counted.instructions
    assert (row["arena"], row["weights"], row["code"]) == (
        compiled.report.ram.arena_bytes,
        compiled.report.flash.weights_bytes,
        compiled.report.flash.code_bytes,
    )
    assert row["ram"] == row["arena"] + row["static"] + row["stack"]
    assert row["image"] >= row["weights"] + row["code"]


@needs_tools
def test_what_is_refused_does_not_keep_the_rest_from_being_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = tmp_path / "small.toml"
    small.write_text('inherit = "stm32f412"\nname = "small"\nram_bytes = 1000\n')
    missing = tmp_path / "missing.tflite"
    arguments = ["bench", str(EXAMPLE), str(missing), "--runner", "unicorn", "--target-file", str(small), "-t", "cortex-m4"]
    assert run_cli(arguments) == 3
    printed = capsys.readouterr()
    assert [line.split()[1] for line in printed.out.splitlines()] == ["target", "cortex-m4"]
    errors = printed.err.splitlines()
    assert len(errors) == 3
    assert "on small: fashion_mnist does not fit small" in errors[0]
    assert all("missing.tflite" in line for line in errors[1:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        ([str(EXAMPLE), "-t", "host"], "cannot be counted on the host"),
        ([str(EXAMPLE), "-t", "x"], "unknown target"),
    ],
)
def test_wrong_usage_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err
