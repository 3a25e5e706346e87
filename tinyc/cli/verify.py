"""`tinyc verify`: is the C right?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from tinyc.api import find_target
from tinyc.cli.options import (
    banks_option,
    note_approximate,
    numerics_option,
    onnx_options,
    parse_shapes,
    pin_options,
    read_pins,
    stream_input_option,
    target_options,
)
from tinyc.driver.budgets import OPTIMIZE
from tinyc.errors import UsageError
from tinyc.runners import RUNNERS
from tinyc.toolchains import TOOLCHAINS
from tinyc.verify import verify


@click.command("verify")
@click.argument("model", type=click.Path(path_type=Path))
@target_options
@numerics_option
@onnx_options
@banks_option
@click.option("--runner", type=click.Choice(list(RUNNERS)), help="Where the C runs.  [default: qemu, on target host: host]")
@click.option("--toolchain", type=click.Choice(list(TOOLCHAINS)), help="Compiler for the emulators.  [default: gcc if installed, else zig]")
@click.option("--optimize", type=click.Choice(OPTIMIZE), default=OPTIMIZE[0], show_default=True, help="As for `tinyc compile`.")
@click.option("--samples", type=click.IntRange(min=1), help="Number of random inputs.  [default: 2]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random inputs.")
@click.option("--input", "input_file", type=click.Path(path_type=Path), help="npz archive with input_0, ..., instead of random inputs.")
@click.option("--keep-float-io", is_flag=True, help="Verify the network with its float32 boundary.")
@stream_input_option
@pin_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify_command(
    model: Path,
    target_name: str | None,
    target_file: Path | None,
    numerics: str | None,
    shapes: tuple[str, ...],
    layout: str,
    approximate: bool,
    banks: str | None,
    runner: str | None,
    toolchain: str | None,
    optimize: str,
    samples: int | None,
    seed: int,
    input_file: Path | None,
    keep_float_io: bool,
    stream_input: bool,
    pins: tuple[str, ...],
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Compile MODEL, run the C in an emulator, and compare every output byte with the interpreter.

    Where they are installed, also with ai-edge-litert (TFLite files) and ONNX Runtime (ONNX files).

    A network with approximate layers (see --approximate) is held against ONNX Runtime too, but only told by how much it differs.

    On a mismatch the first diverging tensor is named, where and by how much, and the exit code is 1.
    """
    if samples is not None and input_file is not None:
        raise UsageError("--samples and --input exclude each other")
    target = find_target(target_name, target_file)
    result = verify(
        model,
        target,
        numerics=numerics,
        runner=runner if runner is not None else ("host" if target.is_host else "qemu"),
        toolchain=toolchain,
        optimize=optimize,
        samples=samples if samples is not None else 2,
        seed=seed,
        input_file=input_file,
        keep_float_io=keep_float_io,
        stream_input=stream_input,
        shapes=parse_shapes(shapes) or None,
        layout=layout,
        approximate=approximate,
        banks=banks,
        pins=read_pins(pins, pin_file),
    )
    note_approximate(result.approximate_layers)
    if as_json:
        facts = {
            "equal": True,
            "samples": result.samples,
            "outputs_compared": result.outputs_compared,
            "references": list(result.references),
            "instructions": result.run.instructions,
            "notes": list(result.notes),
            "approximate_layers": list(result.approximate_layers),
        }
        click.echo(json.dumps(facts, indent=2))
        return
    counted = "" if result.run.instructions is None else f"; {result.run.instructions:,} instructions an inference"
    against = " and ".join(result.references)
    click.echo(f"equal: {result.outputs_compared} output values of {result.samples} samples, against {against}{counted}")
    for note in result.notes:
        click.echo(f"note: {note}")
