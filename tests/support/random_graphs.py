"""Random TFLite networks of some twenty ops with branches, skips and gates; tensors differ in quantisation where the op allows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from support.movement_networks import Graph
from support.tflite_builder import ACTIVATION_CODES, PADDING_CODES

Random = np.random.Generator
LARGEST_TENSOR = 6000
"""Elements; hundreds of networks run in one emulated program."""


@dataclass(frozen=True)
class GraphCase:
    """A file and values for its input."""

    model: bytes
    inputs: list[npt.NDArray[Any]]
    name: str


class RandomGraph(Graph):
    """A graph that grows by random steps; `values` are the images so far."""

    def __init__(self, random: Random) -> None:
        seed = int(random.integers(2**31))
        super().__init__(seed, (1, *(int(size) for size in random.integers(3, 17, 2)), int(random.integers(1, 9))))
        self.draw = random
        self.values = [self.input]

    def scale_and_zero_point(self) -> tuple[float, int]:
        """Any quantisation of outputs; half of the time the common one, which lets values join."""
        if self.draw.random() < 0.5:
            return self.quantization(self.input)
        return float(np.float32(2.0 ** self.draw.uniform(-7, -2))), int(self.draw.integers(-128, 128))

    def step(self) -> None:
        """One more value, mostly from the last one."""
        value = self.values[-1] if self.draw.random() < 0.7 else str(self.draw.choice(self.values))
        _, height, width, channels = self.shape(value)
        kinds = (
            ["convolution"] * 4 + ["depthwise"] * 3 + ["add"] * 3 + ["pool"] * 2 + ["activation", "gate", "pad", "requantize", "multiply"]
        )
        kinds += ["join"] * 2 + ["halves"] * (channels % 2 == 0) + ["nearest"] * (height * width * channels * 4 <= LARGEST_TENSOR)
        grown = getattr(self, f"_{self.draw.choice(kinds)}")(value)
        if np.prod(self.shape(grown)) <= LARGEST_TENSOR:
            self.values.append(grown)

    def _activation_code(self) -> str:
        return str(self.draw.choice(list(ACTIVATION_CODES)))

    def _window(self, value: str) -> tuple[int, int, int, str]:
        """Kernel, stride, dilation and padding that fit the image."""
        _, height, width, _ = self.shape(value)
        kernel = int(self.draw.choice([size for size in (1, 1, 2, 3, 3, 5) if size <= min(height, width)]))
        stride = int(self.draw.choice([1, 1, 2]))
        fits = 2 * (kernel - 1) + 1 <= min(height, width)
        dilation = 2 if stride == 1 and fits and self.draw.random() < 0.15 else 1
        return kernel, stride, dilation, str(self.draw.choice(["same", "same", "valid"]))

    def _convolution(self, value: str) -> str:
        kernel, stride, dilation, padding = self._window(value)
        channels, quantization = int(self.draw.integers(1, 20)), self.scale_and_zero_point()
        return self.conv(value, channels, kernel, stride, dilation, 1, False, padding, self._activation_code(), quantization)

    def _depthwise(self, value: str) -> str:
        kernel, stride, dilation, padding = self._window(value)
        return self.conv(value, 0, kernel, stride, dilation, 1, True, padding, self._activation_code(), self.scale_and_zero_point())

    def _add(self, value: str) -> str:
        partners = [other for other in self.values if self.shape(other) == self.shape(value)]
        partner = str(self.draw.choice(partners))
        if partner == value and self.draw.random() < 0.8:
            partner = self.conv(
                value, self.shape(value)[3], int(self.draw.choice([1, 3])), activation="none", quantization=self.scale_and_zero_point()
            )
        options = {"FusedActivationFunction": ACTIVATION_CODES[self._activation_code()]}
        return self.op("ADD", [value, partner], self.shape(value), options, self.scale_and_zero_point())

    def _multiply(self, value: str) -> str:
        other = self.conv(value, self.shape(value)[3], 1, activation="none", quantization=self.scale_and_zero_point())
        options = {"FusedActivationFunction": 0}
        return self.op("MUL", [value, other], self.shape(value), options, self.scale_and_zero_point())

    def _pool(self, value: str) -> str:
        kernel, stride, _, padding = self._window(value)
        _, height, width, channels = self.shape(value)
        size = [-(-extent // stride) if padding == "same" else (extent - kernel) // stride + 1 for extent in (height, width)]
        options = {"Padding": PADDING_CODES[padding], "StrideH": stride, "StrideW": stride, "FilterHeight": kernel, "FilterWidth": kernel}
        code = str(self.draw.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"]))
        return self.op(code, [value], (1, *size, channels), options | {"FusedActivationFunction": 0})

    def _activation(self, value: str) -> str:
        code = str(self.draw.choice(["RELU", "RELU6", "LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU"]))
        fixed = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
        options = {"Alpha": 0.125} if code == "LEAKY_RELU" else {}
        return self.op(code, [value], self.shape(value), options, fixed.get(code) or self.scale_and_zero_point())

    def _requantize(self, value: str) -> str:
        return self.op("QUANTIZE", [value], self.shape(value), quantization=self.scale_and_zero_point())

    def _gate(self, value: str) -> str:
        """Squeeze and excite: a factor for each channel from the mean of the whole image."""
        channels = self.shape(value)[3]
        squeezed = self.op("MEAN", [value, self._ints([1, 2])], (1, 1, 1, channels), {"KeepDims": 1}, self.scale_and_zero_point())
        excited = self.conv(self.conv(squeezed, 3, 1, activation="relu"), channels, 1, activation="none")
        factor = self.op("LOGISTIC", [excited], (1, 1, 1, channels), quantization=(1 / 256, -128))
        return self.op("MUL", [value, factor], self.shape(value), {"FusedActivationFunction": 0}, self.scale_and_zero_point())

    def _pad(self, value: str) -> str:
        return self.pad(value, [(0, 0), *(tuple(int(count) for count in self.draw.integers(0, 3, 2)) for _ in range(2)), (0, 0)])

    def _nearest(self, value: str) -> str:
        return self.resize(value, 2, bilinear=False, half_pixel_centers=bool(self.draw.random() < 0.5))

    def _halves(self, value: str) -> str:
        first, second = self.split(value, 2, 3)
        return self.concat([second, self.conv(first, 2, 1, quantization=self.quantization(value))], 3)

    def _join(self, value: str) -> str:
        def fits(other: str) -> bool:
            return self.shape(other)[:3] == self.shape(value)[:3] and self.quantization(other) == self.quantization(value)

        return self.concat([value, str(self.draw.choice([other for other in self.values if fits(other)]))], 3)

    def head(self, value: str) -> str:
        """Mean, fully connected, softmax."""
        channels = self.shape(value)[3]
        features = self.op("MEAN", [value, self._ints([1, 2])], (1, channels), {"KeepDims": 0}, self.scale_and_zero_point())
        weights, scales = self._weights((5, channels), 1)
        names = self._constants(weights, scales, 5, 0, self.quantization(features)[0])
        classes = self.op("FULLY_CONNECTED", [features, *names], (1, 5), {"FusedActivationFunction": 0}, self.scale_and_zero_point())
        return self.op("SOFTMAX", [classes], (1, 5), {"Beta": 1.0}, (1 / 256, -128))


def graph_case(random: Random) -> GraphCase:
    """A network of up to twenty steps with one to three outputs."""
    graph = RandomGraph(random)
    for _ in range(int(random.integers(3, 15))):
        graph.step()
    last = graph.values[-1]
    outputs = [graph.head(last) if random.random() < 0.4 else last]
    outputs += [
        str(value) for value in random.choice(graph.values[:-1], 1) if len(graph.values) > 2 and value != last and value != graph.input
    ]
    image = random.integers(-128, 128, graph.shape(graph.input)).astype(np.int8)
    return GraphCase(graph.model(outputs), [image], f"graph of {len(graph.ops)} ops")
