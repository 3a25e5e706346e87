"""The same C by other compilers: gcc at -O2, -Os and -O3, and zig's clang, outputs compared; docs/benchmarks.md."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cases import Case
from documents import Edit, Section
from measure import CORES, FEW_SAMPLES, Build, Laboratory, compare
from networks import BENCHMARKS
from tables import table_row

import tinyc
from tinyc.errors import ToolError
from tinyc.runners import RUNNERS, read_description
from tinyc.runners.base import RunOptions
from tinyc.runners.io import prepare_inputs

COMPILERS = (("gcc", "-O2"), ("gcc", "-Os"), ("gcc", "-O3"), ("zig", "-O2"))
BUILDS = (Build("m4", "litert"), Build("m7", "tflm"))
HEADING = "network | core | numerics | " + " | ".join(f"{compiler} {level}" for compiler, level in COMPILERS) + " | inputs equal"


def measure_compilers(laboratory: Laboratory, cases: Sequence[Case]) -> list[Edit]:
    """What the page says about `cases`."""
    rows = [_row(laboratory, case, build) for case in cases for build in BUILDS]
    return [Section(BENCHMARKS, "compilers", rows, HEADING)]


def _row(laboratory: Laboratory, case: Case, build: Build) -> str:
    """Raises MismatchError where some compiler's program computes other values, ToolError where instructions were not counted."""
    inputs = {"input_0": case.inputs[: min(case.samples, FEW_SAMPLES)]}
    counts, equal = [], 0
    with tempfile.TemporaryDirectory(prefix="tinyc-compilers-") as folder:
        compiled = tinyc.load(case.model).compile(CORES[build.core], numerics=build.numerics, measure=False)
        description = read_description(compiled.write(Path(folder) / "build"))
        for compiler, level in COMPILERS:
            laboratory.tell(f"{case.name}, {build}, {compiler} {level}")
            work = Path(folder) / f"{compiler}{level}"
            work.mkdir()
            run = RUNNERS["qemu"](
                replace(description, optimization=level), prepare_inputs(description, inputs), work, RunOptions(toolchain=compiler)
            )
            equal = compare(case, build, description, run)
            if not run.instructions_per_sample:
                raise ToolError(f"{case.name}: instructions of {compiler} {level} were not counted")
            counts.append(run.instructions_per_sample[0])
    return table_row(case.name, build.core.upper(), build.numerics, *counts, equal)
