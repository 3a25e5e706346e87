"""--ram, --flash and --optimize."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import tinyc
from tinyc.api import limited
from tinyc.cli.main import cli
from tinyc.errors import DoesNotFitError, UsageError
from tinyc.targets import load_target

MODEL = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite"


def arena(optimize: str, ram_bytes: int | None = None) -> int:
    target = limited(load_target("stm32f412"), ram_bytes, None)
    return tinyc.load(MODEL).compile(target, optimize=optimize, measure=False).report.ram.arena_bytes


def test_speed_streams_less_and_takes_more_ram_than_the_least() -> None:
    assert arena("speed") > arena("ram")


def test_speed_keeps_within_a_budget_between_the_two_ends() -> None:
    least, most = arena("ram"), arena("speed")
    budget = (least + most) // 2
    assert least <= arena("speed", budget) <= budget


def test_a_budget_below_the_least_peak_does_not_fit() -> None:
    for optimize in ("ram", "speed"):
        with pytest.raises(DoesNotFitError, match="too many"):
            arena(optimize, arena("ram") - 1000)


def test_a_budget_above_the_part_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="more than"):
        limited(load_target("stm32f412"), 1 << 30, None)
    with pytest.raises(UsageError, match="flash"):
        limited(load_target("stm32f412"), None, 1 << 30)


def test_the_command_line_takes_sizes_with_k_and_m(tmp_path: Path) -> None:
    arguments = ["compile", str(MODEL), "-t", "stm32f412", "-o", str(tmp_path / "out"), "--no-measure", "--ram", "64K", "--flash", "1M"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["ram_limit_bytes"] == 64 * 1024
    assert report["flash_limit_bytes"] == 1024 * 1024


@pytest.mark.parametrize("text", ["0", "64Q", "-1", "K", "1.5M"])
def test_what_is_no_size_is_refused(text: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["compile", str(MODEL), "-t", "stm32f412", "-o", str(tmp_path / "out"), "--ram", text])
    assert result.exit_code == 2
