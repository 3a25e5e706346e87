"""How much each layer loses by quantisation: signal to quantisation noise, in decibels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf, log10

import numpy as np
import onnx
from numpy.typing import NDArray

from tinyc.quantize.calibration import Calibration
from tinyc.quantize.correct_bias import rounded_weights
from tinyc.quantize.graph import Graph, constant_input
from tinyc.quantize.options import Progress
from tinyc.quantize.run_float import Runner
from tinyc.quantize.supported import WEIGHTED

MAX_SAMPLES = 32
"""Samples that are compared; more change the second digit only."""


@dataclass(frozen=True)
class LayerLoss:
    """One tensor: the node that makes it, and 10 log10 of signal power over noise power.

    `activation_sqnr` compares the quantised network's value with the float network's, all earlier errors included; `weight_sqnr` is that of
    rounding the layer's weights, None without weights. Infinite where nothing is lost.
    """

    tensor: str
    node: str
    operator: str
    activation_sqnr: float
    weight_sqnr: float | None


@dataclass(frozen=True)
class Loss:
    """All layers, worst first.

    `same_top` is the share of samples whose largest output value is at the same index; None unless there is one output (1, classes).
    """

    layers: tuple[LayerLoss, ...]
    same_top: float | None
    samples: int


def measure_loss(graph: Graph, quantised: onnx.ModelProto, calibration: Calibration, progress: Progress) -> Loss:
    """Runs both networks on the first MAX_SAMPLES samples. `graph` is the float network as it was before quantisation."""
    pairs = dequantised_names(quantised)
    producers = graph.producers()
    names = [name for name in pairs if name in producers]
    before, after = Runner(graph.model(), names), Runner(quantised, [pairs[name] for name in names])
    signal, noise = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    agreeing, count = 0, min(calibration.count, MAX_SAMPLES)
    top = graph.outputs[0].name if len(graph.outputs) == 1 else ""
    for index, feeds in enumerate(first_samples(calibration, count)):
        expected, found = before.run(feeds), after.run(feeds)
        for name in names:
            real = expected[name].astype(np.float64)
            signal[name] += float((real**2).sum())
            noise[name] += float(((real - found[pairs[name]]) ** 2).sum())
        if top in expected:
            agreeing += int(expected[top].argmax() == found[pairs[top]].argmax())
        progress("comparing", index + 1, count)
    losses = [
        LayerLoss(
            name, producers[name].name, producers[name].op_type, decibels(signal[name], noise[name]), _weight_sqnr(graph, producers[name])
        )
        for name in names
    ]
    classifies = top in names and graph.shapes()[top][0] == 1 and len(graph.shapes()[top]) == 2
    worst_first = tuple(sorted(losses, key=lambda loss: loss.activation_sqnr))
    return Loss(worst_first, agreeing / count if classifies else None, count)


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise); infinite without noise, minus infinite with noise alone."""
    if noise == 0:
        return inf
    return 10 * log10(signal / noise) if signal > 0 else -inf


def dequantised_names(model: onnx.ModelProto) -> Mapping[str, str]:
    """For each activation that is quantised: its float name, and the name of the tensor behind QuantizeLinear and DequantizeLinear."""
    quantised = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    found = dict[str, str]()
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in quantised:
            found.setdefault(_plain(quantised[node.input[0]], model), node.output[0])
    return found


def _plain(name: str, model: onnx.ModelProto) -> str:
    """A network output's name moves behind its pair; what stands before it then has a suffix."""
    outputs = {value.name for value in model.graph.output}
    return next((output for output in outputs if name.startswith(output) and name in (f"{output}_QuantizeLinear_Input",)), name)


def _weight_sqnr(graph: Graph, node: onnx.NodeProto) -> float | None:
    weights = constant_input(graph, node, 1) if node.op_type in WEIGHTED else None
    if weights is None:
        return None
    rounded = rounded_weights(np.asarray(weights, np.float32))
    return decibels(float((weights.astype(np.float64) ** 2).sum()), float(((weights.astype(np.float64) - rounded) ** 2).sum()))


def first_samples(calibration: Calibration, count: int) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The first `count` samples."""
    return islice(calibration.feeds(), count)


def loss_table(layers: Sequence[LayerLoss], rows: int | None = None) -> str:
    """The layers as a table of at most `rows` rows, in the order given."""
    shown = list(layers if rows is None else layers[:rows])
    width = max([len("tensor"), *(min(len(layer.tensor), 48) for layer in shown)])
    lines = [f"{'tensor':{width}}  {'operator':18}  {'SQNR dB':>8}  {'weights dB':>10}"]
    for layer in shown:
        weights = f"{layer.weight_sqnr:10.1f}" if layer.weight_sqnr is not None else " " * 9 + "-"
        lines.append(f"{_short(layer.tensor):{width}}  {layer.operator:18}  {layer.activation_sqnr:8.1f}  {weights}")
    if len(shown) < len(layers):
        lines.append(f"... and {len(layers) - len(shown)} more that lose less")
    return "\n".join(lines)


def _short(name: str, limit: int = 48) -> str:
    printable = "".join(character if character.isprintable() else "?" for character in name)
    return printable if len(printable) <= limit else "..." + printable[3 - limit :]
