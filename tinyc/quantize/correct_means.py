"""Empirical bias correction (Nagel et al., ICCV 2019, section 4.2): takes out the mean error that is left in a layer's result.

The correction of rounded weights knows nothing of clipped and rounded activations, nor of what earlier layers left. Here the quantised
network runs on the calibration data, layer after layer in order, and each bias takes over the mean difference from the float network. Only
layers without an activation are corrected: behind one that clips, a mean error is not an error of the bias.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from tinyc.quantize.calibration import Calibration
from tinyc.quantize.graph import Graph
from tinyc.quantize.measure import MAX_SAMPLES, dequantised_names, first_samples
from tinyc.quantize.options import Progress
from tinyc.quantize.run_float import Runner

_MOST = np.iinfo(np.int32).max


def layer_results(graph: Graph) -> list[str]:
    """Names of the results of all convolutions and fully connected layers, in order."""
    return [node.output[0] for node in graph.nodes if node.op_type in ("Conv", "Gemm")]


def correct_means(reference: Graph, model: onnx.ModelProto, names: Collection[str], calibration: Calibration, progress: Progress) -> int:
    """Changes the int32 biases of the layers in `model` that make the tensors `names`; returns how many layers it changed.

    `reference` is the float network; tensors that `model` does not quantise, because an activation follows them, are left out.
    """
    pairs = dequantised_names(model)
    biases = _bias_tensors(model)
    wanted = [name for name in names if name in pairs and name in biases]
    if not wanted:
        return 0
    count = min(calibration.count, MAX_SAMPLES)
    expected = _channel_means(Runner(reference.model(), wanted), {name: name for name in wanted}, calibration, count)
    for index, name in enumerate(wanted):
        found = _channel_means(Runner(model, [pairs[name]]), {name: pairs[name]}, calibration, count)
        bias, scale = biases[name]
        steps = np.rint((expected[name] - found[name]) / scale.astype(np.float64))
        changed = np.clip(numpy_helper.to_array(bias) + steps, -_MOST, _MOST).astype(np.int32)
        bias.CopyFrom(numpy_helper.from_array(changed, bias.name))
        progress("correcting", index + 1, len(wanted))
    return len(wanted)


def _channel_means(runner: Runner, tensors: Mapping[str, str], calibration: Calibration, count: int) -> dict[str, NDArray[np.float64]]:
    """Mean over samples and positions for each channel of `tensors` (key: name in the runner)."""
    sums = dict[str, NDArray[np.float64]]()
    for feeds in first_samples(calibration, count):
        values = runner.run(feeds)
        for key, name in tensors.items():
            axes = (0, *range(2, values[name].ndim))
            mean = values[name].mean(axis=axes, dtype=np.float64)
            sums[key] = sums[key] + mean if key in sums else mean
    return {key: total / count for key, total in sums.items()}


def _bias_tensors(model: onnx.ModelProto) -> dict[str, tuple[onnx.TensorProto, NDArray[np.float32]]]:
    """By the float name of a layer's result: its int32 bias and its scales, where no other layer reads them."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    plain = {node.input[0]: name for name, output in dequantised_names(model).items() for node in [makers[makers[output].input[0]]]}
    uses = [makers[node.input[2]].input[0] for node in model.graph.node if node.op_type in ("Conv", "Gemm") and len(node.input) > 2]
    found = {}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3 or node.output[0] not in plain:
            continue
        maker = makers[node.input[2]]
        if maker.op_type == "DequantizeLinear" and maker.input[0] in constants and uses.count(maker.input[0]) == 1:
            found[plain[node.output[0]]] = (constants[maker.input[0]], numpy_helper.to_array(constants[maker.input[1]]))
    return found
