"""Single layers with random weights on a Cortex-M4, in the forms that pins give them: the tables at the end of docs/kernels.md."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
from cases import Array
from documents import DOCS, Edit, Section
from measure import CORES, Laboratory
from onnx import TensorProto, helper, numpy_helper
from tables import table_row

import tinyc
from tinyc.api import Compiled, Model
from tinyc.driver.pipeline import CompileOptions, default_pipeline
from tinyc.errors import MismatchError, PassError
from tinyc.numerics.profile import Profile
from tinyc.profile.profile import profile_build
from tinyc.quantize.options import QuantizeOptions
from tinyc.quantize.post_training import quantize_arrays
from tinyc.report.choices import Choice
from tinyc.runners import random_inputs, read_description, run_build

DOCUMENT = DOCS / "kernels.md"
PROFILES = (Profile.ONNXRUNTIME, Profile.TFLM)
"""ONNX Runtime's arithmetic of these layers is that of `litert`."""
CALIBRATION_SAMPLES = 4
TARGET = CORES["m4"]
SEVERAL = "several tiles"
"""The form that takes the most columns that the compiler weighs."""
WINOGRAD = "Winograd"


class Layer(Protocol):
    """A layer to measure: the first one of `network`, in float, with a ReLU behind it."""

    @property
    def title(self) -> str:
        """Text of the table."""
        ...

    def network(self) -> onnx.ModelProto:
        """The same model for the same layer."""
        ...


@dataclass(frozen=True)
class Sums:
    """A node with weights (outputs first), called `op`, with a bias and a ReLU behind it."""

    op: str
    weights: Array
    attributes: Mapping[str, int | list[int]]


def chain(sums: Sequence[Sums], shape: Sequence[int], result: Sequence[int]) -> onnx.ModelProto:
    """A network of `sums`, one behind the other."""
    nodes, constants, value = [], [], "input"
    for number, one in enumerate(sums):
        names = [f"{what}_{number}" for what in ("weights", "bias", "sum")]
        output = "output" if one is sums[-1] else f"value_{number}"
        arrays: list[Array] = [one.weights, np.random.default_rng(1).normal(0, 0.1, (one.weights.shape[0],))]
        constants += [numpy_helper.from_array(array.astype(np.float32), name) for name, array in zip(names, arrays, strict=False)]
        node = helper.make_node(one.op, [value, *names[:2]], names[2:])
        node.attribute.extend(helper.make_attribute(name, setting) for name, setting in one.attributes.items())
        nodes += [node, helper.make_node("Relu", names[2:], [output])]
        value = output
    ends = ("input", shape), ("output", result)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in ends]
    graph = helper.make_graph(nodes, "layer", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@dataclass(frozen=True)
class Convolution:
    """A convolution of an image of `size` x `size` pixels."""

    title: str
    size: int
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1

    def network(self) -> onnx.ModelProto:
        """See Layer."""
        size = (self.size - 1) // self.stride + 1
        sums = window(self.inputs, self.outputs, self.kernel, self.stride, 1)
        return chain([sums], (1, self.inputs, self.size, self.size), (1, self.outputs, size, size))


@dataclass(frozen=True)
class Depthwise:
    """A depthwise convolution of `channels` channels of `size` x `size` pixels.

    With another one behind it, since a result of the network is not written in place.
    """

    size: int
    channels: int
    kernel: int
    stride: int

    @property
    def title(self) -> str:
        """See Layer."""
        stride = " with stride 2" if self.stride == 2 else ""
        return f"depthwise {self.kernel}x{self.kernel}{stride}, {self.channels} channels, {self.size}x{self.size}"

    def network(self) -> onnx.ModelProto:
        """See Layer."""
        size = (self.size - 1) // self.stride + 1
        settings = (self.kernel, self.stride), (3, 1)
        sums = [window(self.channels, self.channels, kernel, stride, self.channels) for kernel, stride in settings]
        return chain(sums, (1, self.channels, self.size, self.size), (1, self.channels, size, size))


def window(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> Sums:
    """A convolution with random weights, padded so that with stride 1 the image keeps its size."""
    deviation = np.sqrt(2 / (kernel * kernel * inputs // groups))
    weights = np.random.default_rng(0).normal(0, deviation, (outputs, inputs // groups, kernel, kernel))
    return Sums("Conv", weights, {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4, "group": groups})


@dataclass(frozen=True)
class FullyConnected:
    """`outputs` sums of `inputs` products."""

    inputs: int
    outputs: int

    @property
    def title(self) -> str:
        """See Layer."""
        return f"fully connected, {self.inputs} to {self.outputs}"

    def network(self) -> onnx.ModelProto:
        """See Layer."""
        weights = np.random.default_rng(0).normal(0, np.sqrt(2 / self.inputs), (self.outputs, self.inputs))
        return chain([Sums("Gemm", weights, {"transB": 1})], (1, self.inputs), (1, self.outputs))


CONVOLUTIONS = (
    Convolution("1x1, 8 to 48 channels, 40x40", 40, 8, 48),
    Convolution("1x1, 16 to 48, 20x20", 20, 16, 48),
    Convolution("1x1, 48 to 16, 20x20", 20, 48, 16),
    Convolution("1x1, 64 to 64, 5x5", 5, 64, 64),
    Convolution("1x1, 120 to 40, 5x5", 5, 120, 40),
    Convolution("1x1, 480 to 96, 5x5", 5, 480, 96),
    Convolution("3x3 with stride 2, 3 to 16, 80x80", 80, 3, 16, 3, 2),
    Convolution("3x3, 32 to 32, 16x16", 16, 32, 32, 3),
    Convolution("3x3, 64 to 64, 8x8", 8, 64, 64, 3),
)
DEPTHWISES = tuple(Depthwise(20, 48, kernel, stride) for stride in (1, 2) for kernel in (3, 5, 7))
FULLY_CONNECTED = (FullyConnected(64, 10), FullyConnected(640, 128), FullyConnected(256, 2))

_PLAIN: Mapping[str, str] = {"weights": "int8", "winograd": "off"}
FORMS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "convolutions": {
        "1 column": {**_PLAIN, "columns": "1"},
        "by four": {"columns": "1", "weights": "int8-by-four"},
        "2 columns": {**_PLAIN, "columns": "2"},
        "by four, 2": {"columns": "2", "weights": "int8-by-four"},
        "4 columns": {**_PLAIN, "columns": "4"},
        SEVERAL: _PLAIN,
        "4, int16": {"columns": "4", "weights": "int16"},
        WINOGRAD: {"winograd": "two-rows"},
    },
    "depthwise": {"by rows": {"in_place": "off"}, "in place": {"in_place": "on"}},
    "fully-connected": {"instructions": {}},
}
"""Tables of the page: their columns, and the choices that are pinned for each; one that a layer does not have is left out."""
LAYERS: Mapping[str, Sequence[Layer]] = {"convolutions": CONVOLUTIONS, "depthwise": DEPTHWISES, "fully-connected": FULLY_CONNECTED}


@dataclass
class Bench:
    """A layer, quantised, with the outputs that it had so far: every form must give the same."""

    layer: Layer
    model: Model
    outputs: dict[str, Array] = field(default_factory=dict)

    @staticmethod
    def of(layer: Layer) -> Bench:
        """Quantises `layer` with random samples."""
        network = layer.network()
        shape = [dimension.dim_value for dimension in network.graph.input[0].type.tensor_type.shape.dim]
        samples = np.random.default_rng(2).normal(0, 1, (CALIBRATION_SAMPLES, *shape[1:])).astype(np.float32)
        with tempfile.TemporaryDirectory(prefix="tinyc-layer-") as folder:
            path = Path(folder) / "layer.onnx"
            path.write_bytes(network.SerializeToString())
            quantised = quantize_arrays(path, {"input": samples}, QuantizeOptions(compare=False)).model
            path.write_bytes(quantised.SerializeToString())
            return Bench(layer, tinyc.load(path))

    def compile(self, numerics: str, pins: Sequence[str], measure: bool = True) -> Compiled:
        """The network without streams: those would change how rows are stored."""
        passes = default_pipeline(CompileOptions(Profile(numerics))).replace("stream-rows", "stream-rows{longest=1}")
        return self.model.compile(TARGET, numerics=numerics, passes=passes, pins=pins, measure=measure)

    def pins(self, form: str, wanted: Mapping[str, str]) -> list[str] | None:
        """Pins for the choices in `wanted` that the layer has; None where it has not what `form` is about.

        A convolution takes as many rows at a time as the compiler weighs, since that decides how many columns there are.
        """
        rows = self._choices(()).get("rows")
        fixed = [f"{rows.layer}:rows={rows.alternatives[-1].value}"] if rows is not None else []
        there, asked = self._choices(fixed), dict(wanted)
        if form == SEVERAL:
            asked["columns"] = there["columns"].alternatives[-1].value
        if form == WINOGRAD and "winograd" not in there:
            return None
        return fixed + [f"{there[decision].layer}:{decision}={value}" for decision, value in asked.items() if decision in there]

    def _choices(self, pins: Sequence[str]) -> dict[str, Choice]:
        """What there is to choose for the first layer."""
        explanation = self.compile(PROFILES[0].value, pins, measure=False).explanation
        return {choice.decision: choice for choice in explanation.choices if choice.layer == explanation.layers[0].name}

    def per_mac(self, numerics: str, pins: Sequence[str]) -> float:
        """Instructions of the layer per multiply-add. Raises MismatchError where its outputs are not those of another form."""
        with tempfile.TemporaryDirectory(prefix="tinyc-layer-") as folder:
            build = self.compile(numerics, pins, measure=False).write(Path(folder) / "build")
            inputs = random_inputs(read_description(build), 1, 0)
            output = run_build(build, "unicorn", inputs).outputs["output_0"]
            layer = profile_build(build, inputs).layers[1]
        if not np.array_equal(self.outputs.setdefault(numerics, output), output):
            raise MismatchError(f"{self.layer.title}, {numerics}: outputs differ with {', '.join(pins)}")
        return layer.instructions / layer.macs

    def cell(self, form: str, wanted: Mapping[str, str]) -> str | None:
        """Both profiles; None where the compiler says that the layer cannot have the form."""
        pins = self.pins(form, wanted)
        if pins is None:
            return None
        try:
            return " / ".join(f"{self.per_mac(profile.value, pins):.2f}" for profile in PROFILES)
        except PassError:
            return None


def measure_single_layers(laboratory: Laboratory, names: Sequence[str]) -> list[Edit]:
    """What the page says about the kinds of layers `names`."""
    edits: list[Edit] = []
    for name in names:
        rows = []
        for layer in LAYERS[name]:
            laboratory.tell(layer.title)
            bench = Bench.of(layer)
            rows.append(table_row(layer.title, *(bench.cell(form, wanted) for form, wanted in FORMS[name].items())))
        edits.append(Section(DOCUMENT, name, rows, " | ".join(["layer", *FORMS[name]])))
    return edits
