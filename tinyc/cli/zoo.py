"""`tinyc zoo`: networks that can be had without a download."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click
import onnx

from tinyc.cli.files import write_file
from tinyc.cli.quantize_options import progress_bar
from tinyc.errors import UsageError
from tinyc.quantize.options import QuantizeOptions
from tinyc.quantize.post_training import quantize_arrays
from tinyc.zoo import count_network, make_network, networks, synthetic_inputs, tally

_CALIBRATION_SAMPLES = 16


@click.group("zoo")
def zoo_command() -> None:
    """List networks, and make one as an ONNX file."""


@zoo_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_command(as_json: bool) -> None:
    """List the networks with multiply-adds and parameters at their published settings."""
    rows = [(network, count_network(name)) for name, network in networks().items()]
    if as_json:
        facts = {
            network.name: {
                "title": network.title,
                "input": list(network.input_shape(network.defaults)),
                "macs": counted.macs,
                "parameters": counted.parameters,
                "options": sorted(network.adjustable),
            }
            for network, counted in rows
        }
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"{'name':22}  {'input':>11}  {'M MACs':>7}  {'parameters':>10}  what")
    for network, counted in rows:
        shape = "x".join(map(str, network.input_shape(network.defaults)))
        click.echo(f"{network.name:22}  {shape:>11}  {counted.macs / 1e6:7.2f}  {counted.parameters:10,}  {network.title}")


@zoo_command.command("make")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="ONNX file to write.")
@click.option("--float", "kind", flag_value="float", default="float", help="Float weights, as trained networks have them.  [default]")
@click.option("--int8", "kind", flag_value="int8", help="Quantised with synthetic calibration data.")
@click.option("--width", type=float, help="Factor for all channels (MobileNet and the detector).")
@click.option("--resolution", type=int, help="Pixels a side of the input image.")
@click.option("--classes", type=int, help="Number of classes.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random weights.")
@click.option("--weights", default="random", show_default=True, metavar="random|FILE.npz", help="Weights by tensor name.")
def make_command(
    name: str, output: Path, kind: str, width: float | None, resolution: int | None, classes: int | None, seed: int, weights: str
) -> None:
    """Write the network NAME as an ONNX file.

    The same arguments give the same bytes. The input is NCHW with batch 1. Without --weights the weights are random and the network's
    answers mean nothing, but its activations are spread as in a trained one.
    """
    archive = None if weights == "random" else Path(weights)
    if archive is not None and archive.suffix != ".npz":
        raise UsageError(f"--weights {weights}: expected random or an npz archive")
    model = make_network(name, width=width, resolution=resolution, classes=classes, seed=seed, weights=archive)
    counted = tally(model)
    write_file((_quantised(model, seed) if kind == "int8" else model).SerializeToString(deterministic=True), output)
    click.echo(f"{counted.macs / 1e6:.2f} M MACs, {counted.parameters:,} parameters")
    click.echo(f"written           {output}")


def _quantised(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    (value,) = model.graph.input
    shape = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim[1:]]
    # Another seed than the network's: its normalisations have seen those samples.
    samples = synthetic_inputs(shape, _CALIBRATION_SAMPLES, (seed + 1) % (1 << 32))
    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return quantize_arrays(path, {value.name: samples}, QuantizeOptions(compare=False), progress=progress).model
