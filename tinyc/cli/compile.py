"""`tinyc compile`: a model to a folder of C."""

from __future__ import annotations

from pathlib import Path

import click

from tinyc.api import find_target, load
from tinyc.cli.options import ir_printer, numerics_option, pass_options, target_options
from tinyc.passes.manager import timing_table
from tinyc.report.text import summary_lines


@click.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@target_options
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--name", help="Prefix of all C names and file names.  [default: from the model's file name]")
@numerics_option
@click.option("--keep-float-io", is_flag=True, help="Keep QUANTIZE and DEQUANTIZE at a float32 boundary; the default is int8 in and out.")
@click.option("-p", "--passes", help="Pass pipeline instead of the default one, e.g. 'a,b{option=value}'; see `tinyc passes`.")
@click.option("--no-measure", is_flag=True, help="Do not ask arm-none-eabi-gcc for code and stack bytes.")
@pass_options
def compile_command(
    model: Path,
    target_name: str | None,
    target_file: Path | None,
    folder: Path,
    name: str | None,
    numerics: str,
    keep_float_io: bool,
    passes: str | None,
    no_measure: bool,
    print_ir_after_all: bool,
    print_weights: bool,
    timing: bool,
) -> None:
    """Compile MODEL (int8 TFLite) to C specialised to it and to one target.

    The folder then holds NAME.h, NAME.c, NAME_weights.c, the runtime headers they need, CMakeLists.txt and report.json.
    """
    target = find_target(target_name, target_file)
    compiled = load(model).compile(
        target,
        numerics=numerics,
        name=name,
        keep_float_io=keep_float_io,
        passes=passes,
        measure=not no_measure,
        after_pass=ir_printer(print_ir_after_all, print_weights),
    )
    if timing:
        click.echo(timing_table(compiled.network.pass_times), err=True, nl=False)
    compiled.write(folder)
    click.echo("\n".join(summary_lines(compiled.report)))
    click.echo(f"written           {folder}")
