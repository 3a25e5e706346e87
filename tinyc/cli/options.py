"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from tinyc.errors import UsageError, printable
from tinyc.report.choices import Explanation, explanation_json, explanation_text
from tinyc.report.text import approximate_text

Decorated = Callable[..., Any]


def target_options(command: Decorated) -> Decorated:
    """`-t/--target NAME` and `--target-file FILE`."""
    command = click.option("--target-file", type=click.Path(path_type=Path), help="TOML file that describes a target of your own.")(command)
    return click.option("-t", "--target", "target_name", metavar="NAME", help="Target, see `tinyc targets`.")(command)


def numerics_option(command: Decorated) -> Decorated:
    """`--numerics`."""
    return click.option(
        "--numerics",
        type=click.Choice(["litert", "tflm", "onnxruntime"]),
        help="Whose arithmetic the C reproduces bit for bit: ai-edge-litert's, TensorFlow Lite Micro's or ONNX Runtime's.  "
        "[default: onnxruntime for an ONNX model, otherwise litert]",
    )(command)


def layout_option(command: Decorated) -> Decorated:
    """`--input-layout`."""
    return click.option(
        "--input-layout",
        "layout",
        type=click.Choice(["nhwc", "nchw"]),
        default="nhwc",
        show_default=True,
        help="Order of dimensions in which the C takes and gives the images of an ONNX model.",
    )(command)


def approximate_option(command: Decorated) -> Decorated:
    """`--approximate`."""
    return click.option(
        "--approximate",
        is_flag=True,
        help="Take layers of an ONNX model that ONNX Runtime computes in float32: by integer rules, with results that may differ from its.",
    )(command)


def note_approximate(layers: Sequence[str], model: Path | None = None) -> None:
    """Says on standard error which layers (of `model`, where there are several) are computed otherwise than in ONNX Runtime, if any."""
    if layers:
        of = f"{printable(model)}: " if model is not None else ""
        click.echo(f"note: {of}approximate: {approximate_text(layers)}", err=True)


def stream_input_option(command: Decorated) -> Decorated:
    """`--stream-input`."""
    return click.option(
        "--stream-input",
        is_flag=True,
        help="The C takes the image row by row (NAME_begin, NAME_push_row), so that no memory holds all of it.",
    )(command)


def banks_option(command: Decorated) -> Decorated:
    """`--banks`."""
    return click.option(
        "--banks",
        metavar="NAME=SIZE,...",
        help="RAM banks of the target to spread the buffers over, the fastest first, e.g. dtcm=64K,axi=256K; auto for all it has. "
        "The C then takes one arena for each bank.",
    )(command)


def onnx_options(command: Decorated) -> Decorated:
    """`--shape NAME=SIZES`, `--input-layout` and `--approximate`."""
    command = layout_option(approximate_option(command))
    return click.option(
        "--shape", "shapes", metavar="INPUT=1,C,H,W", multiple=True, help="Shape of an input of an ONNX model with free dimensions."
    )(command)


def parse_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes by input name from texts such as `image=1,3,96,96`. Raises UsageError."""
    shapes = {}
    for text in texts:
        name, equals, sizes = text.rpartition("=")
        parts = sizes.replace("x", ",").split(",")
        if not equals or not name or not all(part.isdecimal() and 0 < int(part) < 1 << 24 for part in parts):
            raise UsageError(f"expected NAME=SIZES such as image=1,3,96,96, got {printable(text)}")
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes, with K or M for 1024 and 1024 * 1024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes; a click error for anything else."""
        text = str(value)
        factor = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:].upper(), 1)
        digits = text[:-1] if factor > 1 else text
        if not digits.isdecimal() or not 0 < int(digits) * factor < 1 << 40:
            self.fail(f"{printable(text)} is no size such as 65536, 64K or 1M", param, ctx)
        return int(digits) * factor


def pin_options(command: Decorated) -> Decorated:
    """`--pin` and `--pin-file`; `read_pins` reads both."""
    command = click.option("--pin-file", type=click.Path(path_type=Path), help="Text file with a pin a line; # begins a comment.")(command)
    return click.option(
        "--pin", "pins", metavar="LAYER:CHOICE=VALUE", multiple=True, help="Make a choice that --explain prints; repeatable."
    )(command)


def explain_options(command: Decorated) -> Decorated:
    """`--explain`, `--json`, `--pin` and `--pin-file`."""
    command = pin_options(command)
    for option in (
        click.option("--explain", is_flag=True, help="Print what was chosen for each layer, the alternatives with their costs, and why."),
        click.option(
            "--json", "as_json", is_flag=True, help="With --explain: one JSON object on standard output, all else on standard error."
        ),
    ):
        command = option(command)
    return command


def read_pins(pins: Sequence[str], pin_file: Path | None) -> tuple[str, ...]:
    """The pins of the command line and of a file. Raises UsageError where the file cannot be read."""
    if pin_file is None:
        return tuple(pins)
    try:
        lines = pin_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read the pins in {printable(pin_file)}: {reason}") from error
    stripped = (line.partition("#")[0].strip() for line in lines)
    return (*(line for line in stripped if line), *pins)


def print_explanation(explanation: Explanation, as_json: bool) -> None:
    """Prints what was chosen."""
    click.echo(explanation_json(explanation) if as_json else explanation_text(explanation), nl=False)


def budget_options(command: Decorated) -> Decorated:
    """`--ram`, `--flash` and `--optimize`."""
    command = click.option(
        "--optimize",
        type=click.Choice(["speed", "ram", "balanced", "size"]),
        help="The fewest instructions that the RAM allows, the least RAM, hardly more RAM for most of the speed, or the least code.  "
        "[default: speed with --ram, otherwise balanced]",
    )(command)
    command = click.option("--flash", "flash_bytes", type=Size(), help="Flash that the network may use; default: the target's.")(command)
    return click.option("--ram", "ram_bytes", type=Size(), help="RAM that the network may use, e.g. 64K; default: the target's.")(command)
