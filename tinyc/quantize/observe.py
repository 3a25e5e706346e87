"""What the activations of a float network look like on calibration data, in memory that does not grow with the number of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinyc.quantize.calibration import Calibration
from tinyc.quantize.graph import Graph
from tinyc.quantize.options import Progress
from tinyc.quantize.run_float import Runner

BINS = 2048


@dataclass(frozen=True)
class Observed:
    """One tensor over all samples.

    `minimum` and `maximum` are float32 values that occurred; `counts` are BINS equal bins from minimum to maximum (all zero where no
    histogram was asked for); `channel_means` is the mean over samples and positions for each index of axis 1.
    """

    minimum: float
    maximum: float
    counts: NDArray[np.int64]
    channel_means: NDArray[np.float64]


def activation_names(graph: Graph) -> list[str]:
    """Inputs, and the results of all nodes."""
    return [value.name for value in graph.inputs] + [name for node in graph.nodes for name in node.output if name]


def observe(graph: Graph, calibration: Calibration, histograms: bool, progress: Progress) -> Mapping[str, Observed]:
    """Runs the float network over the data: once for ranges and means, once more where `histograms` are wanted.

    Raises ModelError where ONNX Runtime refuses the model.
    """
    names = activation_names(graph)
    runner = Runner(graph.model(), names)
    lows, highs = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf)
    sums = dict[str, NDArray[np.float64]]()
    for index, feeds in enumerate(calibration.feeds()):
        for name, values in runner.run(feeds).items():
            lows[name] = min(lows[name], float(values.min()))
            highs[name] = max(highs[name], float(values.max()))
            axes = (0, *range(2, values.ndim))
            mean = values.mean(axis=axes, dtype=np.float64) if values.ndim > 1 else np.zeros(0)
            sums[name] = sums[name] + mean if name in sums else mean
        progress("ranges", index + 1, calibration.count)
    counts = {name: np.zeros(BINS, np.int64) for name in names}
    if histograms:
        for index, feeds in enumerate(calibration.feeds()):
            for name, values in runner.run(feeds).items():
                if highs[name] > lows[name]:
                    counts[name] += np.histogram(values, BINS, (lows[name], highs[name]))[0]
            progress("histograms", index + 1, calibration.count)
    return {name: Observed(lows[name], highs[name], counts[name], sums[name] / calibration.count) for name in names}
