"""--explain and --pin: every choice is told with its alternatives, a pinned one is made, and the C still computes the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from support.network_builder import NetworkBuilder
from tinyc.api import Compiled, Model, run
from tinyc.cli.main import cli, run_cli
from tinyc.errors import PassError, UsageError
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.text import print_module
from tinyc.numerics.profile import Profile
from tinyc.passes.pins import DECISIONS
from tinyc.report.choices import explanation_json, explanation_text
from tinyc.runners import random_inputs, read_description
from tinyc.toolchains.arm import find_arm_toolchain


@cache
def chosen_network() -> Model:
    """Something to choose of every kind: streams, whole tensors, wide and narrow rows, layers for Winograd's filtering."""
    builder = NetworkBuilder(3)
    value = builder.input((1, 12, 12, 8))
    wide = builder.depthwise(builder.conv(value, 40))
    value = builder.add(value, builder.conv(wide, 8))
    value = builder.conv(value, 16, (3, 3), pads=(1, 1, 1, 1))
    value = builder.conv(value, 16, (3, 3), (2, 2), (0, 0, 1, 1))
    value = builder.conv(value, 16, (3, 3), pads=(1, 1, 1, 1))
    value = builder.depthwise(builder.conv(value, 16))
    return Model("chosen", builder.finish(builder.conv(builder.conv(value, 20), 12)))


@cache
def compiled(*pins: str, optimize: str = "balanced", numerics: str = "litert") -> Compiled:
    return chosen_network().compile("cortex-m4", measure=False, pins=pins, optimize=optimize, numerics=numerics)


def layer_with(decision: str, *, optimize: str = "balanced") -> str:
    return next(choice.layer for choice in compiled(optimize=optimize).explanation.choices if choice.decision == decision)


def pins_to_try() -> Iterator[str]:
    """Of every decision each value that was not taken for the first layer that has the choice; numbers: the least and the greatest."""
    for decision, known in DECISIONS.items():
        choice = next(entry for entry in compiled().explanation.choices if entry.decision == decision)
        others = [entry.value for entry in choice.alternatives if not entry.taken]
        yield from (f"{choice.layer}:{decision}={value}" for value in (others if known.values else sorted({others[0], others[-1]})))


PINS = tuple(pins_to_try())


def needs_emulator() -> None:
    pytest.importorskip("unicorn")
    try:
        find_arm_toolchain()
    except Exception as error:
        pytest.skip(f"no compiler for ARM: {error}")


def assert_exact(network: Compiled, folder: Path, numerics: str = "litert") -> None:
    """The C in an emulated Cortex-M4 against the interpreter, value by value."""
    build = network.write(folder / "build")
    inputs = random_inputs(read_description(build), 1, 7)
    outputs = run(build, "unicorn", inputs).outputs
    expected = evaluate(chosen_network().module, [value[0] for value in inputs.values()], Profile(numerics))
    np.testing.assert_array_equal(outputs["output_0"][0], expected[0])


def test_the_network_has_a_choice_of_every_kind() -> None:
    assert {pin.partition(":")[2].partition("=")[0] for pin in PINS} == set(DECISIONS)
    assert {"winograd=two-rows", "code=compact", "weights=int16", "planes=on"} <= {
        f"{choice.decision}={entry.value}" for choice in compiled().explanation.choices for entry in choice.alternatives
    }


@pytest.mark.parametrize("pin", PINS)
def test_a_pinned_choice_is_made_and_said_and_the_c_is_exact(pin: str, tmp_path: Path) -> None:
    needs_emulator()
    layer, _, rest = pin.partition(":")
    decision, _, value = rest.partition("=")
    network = compiled(pin)
    choice = next(entry for entry in network.explanation.of(layer) if entry.decision == decision)
    assert choice.pinned
    assert choice.taken.value == value
    assert choice.taken.reason == "pinned"
    assert_exact(network, tmp_path)


@pytest.mark.parametrize("numerics", ["litert", "tflm"])
def test_size_is_exact_and_smaller(numerics: str, tmp_path: Path) -> None:
    needs_emulator()
    small = compiled(optimize="size", numerics=numerics)
    assert_exact(small, tmp_path, numerics)
    assert "target_compile_options(chosen PRIVATE -Os)" in small.files["CMakeLists.txt"]
    assert json.loads(small.files["report.json"])["optimization"] == "-Os"
    kernels = {layer.kernel for layer in small.explanation.layers if layer.op in ("CONV_2D", "DEPTHWISE_CONV_2D")}
    assert all(kernel.endswith("_compact") for kernel in kernels)
    assert len(small.files["chosen.c"]) < len(compiled(numerics=numerics).files["chosen.c"])


def test_a_layer_can_keep_its_own_code_in_a_network_for_size(tmp_path: Path) -> None:
    needs_emulator()
    layer = layer_with("code", optimize="size")
    network = compiled(f"{layer}:code=specialised", optimize="size")
    families = {entry.name: entry.kernel for entry in network.explanation.layers}
    assert not families[layer].endswith("_compact")
    assert any(family.endswith("_compact") for family in families.values())
    assert_exact(network, tmp_path)


def test_several_pins_at_once_hold_together(tmp_path: Path) -> None:
    needs_emulator()
    winograd, rows = layer_with("winograd"), layer_with("rows")
    network = compiled(f"{winograd}:winograd=one-row", f"{rows}:rows=2", f"{rows}:weights=int16", optimize="ram")
    values = {(entry.layer, entry.decision): entry.taken.value for entry in network.explanation.choices}
    assert values[winograd, "winograd"] == "one-row"
    assert (values[rows, "rows"], values[rows, "weights"]) == ("2", "int16")
    assert_exact(network, tmp_path)


def test_what_is_printed_is_the_same_every_time_and_has_one_alternative_taken() -> None:
    first, second = (chosen_network().compile("cortex-m4", measure=False).explanation for _ in range(2))
    assert first == second
    assert explanation_json(first) == explanation_json(second)
    for choice in first.choices:
        assert sum(entry.taken for entry in choice.alternatives) == 1
        assert all(entry.reason for entry in choice.alternatives)
        assert choice.layer in {layer.name for layer in first.layers}


def test_the_text_has_a_line_for_what_was_taken_in_every_choice() -> None:
    explanation = compiled().explanation
    text = explanation_text(explanation)
    assert sum(line.startswith("  > ") for line in text.splitlines()) == len(explanation.choices)
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize(
    "pin",
    [
        "conv2d_1",
        "conv2d_1:weights",
        ":weights=int8",
        "conv2d_1:colour=red",
        "conv2d_1:weights=int4",
        "conv2d_1:columns=0",
        "conv2d_1:rows=x",
    ],
)
def test_text_that_is_no_pin_is_wrong_usage(pin: str) -> None:
    with pytest.raises(UsageError, match=r"cannot pin|expected LAYER"):
        compiled(pin)


def test_a_layer_that_is_not_there_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match=r"no layer conv2d_99; --explain prints"):
        compiled("conv2d_99:weights=int16")


def test_pins_that_contradict_each_other_are_wrong_usage() -> None:
    with pytest.raises(UsageError, match="contradict"):
        compiled("conv2d_1:weights=int16", "conv2d_1:weights=int8")


def test_a_pin_that_no_pass_looks_at_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="the pipeline has no plane-rings"):
        compiled("depthwise_conv2d_2:planes=on", optimize="size")


@pytest.mark.parametrize(
    ("pin", "reason"),
    [
        ("conv2d_1:winograd=on", "3x3 convolutions with stride 1"),
        ("add_4:weights=int16", "no convolution by im2col"),
        ("add_4:code=compact", "only convolutions and fully connected layers"),
        ("add_4:columns=4", "no convolution by im2col"),
        ("conv2d_1:rows=5", "whole tensors of several rows"),
        ("conv2d_10:rows=5", "5 does not divide 6 rows"),
        ("conv2d_1:columns=7", "columns must be"),
        ("conv2d_1:unroll=99", "1 to 32 pairs"),
        ("conv2d_5:planes=on", "streamed behind a convolution"),
        ("conv2d_5:in_place=on", "only a depthwise layer"),
        ("conv2d_5:unproved=shared", "only a depthwise layer"),
        ("add_4:code=shared", "several tiles"),
    ],
)
def test_a_pin_that_the_layer_cannot_have_is_refused_with_the_reason(pin: str, reason: str) -> None:
    with pytest.raises(PassError, match=reason) as caught:
        compiled(pin)
    assert str(caught.value).startswith(f"cannot pin {pin}: ")
    assert "\n" not in str(caught.value)


def model_file(folder: Path) -> Path:
    path = folder / "chosen.mlir"
    path.write_text(print_module(chosen_network().module, print_weights=True), encoding="utf-8")
    return path


def test_the_command_line_explains_as_text_and_as_json_and_reads_pins_from_a_file(tmp_path: Path) -> None:
    pins = tmp_path / "pins.txt"
    pins.write_text("# what was measured to be faster\nconv2d_1:weights=int8  # not worth it\n\n", encoding="utf-8")
    arguments = ["compile", str(model_file(tmp_path)), "-t", "cortex-m4", "--no-measure", "--explain", "--pin-file", str(pins)]
    text = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "a"), "--pin", "conv2d_5:winograd=off"], standalone_mode=True)
    assert text.exit_code == 0, text.output
    assert "written " in text.stdout
    assert "conv2d_5: CONV_2D, conv_3x3" in text.stdout
    answer = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "b"), "--json"], standalone_mode=True)
    data = json.loads(answer.stdout)
    assert "written " in answer.stderr
    layer = next(entry for entry in data["layers"] if entry["layer"] == "conv2d_1")
    weights = next(choice for choice in layer["choices"] if choice["decision"] == "weights")
    assert (weights["value"], weights["pinned"], weights["pass"]) == ("int8", True, "widen-weights")
    assert {"value", "taken", "reason", "cost", "flash_bytes", "ram_bytes"} == set(weights["alternatives"][0])


@pytest.mark.parametrize(("target", "unit"), [("cortex-m4", "instructions"), ("stm32h743", "est. cycles")])
def test_costs_have_the_unit_of_the_core_and_say_it(target: str, unit: str) -> None:
    explanation = chosen_network().compile(target, measure=False).explanation
    assert explanation.cost_unit == json.loads(explanation_json(explanation))["cost_unit"] == unit
    assert f"  {unit}" in explanation_text(explanation)
    others = {"instructions", "est. cycles"} - {unit}
    assert not any(other in entry.reason for choice in explanation.choices for entry in choice.alternatives for other in others)


def test_check_explains_without_writing(tmp_path: Path) -> None:
    model = model_file(tmp_path)
    result = CliRunner().invoke(cli, ["check", str(model), "-t", "cortex-m4", "--explain"], standalone_mode=True)
    assert result.exit_code == 0, result.output
    assert "conv2d_1: CONV_2D" in result.stdout
    assert sorted(tmp_path.iterdir()) == [model]


def test_exit_codes_tell_what_does_not_exist_from_what_does_not_apply(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", str(model_file(tmp_path)), "-t", "cortex-m4"]
    assert run_cli([*arguments, "--pin", "conv2d_1:weights=int4"]) == 2
    assert run_cli([*arguments, "--pin", "conv2d_99:weights=int8"]) == 2
    assert run_cli([*arguments, "--pin", "conv2d_1:winograd=on"]) == 1
    assert run_cli([*arguments, "--pin-file", str(tmp_path / "none.txt")]) == 2
    assert run_cli([*arguments, "--json"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 5
