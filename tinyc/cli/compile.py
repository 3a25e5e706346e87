"""`tinyc compile`: a model to a folder of C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tinyc.api import Model, find_target, limited, load, load_quantized
from tinyc.cli.options import (
    approximate_option,
    banks_option,
    budget_options,
    explain_options,
    layout_option,
    note_approximate,
    numerics_option,
    parse_shapes,
    print_explanation,
    read_pins,
    stream_input_option,
    target_options,
)
from tinyc.cli.pass_options import pass_options, take_pass_options
from tinyc.cli.quantize_options import progress_bar, quantize_options, take_quantize_options
from tinyc.driver.pipeline import CompileOptions, core_form, pipeline
from tinyc.errors import UsageError
from tinyc.ir.text import print_module
from tinyc.passes.fold_constants import profile_of
from tinyc.passes.manager import run_passes, timing_table
from tinyc.passes.registry import insert_passes
from tinyc.quantize.options import QuantizeOptions
from tinyc.report.text import summary_lines
from tinyc.targets.banks import parse_banks


@click.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@target_options
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--name", help="Prefix of all C names and file names.  [default: from the model's file name]")
@numerics_option
@layout_option
@approximate_option
@budget_options
@banks_option
@click.option("--keep-float-io", is_flag=True, help="Keep QUANTIZE and DEQUANTIZE at a float32 boundary; the default is int8 in and out.")
@stream_input_option
@click.option("-p", "--passes", help="Pass pipeline instead of the default one, e.g. 'a,b{option=value}'; see `tinyc passes`.")
@click.option(
    "--planner",
    type=click.Choice(["greedy", "exact"]),
    default="greedy",
    show_default=True,
    help="What places the buffers; exact proves the optimum, with OR-Tools.",
)
@click.option("--no-measure", is_flag=True, help="Do not ask arm-none-eabi-gcc for code and stack bytes.")
@explain_options
@click.option("--calibration", type=click.Path(path_type=Path), help="Quantise the float ONNX model with this npz archive of inputs first.")
@quantize_options
@pass_options
def compile_command(
    model: Path,
    target_name: str | None,
    target_file: Path | None,
    folder: Path,
    name: str | None,
    numerics: str | None,
    shapes: tuple[str, ...],
    layout: str,
    approximate: bool,
    ram_bytes: int | None,
    flash_bytes: int | None,
    optimize: str | None,
    banks: str | None,
    keep_float_io: bool,
    stream_input: bool,
    passes: str | None,
    planner: str,
    no_measure: bool,
    explain: bool,
    as_json: bool,
    pins: tuple[str, ...],
    pin_file: Path | None,
    calibration: Path | None,
    **arguments: Any,
) -> None:
    """Compile MODEL (int8 TFLite or ONNX) to C specialised to it and to one target.

    The folder then holds NAME.h, NAME.c, NAME_weights.c, the headers they need, CMakeLists.txt and report.json. With --stop-after the
    IR behind that pass is printed instead, and nothing is written.
    """
    if as_json and not explain:
        raise UsageError("--json prints what --explain has to say: give --explain too")
    target = limited(find_target(target_name, target_file), ram_bytes if banks is None else None, flash_bytes)
    options = take_pass_options(arguments)
    loaded = _load(model, calibration, take_quantize_options(arguments, compare=False), parse_shapes(shapes), layout, approximate)
    note_approximate(loaded.approximate_layers)
    if options.stop_after is not None:
        profile, spread = profile_of(numerics or loaded.default_numerics), parse_banks(banks, target) if banks is not None else ()
        core = core_form(target)
        choices = CompileOptions(profile, name, keep_float_io, passes, stream_input=stream_input, banks=spread, core=core)
        module = loaded.module.clone()
        run_passes(module, insert_passes(pipeline(choices), options.inserted()), options.instruments())
        click.echo(print_module(module, options.print_weights), nl=False)
        return
    with progress_bar() as progress:
        compiled = loaded.compile(
            target,
            numerics=numerics,
            name=name,
            keep_float_io=keep_float_io,
            passes=passes,
            measure=not no_measure,
            optimize=optimize or ("balanced" if ram_bytes is None else "speed"),
            planner=planner,
            stream_input=stream_input,
            banks=banks,
            ram_bytes=ram_bytes if banks is not None else None,
            pins=read_pins(pins, pin_file),
            insertions=options.inserted(),
            instruments=options.instruments(),
            progress=progress,
        )
    if options.timing:
        click.echo(timing_table(compiled.network.pass_times), err=True, nl=False)
    compiled.write(folder)
    click.echo("\n".join(summary_lines(compiled.report)), err=as_json)
    click.echo(f"written           {folder}", err=as_json)
    if explain:
        click.echo("", err=as_json)
        print_explanation(compiled.explanation, as_json)


def _load(
    model: Path,
    calibration: Path | None,
    options: QuantizeOptions,
    shapes: Mapping[str, Sequence[int]],
    layout: str,
    approximate: bool,
) -> Model:
    if calibration is None:
        if options != QuantizeOptions(compare=False):
            raise UsageError("--method, --percentile, --equalize and --no-correct-bias are for float models: give --calibration too")
        return load(model, shapes or None, layout, approximate)
    with progress_bar() as progress:
        return load_quantized(model, calibration, options, shapes or None, progress, layout, approximate)
