"""--pin and --pin-file with every verb that compiles a model: the pinned choice is made, and nothing is refused or ignored silently."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from small_network import small_network

import tinyc
from tinyc.api import Compiled
from tinyc.cli.main import cli, run_cli
from tinyc.errors import UsageError
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.text import print_module
from tinyc.numerics.profile import Profile

verify_module = importlib.import_module("tinyc.verify.verify")
needs_unicorn = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or importlib.util.find_spec("unicorn") is None, reason="needs arm-none-eabi-gcc and unicorn"
)


@cache
def compiled(*pins: str) -> Compiled:
    return small_network().compile("cortex-m4", measure=False, pins=pins)


@cache
def pin() -> str:
    """Weights of some layer in the other form: flash and instructions change, and maybe the arena."""
    choice = next(choice for choice in compiled().explanation.choices if choice.decision == "weights")
    other = next(alternative.value for alternative in choice.alternatives if not alternative.taken)
    return f"{choice.layer}:weights={other}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pins") / "small.mlir"
    path.write_text(print_module(small_network().module, print_weights=True), encoding="utf-8")
    return path


def command(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_the_pin_changes_what_is_compiled() -> None:
    assert compiled(pin()).report.flash.weights_bytes != compiled().report.flash.weights_bytes


def test_the_memory_report_is_that_of_the_pinned_network(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "pins"
    file.write_text(f"# one\n{pin()}\n")
    for options in (["--pin", pin()], ["--pin-file", str(file)]):
        report = json.loads(command("memory-report", str(model), "-t", "cortex-m4", "--format", "json", *options).output)
        assert report["flash"]["weights_bytes"] == compiled(pin()).report.flash.weights_bytes


def test_remedies_are_tried_with_the_pins() -> None:
    report = compiled(pin()).report
    found = {remedy.change: remedy.arena_bytes for remedy in small_network().remedies(report, "cortex-m4", pins=[pin()])}
    least = small_network().compile("cortex-m4", measure=False, pins=[pin()], optimize="ram").report.ram.arena_bytes
    assert found.get("--optimize ram", report.ram.arena_bytes) == min(least, report.ram.arena_bytes)


def test_every_point_of_the_curve_has_the_pins(model: Path) -> None:
    narrow, wide = (f"{pin().partition('=')[0]}={kind}" for kind in ("int8", "int16"))
    result = command("pareto", str(model), "-t", "stm32f412", "--no-count", "--points", "2", "--json", "--pin", narrow)
    points = json.loads(result.stdout)["points"]
    others = small_network().pareto("stm32f412", count=False, measure=False, points=2, pins=[wide]).points
    assert points[0]["flash_bytes"] != others[0].flash_bytes
    for point in points:
        ram_bytes = int(point["flag"].removeprefix("--ram "))
        report = small_network().compile("stm32f412", ram_bytes=ram_bytes, optimize="speed", pins=[narrow]).report
        assert (report.ram.total_bytes, report.flash.total_bytes) == (point["ram_bytes"], point["flash_bytes"])


@needs_unicorn
def test_verify_runs_the_pinned_c(model: Path) -> None:
    counts = []
    for options in ([], ["--pin", pin()]):
        result = command("verify", str(model), "-t", "cortex-m4", "--runner", "unicorn", "--samples", "1", "--json", *options)
        assert result.exit_code == 0
        counts.append(json.loads(result.stdout)["instructions"])
    assert counts[0] != counts[1]


@needs_unicorn
def test_bench_and_profile_count_the_same_pinned_c(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", str(model), "-t", "cortex-m4", "--runner", "unicorn", "--json"]
    assert run_cli(arguments) == 0
    (plain,) = json.loads(capsys.readouterr().out)["measurements"]
    assert run_cli([*arguments, "--pin", pin()]) == 0
    (pinned,) = json.loads(capsys.readouterr().out)["measurements"]
    assert pinned["instructions"] != plain["instructions"]
    profile = json.loads(command("profile", str(model), "-t", "cortex-m4", "--format", "json", "--pin", pin()).output)
    assert sum(layer["instructions"] for layer in profile["layers"]) == pinned["instructions"]


@needs_unicorn
def test_bench_reports_a_model_without_the_layer_and_measures_the_others(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite"
    arguments = ["bench", str(model), str(example), "-t", "cortex-m4", "--runner", "unicorn", "--json", "--pin", "conv2d_12:weights=int16"]
    assert run_cli(arguments) == UsageError.exit_code
    found = json.loads(capsys.readouterr().out)
    assert [row["network"] for row in found["measurements"]] == ["fashion_mnist"]
    assert ["the network has no layer conv2d_12" in refused["error"] for refused in found["refused"]] == [True]


@pytest.mark.parametrize("verb", ["bench", "check", "memory-report", "pareto", "profile", "verify"])
def test_text_that_is_no_pin_is_refused_by_every_verb(verb: str, model: Path) -> None:
    target = ["-t", "cortex-m4"]
    with pytest.raises(UsageError, match="expected LAYER:DECISION=VALUE"):
        command(verb, str(model), *target, "--pin", "weights")
    with pytest.raises(UsageError, match="cannot read the pins in absent"):
        command(verb, str(model), *target, "--pin-file", "absent")


@pytest.mark.parametrize("verb", ["memory-report", "profile"])
def test_a_build_has_been_pinned_already(verb: str, tmp_path: Path) -> None:
    build = compiled().write(tmp_path / "build")
    with pytest.raises(UsageError, match="--pin and --pin-file are for"):
        command(verb, str(build), "--pin", pin())


@needs_unicorn
def test_the_first_diverging_tensor_is_found_in_a_pinned_network(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_network()
    conditions = verify_module.Conditions("cortex-m4", Profile.LITERT, "unicorn", pins=(pin(),))
    sample = [np.random.default_rng(1).integers(-128, 128, (1, 12, 12, 8)).astype(np.int8)]
    assert verify_module.first_divergence(network, conditions, sample) is None
    seen: list[tuple[str, ...]] = []
    compile_network = tinyc.Model.compile

    def recorded(self: tinyc.Model, *arguments: object, **options: object) -> Compiled:
        pins = options["pins"]
        assert isinstance(pins, tuple)
        seen.append(pins)
        return compile_network(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tinyc.Model, "compile", recorded)
    monkeypatch.setattr(verify_module, "evaluate", broken_evaluate)
    found = verify_module.first_divergence(network, conditions, sample)
    assert found is not None
    assert any(seen[1:])


def broken_evaluate(module: object, sample: object, profile: object, watch: object = None) -> object:
    """The interpreter, but each value is one too high from the last op back to the fourth: what a broken kernel would look like."""
    number = 0

    def shifted(op: object, array: np.ndarray) -> None:  # type: ignore[type-arg]
        nonlocal number
        number += 1
        watch(op, array + 1 if number > 3 else array)  # type: ignore[operator]

    return evaluate(module, sample, profile, shifted)  # type: ignore[arg-type]
