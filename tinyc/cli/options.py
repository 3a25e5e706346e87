"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tinyc.ir.text import print_module

Decorated = Callable[..., Any]


def target_options(command: Decorated) -> Decorated:
    """`-t/--target NAME` and `--target-file FILE`."""
    command = click.option("--target-file", type=click.Path(path_type=Path), help="TOML file that describes a target of your own.")(command)
    return click.option("-t", "--target", "target_name", metavar="NAME", help="Target, see `tinyc targets`.")(command)


def numerics_option(command: Decorated) -> Decorated:
    """`--numerics`."""
    return click.option(
        "--numerics",
        type=click.Choice(["litert", "tflm"]),
        default="litert",
        show_default=True,
        help="Whose arithmetic the C reproduces bit for bit: ai-edge-litert's, or TensorFlow Lite Micro's.",
    )(command)


def pass_options(command: Decorated) -> Decorated:
    """`--print-ir-after-all`, `--print-weights` and `--timing`."""
    command = click.option("--timing", is_flag=True, help="Print how long each pass took, to standard error.")(command)
    command = click.option("--print-weights", is_flag=True, help="Print constants in full wherever IR is printed.")(command)
    return click.option("--print-ir-after-all", is_flag=True, help="Print the IR after each pass, to standard error.")(command)


def ir_printer(enabled: bool, print_weights: bool) -> Callable[[Any, Any], None] | None:
    """What the pass manager calls after each pass."""
    if not enabled:
        return None

    def show(current: Any, module: Any) -> None:
        click.echo(f"// ----- IR after {current.name} -----\n{print_module(module, print_weights)}", err=True, nl=False)

    return show
