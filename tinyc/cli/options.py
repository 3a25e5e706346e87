"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

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
