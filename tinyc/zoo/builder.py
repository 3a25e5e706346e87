"""Builds float ONNX networks layer by layer, with random weights that behave like trained ones.

Weights are drawn after He et al. (ICCV 2015); depthwise filters are smooth bumps with noise, as training makes them, and not noise
alone, which would mostly cancel. Normalisations in front of a ReLU shift upwards, and those at the end of a residual branch damp it:
without these, every layer would lose part of the signal, and small errors would grow with depth as they do in no trained network.

The statistics of each batch normalisation are those of its real input: the builder carries a batch of synthetic samples through the
network as it grows, so that no activation dies and no range explodes, however deep the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, prod, sqrt
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from tinyc.zoo.sample_arithmetic import Sample, convolve, max_pool, rounded
from tinyc.zoo.synthetic import synthetic_inputs

OPSET = 17
_IR_VERSION = 8
_IMAGES = 4
_VECTORS = 64
"""Samples for the statistics. An image has many positions for each channel, a vector one for each feature."""
_SAMPLE_SIDE = 64
"""Larger images are sampled at this size: statistics hardly depend on it, time does."""

Pads = tuple[int, int, int, int]


@dataclass(frozen=True)
class Feature:
    """A tensor of the growing network: its ONNX name, and what it holds for the samples (batch, channels, ...)."""

    name: str
    sample: Sample

    @property
    def channels(self) -> int:
        """Length of the channel axis."""
        return int(self.sample.shape[1])


def same_pads(size: tuple[int, int], kernel: tuple[int, int], stride: int) -> Pads:
    """TensorFlow's SAME padding: the output has ceil(size / stride) rows and columns, an odd pixel goes to the bottom and the right."""
    totals = [max((-(-length // stride) - 1) * stride + taps - length, 0) for length, taps in zip(size, kernel, strict=True)]
    return totals[0] // 2, totals[1] // 2, totals[0] - totals[0] // 2, totals[1] - totals[1] // 2


class NetworkBuilder:
    """A network under construction; methods append nodes and return the new feature."""

    def __init__(self, name: str, shape: Sequence[int], seed: int, epsilon: float = 1e-5, structure_only: bool = False) -> None:
        """`shape` is that of one input without batch; `seed` decides all weights; `epsilon` is that of the batch normalisations.

        With `structure_only` all weights are 0 and nothing is sampled: much faster, and enough to count.
        """
        self._name, self._shape, self._epsilon = name, tuple(shape), epsilon
        self._random = np.random.RandomState(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, NDArray[np.generic]] = {}
        sampled = (shape[0], *(min(side, _SAMPLE_SIDE) for side in shape[1:]))
        self._structure_only = structure_only
        # An empty batch has the shapes of a full one, and costs nothing.
        count = 0 if structure_only else _IMAGES if len(shape) == 3 else _VECTORS
        samples = np.asarray(synthetic_inputs(sampled, count, seed), np.float64)
        self.input = Feature("input", samples)

    def convolution(
        self,
        source: Feature,
        channels: int,
        kernel: int | tuple[int, int],
        stride: int,
        label: str,
        *,
        pads: Pads | None = None,
        depthwise: bool = False,
        activation: str | None = None,
        normalise: bool = True,
        damped: bool = False,
    ) -> Feature:
        """Convolution, batch normalisation (or a bias) and activation; the default padding is half the kernel on every side.

        `damped` says that the result ends a residual branch.
        """
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        around = pads if pads is not None else (height // 2, width // 2, height // 2, width // 2)
        groups = source.channels if depthwise else 1
        weights = self._draw((channels, source.channels // groups, height, width), label, bump=depthwise)
        names = [source.name, f"{label}.weight"]
        sample = convolve(source.sample, weights, stride, around, groups)
        if not normalise:
            names.append(self._store(f"{label}.bias", self._random.normal(0, 0.1, channels)))
            sample = sample + self._weights[f"{label}.bias"].astype(np.float64).reshape(1, -1, 1, 1)
        self._node("Conv", names, f"{label}.conv", kernel_shape=[height, width], strides=[stride, stride], pads=list(around), group=groups)
        result = Feature(f"{label}.conv", sample)
        if normalise:
            result = self._normalise(result, label, rectified=activation is not None, damped=damped)
        return self.activation(result, activation, label)

    def dense(self, source: Feature, outputs: int, label: str, *, activation: str | None = None, normalise: bool = False) -> Feature:
        """Fully connected layer on (batch, features), with bias."""
        weights = self._draw((outputs, source.channels), label, gain=1.0)
        bias = self._store(f"{label}.bias", self._random.normal(0, 0.1, outputs))
        self._node("Gemm", [source.name, f"{label}.weight", bias], f"{label}.dense", transB=1)
        result = Feature(f"{label}.dense", source.sample @ weights.T + self._weights[bias].astype(np.float64))
        if normalise:
            result = self._normalise(result, label, rectified=activation is not None)
        return self.activation(result, activation, label)

    def activation(self, source: Feature, kind: str | None, label: str) -> Feature:
        """`kind` is relu, relu6, or None for nothing."""
        if kind is None:
            return source
        if kind == "relu":
            self._node("Relu", [source.name], f"{label}.relu")
            return Feature(f"{label}.relu", np.maximum(source.sample, 0))
        if kind == "relu6":
            bounds = [self._store(name, np.array(value), once=True) for name, value in (("zero", 0.0), ("six", 6.0))]
            self._node("Clip", [source.name, *bounds], f"{label}.relu6")
            return Feature(f"{label}.relu6", np.clip(source.sample, 0, 6))
        raise ValueError(f"no activation {kind}")

    def addition(self, left: Feature, right: Feature, label: str) -> Feature:
        """Sum of two features of one shape."""
        self._node("Add", [left.name, right.name], label)
        return Feature(label, left.sample + right.sample)

    def concatenation(self, parts: Sequence[Feature], label: str) -> Feature:
        """Features side by side on the channel axis."""
        self._node("Concat", [part.name for part in parts], label, axis=1)
        return Feature(label, np.concatenate([part.sample for part in parts], axis=1))

    def enlargement(self, source: Feature, label: str) -> Feature:
        """Twice the rows and columns, by repeating each (Resize nearest)."""
        scales = self._store("twice", np.array([1.0, 1.0, 2.0, 2.0]), once=True)
        self._node(
            "Resize", [source.name, "", scales], label, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )
        return Feature(label, source.sample.repeat(2, axis=2).repeat(2, axis=3))

    def max_pool(self, source: Feature, kernel: int, stride: int, label: str) -> Feature:
        """Max pooling with half the kernel as padding."""
        around = (kernel // 2,) * 4
        self._node("MaxPool", [source.name], label, kernel_shape=[kernel, kernel], strides=[stride, stride], pads=list(around))
        return Feature(label, max_pool(source.sample, kernel, stride, around))

    def global_average(self, source: Feature, label: str) -> Feature:
        """Mean over rows and columns, as (batch, channels)."""
        self._node("GlobalAveragePool", [source.name], f"{label}.mean")
        self._node("Flatten", [f"{label}.mean"], label, axis=1)
        return Feature(label, source.sample.mean(axis=(2, 3)))

    def softmax(self, source: Feature, label: str) -> Feature:
        """Softmax over classes."""
        self._node("Softmax", [source.name], label, axis=1)
        exponentials = np.exp(source.sample - source.sample.max(axis=1, keepdims=True))
        return Feature(label, exponentials / exponentials.sum(axis=1, keepdims=True))

    def finish(self, outputs: Sequence[Feature], weights: dict[str, NDArray[np.float32]] | None = None) -> onnx.ModelProto:
        """The model; `weights` replaces the random ones by name and must have the same names and shapes (see weights.py)."""
        stored = {**self._weights, **(weights or {})}
        model = helper.make_model(
            helper.make_graph(
                self._nodes,
                self._name,
                [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, *self._shape])],
                [helper.make_tensor_value_info(output.name, TensorProto.FLOAT, None) for output in outputs],
                [numpy_helper.from_array(values, name) for name, values in stored.items()],
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="tinyc",
        )
        shapes = {value.name: value for value in shape_inference.infer_shapes(model, strict_mode=True).graph.output}
        for value in model.graph.output:
            value.CopyFrom(shapes[value.name])
        onnx.checker.check_model(model, full_check=True)
        return model

    @property
    def weights(self) -> dict[str, NDArray[np.generic]]:
        """All constants so far by name."""
        return dict(self._weights)

    def _node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))

    def _store(self, name: str, values: Sample, once: bool = False) -> str:
        if name in self._weights and not once:
            raise ValueError(f"two tensors are called {name}")
        self._weights[name] = np.asarray(values, np.float32)
        return name

    def _draw(self, shape: tuple[int, ...], label: str, gain: float = 2.0, bump: bool = False) -> Sample:
        values = np.zeros(shape) if self._structure_only else self._random.normal(0, sqrt(gain / prod(shape[1:])), shape)
        if bump and not self._structure_only:
            values = values / 2 + _bump(shape[2], shape[3]) * self._random.choice([-1.0, 1.0], (shape[0], 1, 1, 1))
        # float32 is what the file holds; the samples must see the same weights.
        return np.asarray(self._weights[self._store(f"{label}.weight", values)], np.float64)

    def _normalise(self, source: Feature, label: str, rectified: bool, damped: bool = False) -> Feature:
        axes = (0, *range(2, source.sample.ndim))
        count = source.channels
        sample = np.zeros((1, *source.sample.shape[1:])) if self._structure_only else source.sample
        values = {
            "scale": rounded(self._random.uniform(0.5, 1.5, count) * (0.4 if damped else 1.0)),
            "shift": rounded(self._random.normal(0.7 if rectified else 0.0, 0.3, count)),
            "mean": rounded(sample.mean(axis=axes)),
            "variance": rounded(sample.var(axis=axes) + 1e-4),
        }
        names = [self._store(f"{label}.{part}", numbers) for part, numbers in values.items()]
        output = f"{label}.norm"
        self._node("BatchNormalization", [source.name, *names], output, epsilon=self._epsilon)
        across = (1, -1, *[1] * (source.sample.ndim - 2))
        factor = values["scale"] / np.sqrt(values["variance"] + self._epsilon)
        return Feature(output, source.sample * factor.reshape(across) + (values["shift"] - values["mean"] * factor).reshape(across))


def _bump(height: int, width: int) -> Sample:
    """A binomial low-pass filter of height x width taps whose squares add up to 1, rounded so that it is the same everywhere."""
    rows, columns = ([float(comb(taps - 1, index)) for index in range(taps)] for taps in (height, width))
    filtered = np.outer(rows, columns)
    return rounded(filtered / sqrt(float((filtered**2).sum())))
