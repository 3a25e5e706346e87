"""Post-training quantisation: a float ONNX file and calibration data to an int8 ONNX model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from tinyc.quantize.calibration import Calibration, check_calibration, read_calibration
from tinyc.quantize.choose_range import choose_range
from tinyc.quantize.correct_bias import correct_biases
from tinyc.quantize.correct_means import correct_means, layer_results
from tinyc.quantize.emit_qdq import emit_qdq
from tinyc.quantize.equalise import equalise, release_clips
from tinyc.quantize.fold_activations import fold_activations
from tinyc.quantize.fold_batch_norm import fold_batch_norms
from tinyc.quantize.fold_constants import fold_constants
from tinyc.quantize.fold_pads import fold_pads
from tinyc.quantize.graph import Graph
from tinyc.quantize.measure import Loss, measure_loss
from tinyc.quantize.observe import observe
from tinyc.quantize.options import Progress, QuantizeOptions, no_progress
from tinyc.quantize.read_float import read_float_model
from tinyc.quantize.run_float import require_onnxruntime
from tinyc.quantize.simplify import simplify
from tinyc.quantize.simplify_activations import simplify_activations
from tinyc.quantize.supported import check_supported


@dataclass(frozen=True)
class Quantized:
    """The int8 model, what was lost (None without `compare`), and what the optional steps did, in words."""

    model: onnx.ModelProto
    loss: Loss | None
    notes: tuple[str, ...]


def quantize_file(
    path: Path,
    calibration: Path | None,
    options: QuantizeOptions | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Progress = no_progress,
) -> Quantized:
    """Quantises the float model in the file `path` with the samples in the npz archive `calibration`.

    `shapes` fixes free input dimensions. Raises UsageError without calibration data, ModelError, UnsupportedError, and ToolError where ONNX
    Runtime is missing.
    """
    graph = prepare(read_float_model(path, shapes), str(path))
    return _quantize(graph, read_calibration(calibration, graph, str(path)), options or QuantizeOptions(), progress)


def quantize_arrays(
    path: Path,
    samples: Mapping[str, NDArray[np.generic]],
    options: QuantizeOptions | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Progress = no_progress,
) -> Quantized:
    """As `quantize_file`, with the samples as arrays (N, ...) by input name."""
    graph = prepare(read_float_model(path, shapes), str(path))
    return _quantize(graph, check_calibration(samples, graph, "the calibration data"), options or QuantizeOptions(), progress)


def prepare(graph: Graph, file: str) -> Graph:
    """Brings a float graph to the operators that can be quantised, in place; computes the same function. Raises UnsupportedError."""
    # Absurd weights overflow when they are folded; check_supported finds the result.
    with np.errstate(all="ignore"):
        fold_constants(graph)
        simplify_activations(graph)
        simplify(graph)
        fold_constants(graph)
        fold_pads(graph)
        fold_batch_norms(graph)
    check_supported(graph, file)
    return graph


def _quantize(graph: Graph, calibration: Calibration, options: QuantizeOptions, progress: Progress) -> Quantized:
    require_onnxruntime()
    notes = list(calibration.notes())
    if options.equalise:
        released, left = release_clips(graph, observe(graph, calibration, False, progress))
        notes.append(f"pairs of layers equalised: {equalise(graph)}")
        if released:
            notes.append(f"clips whose upper bound the data never reaches, now ReLU: {released}")
        if left:
            notes.append(f"clips that stay and keep their layers as they are: {left}")
    needs_histograms = options.method != "minmax"
    observed = observe(graph, calibration, needs_histograms, progress)
    reference = Graph(graph.name, [_copy(node) for node in graph.nodes], dict(graph.constants), graph.inputs, graph.outputs, graph.opset)
    if options.correct_bias:
        notes.append(f"layers with a corrected bias: {correct_biases(graph, observed)}")
    layers = layer_results(graph)
    fold_activations(graph)
    # Seconds for a network with many channels, in one call of ONNX Runtime.
    progress("rounding", 0, 1)
    ranges = {name: choose_range(values, options) for name, values in observed.items()}
    model = emit_qdq(graph, ranges)
    if options.correct_bias:
        notes.append(f"layers with a corrected mean: {correct_means(reference, model, layers, calibration, progress)}")
    loss = measure_loss(reference, model, calibration, progress) if options.compare else None
    return Quantized(model, loss, tuple(notes))


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied
