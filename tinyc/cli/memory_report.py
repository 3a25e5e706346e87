"""`tinyc memory-report`: what a network needs, from a model or from a build folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from tinyc.api import find_target, load
from tinyc.cli.files import write_file
from tinyc.cli.options import (
    banks_option,
    note_approximate,
    numerics_option,
    onnx_options,
    parse_shapes,
    pin_options,
    read_pins,
    stream_input_option,
    target_options,
)
from tinyc.errors import ModelError, UsageError, printable
from tinyc.report.html import report_html
from tinyc.report.memory import MemoryReport, memory_report_from_json
from tinyc.report.text import report_csv, report_text


@click.command("memory-report")
@click.argument("model_or_build", type=click.Path(path_type=Path))
@target_options
@numerics_option
@onnx_options
@banks_option
@stream_input_option
@pin_options
@click.option(
    "--format", "style", type=click.Choice(["text", "json", "csv", "html"]), default="text", show_default=True, help="How to print it."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write instead of standard output.")
def memory_report_command(
    model_or_build: Path,
    target_name: str | None,
    target_file: Path | None,
    numerics: str | None,
    shapes: tuple[str, ...],
    layout: str,
    approximate: bool,
    banks: str | None,
    stream_input: bool,
    pins: tuple[str, ...],
    pin_file: Path | None,
    style: str,
    output: Path | None,
) -> None:
    """Show totals beside their limits, what holds the peak and what to change, every step, and a map of the arena over time.

    HTML is one file that needs no other and no network: in its map a buffer is found by pointing at it.

    MODEL_OR_BUILD is a model, which is compiled for the target without writing anything, or a folder that `tinyc compile` wrote.
    """
    if model_or_build.is_dir():
        if approximate:
            raise UsageError("--approximate is for models; that is a build folder")
        report = read_report(model_or_build)
        if banks is not None:
            raise UsageError("--banks is for compiling; give the model to see what it needs with it")
        if pins or pin_file is not None:
            raise UsageError("--pin and --pin-file are for compiling; give the model to see what it needs with them")
        if stream_input:
            raise UsageError("--stream-input is for compiling; give the model to see what it needs with it")
        if target_file is not None or target_name not in (None, report.target):
            raise UsageError(f"that build is for {report.target}; give the model to see what it needs on another target")
    else:
        loaded = load(model_or_build, parse_shapes(shapes) or None, layout, approximate)
        note_approximate(loaded.approximate_layers)
        target = find_target(target_name, target_file)
        chosen = read_pins(pins, pin_file)
        report = loaded.compile(target, numerics=numerics, stream_input=stream_input, banks=banks, pins=chosen).report
        remedies = loaded.remedies(report, target, numerics=numerics, stream_input=stream_input, banks=banks, pins=chosen)
        report = replace(report, remedies=remedies)
    text = _WRITERS[style](report)
    if output is None:
        click.echo(text, nl=False)
        return
    write_file(text.encode(), output)
    click.echo(f"written           {output}")


def _json_text(report: MemoryReport) -> str:
    return json.dumps(report.to_json(), indent=1) + "\n"


_WRITERS: Final[dict[str, Callable[[MemoryReport], str]]] = {
    "text": report_text,
    "json": _json_text,
    "csv": report_csv,
    "html": report_html,
}


def read_report(folder: Path) -> MemoryReport:
    """The report of a build folder. Raises ModelError where there is none."""
    path = folder / "report.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{printable(folder)} is not a build folder: cannot read report.json: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{printable(path)} is not JSON: {printable(error)}") from error
    return memory_report_from_json(data, printable(path))
