"""`tinyc quantize`: float ONNX to int8 ONNX."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import Any

import click

from tinyc.cli.files import write_file
from tinyc.cli.options import parse_shapes
from tinyc.cli.quantize_options import progress_bar, quantize_options, take_quantize_options
from tinyc.errors import UsageError
from tinyc.quantize.measure import loss_table
from tinyc.quantize.post_training import Quantized, quantize_file

DEFAULT_ROWS = 10


@click.command("quantize")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--calibration", type=click.Path(path_type=Path), help="npz archive with typical inputs, one array (N, ...) for each input.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="ONNX file to write.")
@quantize_options
@click.option(
    "--rows", type=click.IntRange(min=0), default=DEFAULT_ROWS, show_default=True, help="Layers to list, worst first; 0 lists all."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def quantize_command(
    model: Path, calibration: Path | None, output: Path, shapes: tuple[str, ...], rows: int, as_json: bool, **arguments: Any
) -> None:
    """Quantise the float ONNX network MODEL to int8, with activation ranges from calibration data.

    Weights get one scale for each output channel, activations one for each tensor. The result is standard ONNX with QuantizeLinear and
    DequantizeLinear, which ONNX Runtime runs and `tinyc compile` takes. The table shows how much each layer loses (signal to quantisation
    noise on up to 32 samples; below about 10 dB little is left).
    """
    options = take_quantize_options(arguments, compare=True)
    fixed = parse_shapes(shapes)
    if output.resolve() == model.resolve():
        raise UsageError("the output is the model itself; choose another file")
    with progress_bar() as progress:
        result = quantize_file(model, calibration, options, shapes=fixed, progress=progress)
    write_file(result.model.SerializeToString(deterministic=True), output)
    if as_json:
        click.echo(json.dumps(_facts(result), indent=2))
        return
    assert result.loss is not None
    click.echo(loss_table(result.loss.layers, rows or None))
    if result.loss.same_top is not None:
        click.echo(f"same top class    {100 * result.loss.same_top:.1f} % of {result.loss.samples} samples")
    for note in result.notes:
        click.echo(f"note: {note}")
    click.echo(f"written           {output}")


def _facts(result: Quantized) -> dict[str, object]:
    assert result.loss is not None
    layers = [
        {
            "tensor": layer.tensor,
            "node": layer.node,
            "operator": layer.operator,
            # JSON has no infinity: null says that nothing was lost.
            "sqnr_db": layer.activation_sqnr if isfinite(layer.activation_sqnr) else None,
            "weight_sqnr_db": layer.weight_sqnr if layer.weight_sqnr is not None and isfinite(layer.weight_sqnr) else None,
        }
        for layer in result.loss.layers
    ]
    return {"samples": result.loss.samples, "same_top": result.loss.same_top, "layers": layers, "notes": list(result.notes)}
