"""Options and progress of quantisation, for the verbs that quantise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from tinyc.errors import UsageError
from tinyc.quantize.options import METHODS, Progress, QuantizeOptions, no_progress

Decorated = Callable[..., Any]
_BAR_CELLS = 30


def quantize_options(command: Decorated) -> Decorated:
    """`--method`, `--percentile`, `--equalize`, `--[no-]correct-bias` and `--shape`; `take_quantize_options` reads them."""
    for option in (
        click.option(
            "--shape", "shapes", multiple=True, metavar="INPUT=1,C,H,W", help="Shape of an input with free dimensions; may be repeated."
        ),
        click.option(
            "--correct-bias/--no-correct-bias",
            default=True,
            show_default=True,
            help="Take the mean error of rounded weights out of the biases.",
        ),
        click.option("--equalize", is_flag=True, help="Scale channels between neighbouring layers so that their weight ranges are equal."),
        click.option(
            "--percentile",
            type=float,
            show_default=f"{QuantizeOptions.percentile}",
            help="Per cent of values that --method percentile covers.",
        ),
        click.option("--method", type=click.Choice(METHODS), default="minmax", show_default=True, help="How activation ranges are chosen."),
    ):
        command = option(command)
    return command


def take_quantize_options(arguments: Mapping[str, Any], compare: bool) -> QuantizeOptions:
    """What the user chose; `compare` asks for the loss of each layer. Raises UsageError."""
    method, percentile = arguments["method"], arguments["percentile"]
    if percentile is not None and method != "percentile":
        raise UsageError("--percentile is for --method percentile")
    chosen = QuantizeOptions.percentile if percentile is None else percentile
    return QuantizeOptions(method, chosen, arguments["equalize"], arguments["correct_bias"], compare)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A function that draws progress on standard error where that is a terminal; the line is gone at the end."""
    drawn = ""

    def draw(action: str, done: int, total: int) -> None:
        nonlocal drawn
        filled = _BAR_CELLS * done // max(total, 1)
        line = f"{action:12} [{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {done}/{total}"
        if line != drawn:
            sys.stderr.write(f"\r{line:{len(drawn)}}")
            sys.stderr.flush()
            drawn = line

    try:
        yield draw if sys.stderr.isatty() else no_progress
    finally:
        if drawn:
            sys.stderr.write(f"\r{'':{len(drawn)}}\r")
            sys.stderr.flush()
