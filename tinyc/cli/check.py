"""`tinyc check`: will this network run on this part?"""

from __future__ import annotations

from pathlib import Path

import click

from tinyc.api import find_target, load
from tinyc.cli.options import (
    banks_option,
    explain_options,
    note_approximate,
    numerics_option,
    onnx_options,
    parse_shapes,
    print_explanation,
    read_pins,
    stream_input_option,
    target_options,
)
from tinyc.driver.check import CheckResult, grouped
from tinyc.errors import DoesNotFitError, UnsupportedError, UsageError, printable
from tinyc.report.text import summary_lines

_LINES = 12
"""Of a list, so that all fits one screen."""
_NAMES = 3


@click.command("check")
@click.argument("model", type=click.Path(path_type=Path))
@target_options
@numerics_option
@onnx_options
@stream_input_option
@banks_option
@explain_options
@click.pass_context
def check_command(
    context: click.Context,
    model: Path,
    target_name: str | None,
    target_file: Path | None,
    numerics: str | None,
    shapes: tuple[str, ...],
    layout: str,
    approximate: bool,
    stream_input: bool,
    banks: str | None,
    explain: bool,
    as_json: bool,
    pins: tuple[str, ...],
    pin_file: Path | None,
) -> None:
    """Say whether MODEL is supported, and what it needs on the target, without writing anything.

    Exit code 1 where something is not supported, 3 where the network does not fit.
    """
    if as_json and not explain:
        raise UsageError("--json prints what --explain has to say: give --explain too")
    target = find_target(target_name, target_file)
    try:
        loaded = load(model, parse_shapes(shapes) or None, layout, approximate)
        result = loaded.check(target, numerics=numerics, stream_input=stream_input, banks=banks, pins=read_pins(pins, pin_file))
    except UnsupportedError as error:
        click.echo("\n".join(refusal_lines(error)))
        context.exit(error.exit_code)
    note_approximate(loaded.approximate_layers)
    click.echo("\n".join(result_lines(result)), err=as_json)
    if explain:
        click.echo("", err=as_json)
        print_explanation(result.explanation, as_json)
    if result.problem is not None:
        context.exit(DoesNotFitError.exit_code)


def refusal_lines(error: UnsupportedError) -> list[str]:
    """One line or two for each reason."""
    lines = [f"not supported     {len(error.diagnostics)} node{'s' if len(error.diagnostics) != 1 else ''}"]
    groups = grouped(error.diagnostics)
    for refusal in groups[:_LINES]:
        first, nodes = refusal.first, ", ".join(printable(node, 40) for node in refusal.nodes[:_NAMES])
        more = f" and {len(refusal.nodes) - _NAMES} more" if len(refusal.nodes) > _NAMES else ""
        attribute = f" {printable(first.attribute)}:" if first.attribute else ""
        lines.append(f"  {printable(first.op)}:{attribute} {printable(first.reason)} ({nodes}{more})")
        if first.hint:
            lines.append(f"    hint: {printable(first.hint)}")
    return lines if len(groups) <= _LINES else [*lines, f"  and {len(groups) - _LINES} more reasons; tinyc compile lists all"]


def result_lines(result: CheckResult) -> list[str]:
    """Ops, needs and the verdict."""
    ops = ", ".join(f"{count} {title}" if count > 1 else title for title, count in result.ops)
    verdict = "yes" if result.problem is None else f"no: {result.problem}"
    return [f"supported         yes: {ops}", *summary_lines(result.report), f"fits              {verdict}"]
