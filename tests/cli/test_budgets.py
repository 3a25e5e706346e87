"""--ram, --flash and --optimize."""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_network import small_network

import tinyc
from support.network_builder import NetworkBuilder
from tinyc.api import Compiled, Model, limited
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.cli.main import cli
from tinyc.driver.budgets import OPTIMIZE
from tinyc.errors import DoesNotFitError, UsageError
from tinyc.ir.mcu import CallOp
from tinyc.ir.text import print_module
from tinyc.targets import load_target

MODEL = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite"
KEYWORDS = Path(__file__).resolve().parents[3] / "shared" / "models" / "kws_ref_model.tflite"


@cache
def arena(optimize: str, ram_bytes: int | None = None) -> int:
    target = limited(load_target("stm32f412"), ram_bytes, None)
    return small_network().compile(target, optimize=optimize, measure=False).report.ram.arena_bytes


def test_speed_streams_less_and_takes_more_ram_than_the_least() -> None:
    assert arena("speed") > arena("ram")


def test_speed_keeps_within_a_budget_between_the_two_ends() -> None:
    least, most = arena("ram"), arena("speed")
    budget = (least + most) // 2
    assert least <= arena("speed", budget) <= budget


def test_balanced_is_the_default_and_lies_between_the_ends() -> None:
    assert small_network().compile("stm32f412", measure=False).report.ram.arena_bytes == arena("balanced")
    assert arena("ram") <= arena("balanced") <= arena("ram") * 105 // 100
    assert arena("balanced") < arena("speed")


def test_balanced_turns_to_the_least_ram_where_it_does_not_fit() -> None:
    if arena("balanced") > arena("ram"):
        assert arena("balanced", arena("balanced") - 1) < arena("balanced")


@pytest.mark.skipif(not KEYWORDS.exists(), reason="../shared/models is not there")
def test_below_the_least_ram_the_scratch_of_convolutions_shrinks_before_anything_else() -> None:
    def keywords(ram_bytes: int | None, optimize: str) -> int:
        target = limited(load_target("stm32f412"), ram_bytes, None)
        return tinyc.load(KEYWORDS).compile(target, optimize=optimize, measure=False).report.ram.arena_bytes

    balanced, least = keywords(None, "balanced"), keywords(None, "ram")
    assert least <= balanced
    # Not even the scratch that the least RAM still allows itself.
    smallest = keywords(least - 1, "ram")
    assert smallest < least
    assert keywords(balanced - 1, "balanced") in (least, smallest)
    assert keywords(least - 1, "balanced") == smallest


def test_the_remedies_of_a_report_are_what_their_options_give() -> None:
    builder = NetworkBuilder(9)
    value = builder.conv(builder.input((1, 16, 16, 8)), 8, (3, 3), pads=(1, 1, 1, 1))
    model = Model("small", builder.finish(builder.conv(builder.pool(value, False, (4, 4), (4, 4)), 8, (3, 3), pads=(1, 1, 1, 1))))
    report = model.compile("stm32f412", measure=False).report
    remedies = {remedy.change.split(" and ")[0].split(",")[0]: remedy for remedy in model.remedies(report)}
    assert "--stream-input" in remedies
    for change, remedy in remedies.items():
        budget = remedy.arena_bytes if change == "--ram" else None
        optimize = {"--optimize ram": "ram", "--ram": "speed"}.get(change, "balanced")
        target = limited(load_target("stm32f412"), budget, None)
        found = model.compile(target, optimize=optimize, measure=False, stream_input=change == "--stream-input").report.ram.arena_bytes
        assert found == remedy.arena_bytes
        assert report.ram.arena_bytes - remedy.arena_bytes == remedy.saved_bytes > 0


def test_weights_grow_only_as_far_as_the_flash_allows() -> None:
    def flash(flash_bytes: int | None, optimize: str) -> int:
        target = limited(load_target("stm32f412"), None, flash_bytes)
        return small_network().compile(target, optimize=optimize, measure=False).report.flash.total_bytes

    most = flash(None, "ram")
    assert most - 2_000 < flash(most - 100, "ram") <= most - 100
    with pytest.raises(DoesNotFitError, match="flash"):
        flash(most // 3, "ram")


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc")
def test_loops_grow_where_flash_allows_it_and_give_way_before_weights() -> None:
    def compiled(flash_bytes: int | None) -> Compiled:
        return small_network().compile(limited(load_target("stm32f412"), None, flash_bytes), optimize="ram")

    def loop_bytes(network: Compiled) -> int:
        kernels = {decode_kernel(call.kernel) for call in network.network.module.walk() if isinstance(call, CallOp)}
        return sum(kernel.loop_bytes for kernel in kernels if isinstance(kernel, ConvSpec))

    most = compiled(None)
    limit = most.report.flash.total_bytes - 1
    less = compiled(limit)
    assert less.report.flash.total_bytes <= limit
    assert less.report.flash.weights_bytes == most.report.flash.weights_bytes
    assert loop_bytes(less) < loop_bytes(most)


def test_the_command_line_takes_a_budget_as_the_wish_for_speed(tmp_path: Path) -> None:
    model = tmp_path / "small.mlir"
    model.write_text(print_module(small_network().module, print_weights=True), encoding="utf-8")

    def ram(*options: str) -> int:
        arguments = ["compile", str(model), "-t", "stm32f412", "-o", str(tmp_path / "out"), "--no-measure", *options]
        assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0
        return int(json.loads((tmp_path / "out" / "report.json").read_text())["ram"]["arena_bytes"])

    assert ram() == ram("--optimize", "balanced") == arena("balanced")
    assert ram("--ram", "64K") == arena("speed", 64 * 1024)
    assert ram("--ram", "64K", "--optimize", "balanced") == arena("balanced")


def test_a_budget_below_the_least_peak_does_not_fit() -> None:
    for optimize in OPTIMIZE:
        with pytest.raises(DoesNotFitError, match="too many"):
            arena(optimize, arena("ram") - 1000)


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed")
def test_who_has_too_little_flash_alone_is_told_all_that_it_takes_and_nothing_is_computed_twice_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tinyc.driver.budgets.explore_recomputed", lambda *_: pytest.fail("flash is not saved by computing twice"))
    with pytest.raises(DoesNotFitError, match="flash: needs") as refused:
        small_network().compile(limited(load_target("stm32f412"), None, 1000))
    needed, weights = (int(re.findall(pattern, str(refused.value))[0]) for pattern in (r"needs (\d+)", r"(\d+) are weights"))
    assert needed > weights > 1000
    part = load_target("stm32f412")
    assert small_network().compile(limited(part, None, needed)).report.flash.total_bytes <= needed
    with pytest.raises(DoesNotFitError, match="flash: needs"):
        small_network().compile(limited(part, None, needed - 1))


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
