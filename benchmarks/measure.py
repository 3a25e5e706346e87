"""One measurement: a network compiled for one core and profile, run in QEMU, held against the reference."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cases import Array, Case

import tinyc
from tinyc.errors import MismatchError
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile
from tinyc.numerics.quantization import dequantization_plan
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes
from tinyc.runners import link_for_part, read_description, run_build
from tinyc.targets import load_target

CORES = {"m4": "cortex-m4", "m7": "cortex-m7"}
"""Short names of the cores and the targets that stand for them."""


@dataclass(frozen=True)
class Measurement:
    """What one network takes; sizes in bytes. `stack` is the deepest path of calls, which no run in QEMU exceeded."""

    network: str
    core: str
    numerics: str
    macs: int
    instructions: int
    arena: int
    lower_bound: int
    static: int
    stack: int
    weights: int
    code: int
    image: int
    """Flash of a linked image: network, C library functions that it uses, start-up code."""
    samples: int
    compile_seconds: float
    """Wall-clock time of load and compile on this machine; printed, never recorded."""

    @property
    def ram(self) -> int:
        """Arena with inputs and outputs, variables, stack."""
        return self.arena + self.static + self.stack


def measure(case: Case, core: str, numerics: str, samples: int) -> Measurement:
    """Compiles, runs and compares the first `samples` inputs.

    Raises MismatchError where an output value differs or the stack is deeper than promised, and whatever compiling and running raise.
    """
    target = load_target(CORES[core])
    begin = time.perf_counter()
    compiled = tinyc.load(case.model).compile(target, numerics=numerics)
    seconds = time.perf_counter() - begin
    report = compiled.report
    if report.flash.code_bytes is None:
        raise MismatchError("code was not measured: arm-none-eabi-gcc is missing")
    inputs = case.inputs[:samples]
    with tempfile.TemporaryDirectory(prefix="tinyc-benchmark-") as folder:
        build = compiled.write(Path(folder) / "build")
        result = run_build(build, "qemu", {"input_0": inputs})
        image = link_for_part(build, target).size.flash
        region = read_description(build).outputs[0]
    expected = case.expected[numerics][:samples] if numerics in case.expected else _interpreted(case, inputs, numerics)
    found = result.outputs["output_0"][: len(expected)]
    if expected.dtype == np.float32:
        assert region.scale is not None
        assert region.zero_point is not None
        found = dequantization_plan(region.scale, region.zero_point).apply(found)
    differing = int(np.count_nonzero(found != expected))
    where = f"{case.name}, {core}, {numerics}"
    if found.shape != expected.shape or differing:
        raise MismatchError(f"{where}: {differing} of {expected.size} output values differ from the reference")
    if report.ram.stack_bytes is None or result.stack_bytes is None or report.ram.stack_bytes < result.stack_bytes:
        raise MismatchError(f"{where}: {result.stack_bytes} bytes of stack were used, the header promises {report.ram.stack_bytes}")
    if result.instructions is None:
        raise MismatchError(f"{where}: instructions were not counted: {'; '.join(result.notes)}")
    return Measurement(
        network=case.name,
        core=core,
        numerics=numerics,
        macs=report.macs,
        instructions=result.instructions_per_sample[0],
        arena=report.ram.arena_bytes,
        lower_bound=report.ram.lower_bound_bytes,
        static=report.ram.static_bytes,
        stack=report.ram.stack_bytes,
        weights=report.flash.weights_bytes,
        code=report.flash.code_bytes,
        image=image,
        samples=len(expected),
        compile_seconds=seconds,
    )


def _interpreted(case: Case, inputs: Array, numerics: str) -> Array:
    """Outputs of tinyc's interpreter, where no other reference was recorded."""
    module = tinyc.load(case.model).module
    run_passes(module, parse_passes("strip-io-quantization"))
    return np.stack([evaluate(module, [image], Profile(numerics))[0] for image in inputs])
