"""`tinyc opt`: passes over IR text, as mlir-opt does it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tinyc.cli.options import ir_printer, pass_options
from tinyc.driver.write import OutputError
from tinyc.errors import printable
from tinyc.frontends.load import load_model
from tinyc.ir.text import parse_module, print_module
from tinyc.passes.manager import run_passes, timing_table
from tinyc.passes.registry import parse_passes


@click.command("opt")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-p", "--passes", default="", help="Passes to run, e.g. 'canonicalize,fold-pad' or 'plan-memory{overlap=false}'.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the IR to this file instead of standard output.")
@pass_options
def opt_command(file: Path, passes: str, output: Path | None, print_ir_after_all: bool, print_weights: bool, timing: bool) -> None:
    """Read FILE (IR text, `-` for standard input, or a TFLite model), run passes, verify after each, print the IR.

    Text printed without --print-weights refers to constants by digest: passes that need their values refuse it.
    """
    module = parse_module(sys.stdin.read(), "<stdin>") if str(file) == "-" else load_model(file)
    times = run_passes(module, parse_passes(passes), ir_printer(print_ir_after_all, print_weights))
    if timing:
        click.echo(timing_table(times), err=True, nl=False)
    text = print_module(module, print_weights)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {printable(output)}: {error.strerror}") from error
