"""One measurement: a network compiled for one core and profile, run in QEMU, held against the reference."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cases import Array, Case

import tinyc
from tinyc.bench import Figures, measure_compiled
from tinyc.errors import MismatchError
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile
from tinyc.numerics.quantization import dequantization_plan
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes
from tinyc.profile.profile import profile_build
from tinyc.targets import load_target

CORES = {"m4": "cortex-m4", "m7": "cortex-m7"}
"""Short names of the cores and the targets that stand for them."""


@dataclass(frozen=True)
class Measurement:
    """What one network takes on one core, and how many inputs gave the reference's outputs."""

    figures: Figures
    network: str
    core: str
    samples: int
    estimated_cycles: int
    """Of the first input, by the core's model (docs/profile.md)."""
    compile_seconds: float
    """Wall-clock time of load and compile on this machine; printed, never recorded."""

    @property
    def numerics(self) -> str:
        """Profile of the C."""
        return self.figures.numerics


def measure(case: Case, core: str, numerics: str, samples: int, stream_input: bool = False) -> Measurement:
    """Compiles, runs and compares the first `samples` inputs; with `stream_input` they are pushed row by row.

    Raises MismatchError where an output value differs or the stack is deeper than promised, and whatever compiling and running raise.
    """
    target = load_target(CORES[core])
    begin = time.perf_counter()
    compiled = tinyc.load(case.model).compile(target, numerics=numerics, stream_input=stream_input)
    seconds = time.perf_counter() - begin
    inputs = case.inputs[:samples]
    measured = measure_compiled(compiled, target, "qemu", {"input_0": inputs})
    region = measured.build.outputs[0]
    expected = case.expected[numerics][:samples] if numerics in case.expected else _interpreted(case, inputs, numerics)
    found = measured.run.outputs["output_0"][: len(expected)]
    if expected.dtype == np.float32:
        assert region.scale is not None
        assert region.zero_point is not None
        found = dequantization_plan(region.scale, region.zero_point).apply(found)
    differing = int(np.count_nonzero(found != expected))
    if found.shape != expected.shape or differing:
        raise MismatchError(f"{case.name}, {core}, {numerics}: {differing} of {expected.size} output values differ from the reference")
    cycles = _estimated_cycles(compiled, inputs[:1], measured.figures.instructions)
    return Measurement(measured.figures, case.name, core, len(expected), cycles, seconds)


def _estimated_cycles(compiled: tinyc.Compiled, inputs: Array, instructions: int) -> int:
    """Estimated cycles of one inference. Raises MismatchError where another number of instructions ran than in QEMU."""
    with tempfile.TemporaryDirectory(prefix="tinyc-benchmark-") as folder:
        report = profile_build(compiled.write(Path(folder) / "build"), {"input_0": inputs})
    if report.instructions != instructions:
        raise MismatchError(f"{compiled.name}: {instructions} instructions in QEMU, {report.instructions} in the profile")
    return report.estimated_cycles


def _interpreted(case: Case, inputs: Array, numerics: str) -> Array:
    """Outputs of tinyc's interpreter, where no other reference was recorded."""
    module = tinyc.load(case.model).module
    run_passes(module, parse_passes("strip-io-quantization"))
    return np.stack([evaluate(module, [image], Profile(numerics))[0] for image in inputs])
