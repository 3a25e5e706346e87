"""Takes every network of the zoo from float to C in QEMU, and compares all output values with ONNX Runtime on random inputs.

python benchmarks/zoo.py                    # all networks; writes the table of docs/zoo.md
python benchmarks/zoo.py --check            # all networks; exit 1 where docs/zoo.md says otherwise
python benchmarks/zoo.py --only ds-cnn      # measure and print; may be repeated
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from cases import ROOT
from tables import lines_of, table, table_row, write_between

import tinyc
from tinyc.api import Model
from tinyc.cli.quantize_options import progress_bar
from tinyc.errors import MismatchError, TinycError
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes
from tinyc.quantize.options import Progress, QuantizeOptions
from tinyc.quantize.post_training import quantize_arrays
from tinyc.runners import link_for_part, run_build
from tinyc.targets import Target, load_target
from tinyc.toolchains.gcc_arm import find_gcc_arm
from tinyc.verify.desktop import as_archive, comparable, random_samples
from tinyc.verify.onnxruntime_reference import run_onnxruntime
from tinyc.zoo import make_network, networks, synthetic_inputs, tally

DOCUMENT = ROOT / "docs" / "zoo.md"
BEGIN, END = "<!-- zoo: begin -->", "<!-- zoo: end -->"
COMMAND = "python benchmarks/zoo.py"
SAMPLES = 8
CALIBRATION_SAMPLES = 16
TARGET = "cortex-m7"
_HEADING = "network | input | made with | MACs | parameters | RAM | flash | instructions | equal to ONNX Runtime | weights of QOperator"


class Settings(TypedDict, total=False):
    """What `make_network` takes."""

    width: float
    resolution: int
    classes: int


REDUCED: Mapping[str, Settings] = {"mobilenet-v1": {"width": 0.75}, "proxyless-mobile": {"classes": 500}}
"""Networks whose weights are more than the 4 MB of flash that the emulated board has, and what they are made with instead."""


@dataclass(frozen=True)
class ZooMeasurement:
    """One network: its input without batch, settings, counts of the float model, and bytes and instructions of the C for TARGET."""

    network: str
    shape: tuple[int, ...]
    settings: Settings
    macs: int
    parameters: int
    ram: int
    flash: int
    instructions: int
    values: int
    """Output values that were compared, all of them equal."""

    def row(self) -> str:
        """Row of the table."""
        made = ", ".join(f"`--{name} {value:g}`" for name, value in self.settings.items())
        equal = f"{self.values:,} of {self.values:,}"
        return table_row(
            *(self.network, "x".join(map(str, self.shape)), made, self.macs, self.parameters),
            *(self.ram, self.flash, self.instructions, equal, "same"),
        )


def measure(name: str, progress: Progress) -> ZooMeasurement:
    """One network. Raises MismatchError where an output value differs from ONNX Runtime's, or the weights of the two ONNX forms differ."""
    settings = REDUCED.get(name, Settings())
    target = load_target(TARGET)
    model = make_network(name, **settings)
    counted = tally(model)
    shape = tuple(dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim)[1:]
    with tempfile.TemporaryDirectory(prefix="tinyc-zoo-") as text:
        folder = Path(text)
        path, quantised = folder / "float.onnx", folder / "int8.onnx"
        path.write_bytes(model.SerializeToString())
        # Another seed than that of the network, whose normalisations have seen those samples.
        samples = synthetic_inputs(shape, CALIBRATION_SAMPLES, 1)
        result = quantize_arrays(path, {"input": samples}, QuantizeOptions(compare=False), progress=progress)
        quantised.write_bytes(result.model.SerializeToString())
        ram, flash, instructions, values = _run(name, quantised, target, folder, progress)
        progress(name, 3, 4)
        _compare_forms(name, quantised, folder, target)
    return ZooMeasurement(name, shape, settings, counted.macs, counted.parameters, ram, flash, instructions, values)


def _run(name: str, path: Path, target: Target, folder: Path, progress: Progress) -> tuple[int, int, int, int]:
    """RAM, flash, instructions, and the number of output values compared."""
    progress(name, 1, 4)
    loaded = tinyc.load(path)
    compiled = loaded.compile(target)
    report = compiled.report
    inside = loaded.module.clone()
    run_passes(inside, parse_passes("strip-io-quantization"))
    samples = random_samples(inside, SAMPLES, seed=0)
    build = compiled.write(folder / "build")
    progress(name, 2, 4)
    result = run_build(build, "qemu", as_archive(samples))
    expected = run_onnxruntime(path, inside, samples)
    values = 0
    for sample, theirs in enumerate(expected):
        ours = comparable([result.outputs[f"output_{index}"][sample] for index in range(len(theirs))], theirs, inside)
        for output, (found, wanted) in enumerate(zip(ours, theirs, strict=True)):
            differing = int(np.count_nonzero(found != wanted))
            if found.shape != wanted.shape or differing:
                raise MismatchError(f"{name}: sample {sample}, output {output}: {differing} of {wanted.size} values differ")
            values += wanted.size
    if result.instructions is None:
        raise MismatchError(f"{name}: instructions were not counted: {'; '.join(result.notes)}")
    stack = max(result.stack_bytes or 0, report.ram.stack_bytes or 0)
    ram = report.ram.arena_bytes + report.ram.static_bytes + stack
    return ram, link_for_part(build, target).size.flash, result.instructions, values


def _compare_forms(name: str, path: Path, folder: Path, target: Target) -> None:
    """Raises MismatchError where the same network as QLinear operators, written by ONNX Runtime's own optimiser, has other weights in C."""
    other = folder / "qoperator.onnx"
    write_qoperator(path, other)
    first, second = (_weights(tinyc.load(file), target) for file in (path, other))
    if first != second:
        raise MismatchError(f"{name}: {(first - second).total()} arrays of weights differ between QDQ and QOperator")


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


def _weights(model: Model, target: Target) -> Counter[str]:
    """Contents of all constant arrays in the C, with their types, whatever their names and order."""
    compiled = model.compile(target, name="network", measure=False)
    text = compiled.files["network_weights.c"]
    return Counter(f"{kind} {body}" for kind, body in re.findall(r"^const (\w+) \w+(\[\d+\] = \{.*?\});", text, re.DOTALL | re.MULTILINE))


def untrue_rows(measurements: Sequence[ZooMeasurement]) -> list[str]:
    """Rows that docs/zoo.md should have but does not."""
    lines = set(lines_of(DOCUMENT))
    return [f"docs/zoo.md does not say: {found.row()}" for found in measurements if found.row() not in lines]


def run(wanted: Sequence[str], check: bool) -> int:
    """Measures the networks `wanted` and returns the exit code."""
    measurements = []
    for name in wanted:
        with progress_bar() as progress:
            found = measure(name, progress)
        print(found.row(), flush=True)
        measurements.append(found)
    if check:
        problems = untrue_rows(measurements)
        print("\n".join(problems) if problems else f"{len(measurements)} rows are as docs/zoo.md says")
        return 1 if problems else 0
    if set(wanted) != set(networks()):
        print("nothing written: that takes all networks", file=sys.stderr)
        return 0
    compiler = f"Code of arm-none-eabi-gcc {find_gcc_arm().version()}; measured by `{COMMAND}`."
    write_between(DOCUMENT, BEGIN, END, f"{table(_HEADING, [found.row() for found in measurements])}\n\n{compiler}")
    print("written: docs/zoo.md")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the documentation is no longer true")
    parser.add_argument("--only", action="append", choices=list(networks()), help="this network only; may be repeated; nothing is written")
    arguments = parser.parse_args()
    try:
        return run(tuple(arguments.only or networks()), arguments.check)
    except TinycError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
