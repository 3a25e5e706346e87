"""`tinyc bench`: what your own networks take, side by side."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from tinyc.api import load
from tinyc.bench import Figures, bench_json, bench_text, measure_compiled
from tinyc.cli.options import banks_option, note_approximate, numerics_option, onnx_options, parse_shapes, pin_options, read_pins
from tinyc.driver.budgets import OPTIMIZE
from tinyc.errors import TinycError, UsageError, printable
from tinyc.passes.pins import parse_pins
from tinyc.targets import load_target, load_target_file

DEFAULT_TARGETS = ("cortex-m4", "cortex-m7")


@click.command("bench")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL...")
@click.option("-t", "--target", "target_names", metavar="NAME", multiple=True, help="Target; repeatable.  [default: cortex-m4, cortex-m7]")
@click.option("--target-file", "target_files", type=click.Path(path_type=Path), multiple=True, help="TOML file of a target; repeatable.")
@numerics_option
@onnx_options
@click.option("--optimize", type=click.Choice(OPTIMIZE), default=OPTIMIZE[0], show_default=True, help="As for `tinyc compile`.")
@banks_option
@pin_options
@click.option("--runner", type=click.Choice(["qemu", "unicorn"]), default="qemu", show_default=True, help="Where the C runs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_command(
    models: tuple[Path, ...],
    target_names: tuple[str, ...],
    target_files: tuple[Path, ...],
    numerics: str | None,
    shapes: tuple[str, ...],
    layout: str,
    approximate: bool,
    optimize: str,
    banks: str | None,
    pins: tuple[str, ...],
    pin_file: Path | None,
    runner: str,
    as_json: bool,
) -> None:
    """Compile each MODEL for each target, run one inference, and table instructions, RAM and flash.

    A model that is refused or does not fit is reported at the end; the others are measured all the same, and the exit code is that of the
    first refusal. --banks and --pin hold for each model on each target; one that has no such bank or layer is refused.
    """
    chosen = read_pins(pins, pin_file)
    parse_pins(chosen)
    targets = [load_target_file(path) for path in target_files] + [load_target(name) for name in target_names]
    targets = targets or [load_target(name) for name in DEFAULT_TARGETS]
    for target in targets:
        if target.is_host:
            raise UsageError("instructions cannot be counted on the host: give targets with a Cortex-M core")
    rows: list[Figures] = []
    layers: dict[Path, tuple[str, ...]] = {}
    problems: list[tuple[str, TinycError]] = []
    for model in models:
        for target in targets:
            label = f"{printable(model)} on {target.name}"
            if sys.stderr.isatty():
                click.echo(f"\r\x1b[K{label}", err=True, nl=False)
            try:
                loaded = load(model, parse_shapes(shapes) or None, layout, approximate)
                layers[model] = loaded.approximate_layers
                compiled = loaded.compile(target, numerics=numerics, optimize=optimize, banks=banks, pins=chosen)
                rows.append(measure_compiled(compiled, target, runner).figures)
            except TinycError as error:
                problems.append((label, error))
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
    for model in models:
        note_approximate(layers.get(model, ()), model)
    if as_json:
        refused = [{"what": label, "error": str(problem)} for label, problem in problems]
        click.echo(json.dumps({"measurements": bench_json(rows), "refused": refused}, indent=1))
    elif rows:
        click.echo(bench_text(rows), nl=False)
    for label, problem in problems:
        click.echo(f"error: {label}: {problem}", err=True)
    if problems:
        raise click.exceptions.Exit(problems[0][1].exit_code)
