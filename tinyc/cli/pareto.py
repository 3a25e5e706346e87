"""`tinyc pareto`: what RAM buys in instructions."""

from __future__ import annotations

from pathlib import Path

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
    target_options,
)
from tinyc.cli.quantize_options import progress_bar
from tinyc.driver.pareto import POINTS
from tinyc.report.curve import curve_json, curve_svg, curve_text


@click.command("pareto")
@click.argument("model", type=click.Path(path_type=Path))
@target_options
@numerics_option
@onnx_options
@banks_option
@pin_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="SVG file to draw the curve to.")
@click.option("--points", type=click.IntRange(min=2), default=POINTS, show_default=True, help="Points at most.")
@click.option(
    "--no-count", is_flag=True, help="Estimate the instructions instead of counting them in QEMU; cycles of Cortex-M7 are always estimated."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def pareto_command(
    model: Path,
    target_name: str | None,
    target_file: Path | None,
    numerics: str | None,
    shapes: tuple[str, ...],
    layout: str,
    approximate: bool,
    banks: str | None,
    pins: tuple[str, ...],
    pin_file: Path | None,
    output: Path | None,
    points: int,
    no_count: bool,
    as_json: bool,
) -> None:
    """Print peak RAM against instructions (Cortex-M7: estimated cycles) for MODEL on the target, from the least RAM to the fastest.

    Each point says the flag with which `tinyc compile` chooses it, beside the same --banks and --pin. Those with the least RAM may compute
    some layers twice.
    """
    loaded = load(model, parse_shapes(shapes) or None, layout, approximate)
    note_approximate(loaded.approximate_layers)
    with progress_bar() as progress:
        curve = loaded.pareto(
            find_target(target_name, target_file),
            numerics=numerics,
            points=points,
            count=not no_count,
            banks=banks,
            pins=read_pins(pins, pin_file),
            progress=progress,
        )
    if output is not None:
        write_file(curve_svg(curve).encode(), output)
    click.echo(curve_json(curve) if as_json else curve_text(curve), nl=False)
    if output is not None:
        click.echo(f"written           {output}", err=as_json)
