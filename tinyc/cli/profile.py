"""`tinyc profile`: where the instructions of an inference go."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

from tinyc.api import find_target, load
from tinyc.cli.memory_report import read_report
from tinyc.cli.options import note_approximate, numerics_option, onnx_options, parse_shapes, pin_options, read_pins, target_options
from tinyc.driver.budgets import OPTIMIZE
from tinyc.errors import UsageError
from tinyc.profile import profile_build
from tinyc.report.profile import ProfileReport
from tinyc.report.profile_text import profile_csv, profile_text
from tinyc.runners import load_inputs, random_inputs, read_description


@click.command("profile")
@click.argument("model_or_build", type=click.Path(path_type=Path))
@target_options
@numerics_option
@onnx_options
@click.option("--optimize", type=click.Choice(OPTIMIZE), help=f"As for `tinyc compile`; for a model only.  [default: {OPTIMIZE[0]}]")
@pin_options
@click.option("--input", "input_path", type=click.Path(path_type=Path), help="npz archive with input_0, ...; the last sample is profiled.")
@click.option("--seed", type=click.IntRange(min=0), help="Without --input: seed of the one random sample.  [default: 0]")
@click.option("--format", "style", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True, help="How to print it.")
def profile_command(
    model_or_build: Path,
    target_name: str | None,
    target_file: Path | None,
    numerics: str | None,
    shapes: tuple[str, ...],
    layout: str,
    approximate: bool,
    optimize: str | None,
    pins: tuple[str, ...],
    pin_file: Path | None,
    input_path: Path | None,
    seed: int | None,
    style: str,
) -> None:
    """Count the instructions of every layer in one inference, exactly, and estimate their cycles and milliseconds.

    MODEL_OR_BUILD is a model, which is compiled for the target without leaving anything, or a folder that `tinyc compile` wrote. Needs
    arm-none-eabi-gcc and Unicorn.
    """
    if input_path is not None and seed is not None:
        raise UsageError("--input and --seed exclude each other")
    if model_or_build.is_dir():
        report = read_report(model_or_build)
        if target_file is not None or target_name not in (None, report.target):
            raise UsageError(f"that build is for {report.target}; give the model to profile it on another target")
        if optimize is not None or numerics is not None or approximate:
            raise UsageError("--optimize, --numerics and --approximate are for models; a build has been compiled already")
        if pins or pin_file is not None:
            raise UsageError("--pin and --pin-file are for models; a build has been compiled already")
        _print(_profiled(model_or_build, input_path, seed), style)
        return
    target = find_target(target_name, target_file)
    loaded = load(model_or_build, parse_shapes(shapes) or None, layout, approximate)
    note_approximate(loaded.approximate_layers)
    chosen = read_pins(pins, pin_file)
    compiled = loaded.compile(target, numerics=numerics, optimize=optimize or OPTIMIZE[0], measure=False, pins=chosen)
    with tempfile.TemporaryDirectory(prefix="tinyc-profile-") as folder:
        result = _profiled(compiled.write(Path(folder) / "build"), input_path, seed)
    _print(result, style)


def _profiled(build: Path, input_path: Path | None, seed: int | None) -> ProfileReport:
    inputs = load_inputs(input_path) if input_path is not None else random_inputs(read_description(build), 1, seed or 0)
    return profile_build(build, inputs)


def _print(report: ProfileReport, style: str) -> None:
    if style == "json":
        click.echo(json.dumps(report.to_json(), indent=1))
    else:
        click.echo(profile_csv(report) if style == "csv" else profile_text(report), nl=False)
