"""One measurement: a compiled network run in an emulator and linked for its part."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinyc.api import Compiled
from tinyc.errors import MismatchError, ToolError
from tinyc.runners import RunResult, link_for_part, random_inputs, read_description, run_build
from tinyc.runners.base import Array
from tinyc.runners.description import BuildDescription
from tinyc.targets import Target


@dataclass(frozen=True)
class Figures:
    """What one network takes on one target; sizes in bytes.

    `instructions` are those of the first sample; `stack` is the deepest path of calls, which no run exceeded; `image` is the flash of a
    linked image: network, C library functions that it uses, start-up code.
    """

    network: str
    target: str
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

    @property
    def ram(self) -> int:
        """Arena with inputs and outputs, variables, stack."""
        return self.arena + self.static + self.stack

    @property
    def per_mac(self) -> float | None:
        """Instructions per multiply-accumulate; None without any."""
        return self.instructions / self.macs if self.macs else None


@dataclass(frozen=True)
class Measured:
    """Figures, and the run that they are from, with outputs of all samples."""

    figures: Figures
    run: RunResult
    build: BuildDescription


def measure_compiled(compiled: Compiled, target: Target, runner: str, inputs: Mapping[str, Array] | None = None) -> Measured:
    """Runs `compiled`, which was compiled for `target`, on `inputs` (by default one random sample) and links it.

    Raises ToolError where a tool is missing or instructions cannot be counted, MismatchError where the run needs more stack than the
    header promises, DoesNotFitError where it cannot be linked, RunnerError.
    """
    report = compiled.report
    if report.flash.code_bytes is None or report.ram.stack_bytes is None:
        raise ToolError("code was not measured: arm-none-eabi-gcc is missing, install the package gcc-arm-none-eabi")
    with tempfile.TemporaryDirectory(prefix="tinyc-bench-") as folder:
        build = compiled.write(Path(folder) / "build")
        description = read_description(build)
        result = run_build(build, runner, random_inputs(description, 1, 0) if inputs is None else inputs)
        image = link_for_part(build, target).size.flash
    if result.instructions is None:
        raise ToolError(f"instructions were not counted: {'; '.join(result.notes)}")
    if result.stack_bytes is None or report.ram.stack_bytes < result.stack_bytes:
        raise MismatchError(f"{report.name}: {result.stack_bytes} bytes of stack were used, the header promises {report.ram.stack_bytes}")
    figures = Figures(
        network=report.name,
        target=report.target,
        numerics=report.numerics,
        macs=report.macs,
        instructions=result.instructions_per_sample[0],
        arena=report.ram.arena_bytes,
        lower_bound=report.ram.lower_bound_bytes,
        static=report.ram.static_bytes,
        stack=report.ram.stack_bytes,
        weights=report.flash.weights_bytes,
        code=report.flash.code_bytes,
        image=image,
    )
    return Measured(figures, result, description)
