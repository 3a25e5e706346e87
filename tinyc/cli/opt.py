"""`tinyc opt`: passes over IR text, as mlir-opt does it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from tinyc.cli.pass_options import pass_options, take_pass_options
from tinyc.driver.write import OutputError
from tinyc.errors import printable
from tinyc.frontends.load import load_model
from tinyc.ir.text import parse_module, print_module
from tinyc.passes.manager import run_passes, timing_table
from tinyc.passes.registry import insert_passes, parse_passes


@click.command("opt")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-p", "--passes", default="", help="Passes to run, e.g. 'canonicalize,fold-pad' or 'plan-memory{overlap=false}'.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the IR to this file instead of standard output.")
@pass_options
def opt_command(file: Path, passes: str, output: Path | None, **arguments: Any) -> None:
    """Read FILE (IR text, `-` for standard input, or a TFLite model), run passes, verify after each, print the IR.

    Text printed without --print-weights refers to constants by digest: passes that need their values refuse it.
    """
    options = take_pass_options(arguments)
    pipeline = insert_passes(parse_passes(passes), options.inserted())
    module = parse_module(sys.stdin.read(), "<stdin>") if str(file) == "-" else load_model(file)
    times = run_passes(module, pipeline, options.instruments())
    if options.timing:
        click.echo(timing_table(times), err=True, nl=False)
    text = print_module(module, options.print_weights)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {printable(output)}: {error.strerror}") from error
