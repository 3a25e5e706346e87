"""Every network of the zoo from float to C in QEMU, on both cores: docs/zoo.md and the zoo's part of docs/benchmarks.md.

Quantising, running ONNX Runtime and comparing the two forms of ONNX are done once for both cores.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from cases import Array, load_peers
from documents import DOCS, Edit, Section
from measure import CORES, Laboratory, estimated_cycles
from networks import BENCHMARKS, RATIO_COLUMNS, compiler_statement, ratio_cells
from tables import table_row
from xdsl.dialects.builtin import ModuleOp

import tinyc
from tinyc.api import Model
from tinyc.bench import Figures, measure_compiled
from tinyc.errors import MismatchError
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes
from tinyc.quantize.options import QuantizeOptions
from tinyc.quantize.post_training import quantize_arrays
from tinyc.targets import load_target
from tinyc.verify.desktop import as_archive, comparable, random_samples
from tinyc.verify.onnxruntime_reference import run_onnxruntime
from tinyc.zoo import make_network, networks, synthetic_inputs, tally

SAMPLES = 8
CALIBRATION_SAMPLES = 16
COMPARED_TARGET = "cortex-m7"
"""The weights of both forms of ONNX are compared in C for this one."""

_ZOO_HEADING = "network | input | made with | MACs | parameters | equal to ONNX Runtime | weights of QOperator"
_FIGURES_HEADING = (
    "network | core | instructions | per MAC | est. cycles | per MAC | arena | lower bound | stack | RAM | weights | code | flash image"
)
_RATIOS_HEADING = f"network | core | architecture of | {RATIO_COLUMNS}"


class Settings(TypedDict, total=False):
    """What `make_network` takes."""

    width: float
    resolution: int
    classes: int


REDUCED: Mapping[str, Settings] = {"mobilenet-v1": {"width": 0.75}, "proxyless-mobile": {"classes": 500}}
"""Networks whose weights are more than the 4 MB of flash that the emulated board has, and what they are made with instead."""

ARCHITECTURES: Mapping[str, str] = {
    "mcunet-vww1": "vww",
    "mcunet-in3": "mcunet-in3",
    "mobilenet-v1-vww": "vww_96_int8",
    "ds-cnn": "kws_ref_model",
    "resnet-8": "pretrainedResnet_quant",
    "autoencoder": "ad01_int8",
}
"""Networks of the zoo with as many multiply-adds as a trained one, on which other tools were measured, and that one."""


@dataclass(frozen=True)
class ZooMeasurement:
    """One network: its input without batch, settings, counts of the float model; the figures of its C by core, and estimated cycles."""

    network: str
    shape: tuple[int, ...]
    settings: Settings
    macs: int
    parameters: int
    figures: Mapping[str, Figures]
    cycles: Mapping[str, int]
    values: int
    """Output values that were compared, on each core, all of them equal."""

    def row(self) -> str:
        """Row of docs/zoo.md."""
        made = ", ".join(f"`--{name} {value:g}`" for name, value in self.settings.items())
        equal = f"{self.values:,} of {self.values:,}"
        return table_row(self.network, "x".join(map(str, self.shape)), made, self.macs, self.parameters, equal, "same")

    def figure_rows(self) -> list[str]:
        """Rows of docs/benchmarks.md, one a core."""
        rows = []
        for core, taken in self.figures.items():
            cycles = self.cycles[core]
            rows.append(
                table_row(
                    *(self.network, core.upper(), taken.instructions, f"{taken.instructions / self.macs:.2f}"),
                    *(cycles, f"{cycles / self.macs:.2f}", taken.arena, taken.lower_bound, taken.stack, taken.ram),
                    *(taken.weights, taken.code, taken.image),
                )
            )
        return rows


@dataclass(frozen=True)
class Quantised:
    """A network of the zoo as int8 ONNX in `path`, with inputs and what ONNX Runtime answers to them."""

    name: str
    path: Path
    model: Model
    boundary: ModuleOp
    """The network with the int8 inputs and outputs that its C has."""
    samples: Sequence[Sequence[Array]]
    expected: Sequence[Sequence[Array]]


def measure_one(laboratory: Laboratory, name: str) -> ZooMeasurement:
    """One network. Raises MismatchError where an output value differs from ONNX Runtime's, or the weights of the two ONNX forms differ."""
    settings = REDUCED.get(name, Settings())
    float_model = make_network(name, **settings)
    counted = tally(float_model)
    shape = tuple(dimension.dim_value for dimension in float_model.graph.input[0].type.tensor_type.shape.dim)[1:]
    with tempfile.TemporaryDirectory(prefix="tinyc-zoo-") as folder:
        path, quantised_path = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        path.write_bytes(float_model.SerializeToString())
        # Another seed than that of the network, whose normalisations have seen those samples.
        samples = synthetic_inputs(shape, CALIBRATION_SAMPLES, 1)
        result = quantize_arrays(path, {"input": samples}, QuantizeOptions(compare=False), progress=laboratory.progress(name))
        quantised_path.write_bytes(result.model.SerializeToString())
        laboratory.tell(f"{name}: ONNX Runtime")
        quantised = answered(name, quantised_path)
        figures, cycles, values = {}, {}, 0
        for core in CORES:
            laboratory.tell(f"{name}, {core.upper()}")
            figures[core], cycles[core], values = measure_on(quantised, core)
        laboratory.tell(f"{name}: QOperator")
        compare_forms(quantised, Path(folder))
    return ZooMeasurement(name, shape, settings, counted.macs, counted.parameters, figures, cycles, values)


def answered(name: str, path: Path) -> Quantised:
    """The network in `path` with SAMPLES random inputs, and ONNX Runtime's answers."""
    model = tinyc.load(path)
    boundary = model.module.clone()
    run_passes(boundary, parse_passes("strip-io-quantization"))
    samples = random_samples(boundary, SAMPLES, seed=0)
    return Quantised(name, path, model, boundary, samples, run_onnxruntime(path, boundary, samples))


def measure_on(quantised: Quantised, core: str) -> tuple[Figures, int, int]:
    """Figures and estimated cycles of the C on one core, and the number of output values compared. Raises MismatchError."""
    target = load_target(CORES[core])
    compiled = quantised.model.compile(target)
    archive = as_archive(quantised.samples)
    measured = measure_compiled(compiled, target, "qemu", archive)
    values = 0
    for sample, theirs in enumerate(quantised.expected):
        outputs = [measured.run.outputs[f"output_{index}"][sample] for index in range(len(theirs))]
        for output, (found, wanted) in enumerate(zip(comparable(outputs, theirs, quantised.boundary), theirs, strict=True)):
            differing = int(np.count_nonzero(found != wanted))
            if found.shape != wanted.shape or differing:
                raise MismatchError(f"{quantised.name}: sample {sample}, output {output}: {differing} of {wanted.size} values differ")
            values += wanted.size
    first = {name: array[:1] for name, array in archive.items()}
    return measured.figures, estimated_cycles(compiled, first, measured.figures.instructions), values


def compare_forms(quantised: Quantised, folder: Path) -> None:
    """Raises MismatchError where the same network as QLinear operators, written by ONNX Runtime's own optimiser, has other weights in C."""
    other = folder / "qoperator.onnx"
    write_qoperator(quantised.path, other)
    first, second = (_weights(model) for model in (quantised.model, tinyc.load(other)))
    if first != second:
        raise MismatchError(f"{quantised.name}: {(first - second).total()} arrays of weights differ between QDQ and QOperator")


def write_qoperator(path: Path, other: Path) -> None:
    """Writes the QDQ model in `path` as ONNX Runtime executes it: with QLinear operators."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(other)
    # It warns that the file is for this machine; what is in it is not.
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _weights(model: Model) -> Counter[str]:
    """Contents of all constant arrays in the C, with their types, whatever their names and order."""
    compiled = model.compile(COMPARED_TARGET, name="network", measure=False)
    text = compiled.files["network_weights.c"]
    return Counter(f"{kind} {body}" for kind, body in re.findall(r"^const (\w+) \w+(\[\d+\] = \{.*?\});", text, re.DOTALL | re.MULTILINE))


def measure_zoo(laboratory: Laboratory, names: Sequence[str]) -> list[Edit]:
    """What the pages say about the networks `names`."""
    peers = load_peers()
    found = [measure_one(laboratory, name) for name in names]
    ratios = []
    for one in found:
        like = ARCHITECTURES.get(one.network, "")
        for core, taken in one.figures.items():
            cells = ratio_cells(peers, like, core, taken)
            if cells is not None:
                ratios.append(table_row(one.network, core.upper(), like, *cells))
    return [
        compiler_statement(),
        Section(DOCS / "zoo.md", "zoo", [one.row() for one in found], _ZOO_HEADING),
        Section(BENCHMARKS, "zoo", [row for one in found for row in one.figure_rows()], _FIGURES_HEADING),
        Section(BENCHMARKS, "zoo-ratios", ratios, _RATIOS_HEADING),
    ]


ZOO = tuple(networks())
"""All networks of the zoo."""
