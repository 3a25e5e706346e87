"""One measurement: a network compiled for one core, run in QEMU, held against the reference."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cases import Array, Case

import tinyc
from tinyc.bench import Figures, measure_compiled
from tinyc.driver.budgets import OPTIMIZE
from tinyc.errors import MismatchError
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile
from tinyc.numerics.quantization import dequantization_plan
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes
from tinyc.profile.profile import profile_build
from tinyc.quantize.options import Progress
from tinyc.runners import BuildDescription, RunResult
from tinyc.targets import load_target

CORES = {"m4": "cortex-m4", "m7": "cortex-m7"}
"""Short names of the cores and the targets that stand for them."""
FEW_SAMPLES = 2
"""Inputs that builds with other options than the default run; the default runs all that were recorded."""


@dataclass(frozen=True)
class Build:
    """How a network is compiled: the core (a key of CORES), the numeric profile, and options of `tinyc compile`."""

    core: str
    numerics: str = "litert"
    optimize: str = OPTIMIZE[0]
    stream_input: bool = False
    passes: str | None = None

    @property
    def is_default(self) -> bool:
        """Whether nothing but core and numerics was chosen."""
        return self == Build(self.core, self.numerics)

    def __str__(self) -> str:
        chosen = [self.optimize] if self.optimize != OPTIMIZE[0] else []
        chosen += ["row by row"] if self.stream_input else []
        chosen += ["passes"] if self.passes is not None else []
        return ", ".join([self.core.upper(), self.numerics, *chosen])


@dataclass(frozen=True)
class Measurement:
    """What one network takes on one core, and how many inputs gave the reference's outputs."""

    figures: Figures
    network: str
    core: str
    samples: int
    estimated_cycles: int | None
    """Of the first input, by the core's model (docs/profile.md); for builds that are run row by row nobody asked for them."""
    notes: tuple[str, ...] = ()
    """What the runner had to say."""

    @property
    def numerics(self) -> str:
        """Profile of the C."""
        return self.figures.numerics


def measure(case: Case, build: Build) -> Measurement:
    """Compiles, runs and compares all recorded inputs, or FEW_SAMPLES of them where `build` is not the default.

    Raises MismatchError where an output value differs or the stack is deeper than promised, and whatever compiling and running raise.
    """
    target = load_target(CORES[build.core])
    compiled = tinyc.load(case.model).compile(
        target, numerics=build.numerics, optimize=build.optimize, stream_input=build.stream_input, passes=build.passes
    )
    inputs = case.inputs[: case.samples if build.is_default else min(case.samples, FEW_SAMPLES)]
    measured = measure_compiled(compiled, target, "qemu", {"input_0": inputs})
    equal = compare(case, build, measured.build, measured.run)
    cycles = None if build.stream_input else estimated_cycles(compiled, {"input_0": inputs[:1]}, measured.figures.instructions)
    return Measurement(measured.figures, case.name, build.core, equal, cycles, measured.run.notes)


def compare(case: Case, build: Build, description: BuildDescription, run: RunResult) -> int:
    """How many inputs, from the first on, were held against the reference. Raises MismatchError where an output value differs."""
    inputs = case.inputs[: run.samples]
    numerics = build.numerics
    expected = case.expected[numerics][: len(inputs)] if numerics in case.expected else _interpreted(case, inputs, numerics)
    found = run.outputs["output_0"][: len(expected)]
    if expected.dtype == np.float32:
        region = description.outputs[0]
        assert region.scale is not None
        assert region.zero_point is not None
        found = dequantization_plan(region.scale, region.zero_point).apply(found)
    differing = int(np.count_nonzero(found != expected))
    if found.shape != expected.shape or differing:
        raise MismatchError(f"{case.name}, {build}: {differing} of {expected.size} output values differ from the reference")
    return len(expected)


def estimated_cycles(compiled: tinyc.Compiled, inputs: Mapping[str, Array], instructions: int) -> int:
    """Estimated cycles of one inference. Raises MismatchError where another number of instructions ran than in QEMU."""
    with tempfile.TemporaryDirectory(prefix="tinyc-benchmark-") as folder:
        report = profile_build(compiled.write(Path(folder) / "build"), inputs)
    if report.instructions != instructions:
        raise MismatchError(f"{compiled.name}: {instructions} instructions in QEMU, {report.instructions} in the profile")
    return report.estimated_cycles


def _interpreted(case: Case, inputs: Array, numerics: str) -> Array:
    """Outputs of tinyc's interpreter, where no other reference was recorded."""
    module = tinyc.load(case.model).module
    run_passes(module, parse_passes("strip-io-quantization"))
    return np.stack([evaluate(module, [image], Profile(numerics))[0] for image in inputs])


def silent(what: str) -> None:
    """Tells nobody."""


@dataclass
class Laboratory:
    """Measures what the pages need, each build once, however many pages tell about it; `tell` hears what is being measured."""

    tell: Callable[[str], None] = silent
    _known: dict[tuple[str, Build], Measurement] = field(default_factory=dict)

    def progress(self, name: str) -> Progress:
        """What tells how far an action with `name` is."""

        def tell(action: str, done: int, total: int) -> None:
            self.tell(f"{name}: {action} {done}/{total}")

        return tell

    def measure(self, case: Case, build: Build) -> Measurement:
        """See `measure`."""
        key = case.name, build
        if key not in self._known:
            self.tell(f"{case.name}, {build}")
            self._known[key] = measure(case, build)
        return self._known[key]
