"""The one entrance: a build folder, a runner's name and input arrays in; outputs and measurements out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tinyc.errors import UsageError, printable
from tinyc.runners.base import DEFAULT_TIMEOUT_SECONDS, Array, RunOptions, RunResult
from tinyc.runners.description import BuildDescription, read_description
from tinyc.runners.harness import prepare_work_dir
from tinyc.runners.host import run_on_host
from tinyc.runners.io import Samples, prepare_inputs
from tinyc.runners.qemu import run_on_qemu
from tinyc.runners.renode import run_on_renode
from tinyc.runners.unicorn import run_on_unicorn

RUNNERS: Final[Mapping[str, Callable[[BuildDescription, Samples, Path, RunOptions], RunResult]]] = {
    "qemu": run_on_qemu,
    "unicorn": run_on_unicorn,
    "renode": run_on_renode,
    "host": run_on_host,
}


def run_build(
    build_dir: Path,
    runner: str,
    inputs: Mapping[str, Array],
    work_dir: Path | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    *,
    toolchain: str | None = None,
    sanitize: bool = False,
) -> RunResult:
    """Compiles the build in `build_dir` for `runner` (a key of RUNNERS) and runs it once per sample.

    `inputs` maps `input_0`, ... to arrays of the C's shape, or with one extra leading axis for several samples; see tinyc.runners.io for
    dtypes. Files of the run, the program among them, stay in `work_dir`, by default BUILD/run-RUNNER; two runs at the same time
    need two work folders. `toolchain` (gcc or zig) compiles for the emulators; without it the first that is installed does. `sanitize` lets
    the sanitizers of the host's compiler watch the network, on the runner `host` only.

    Raises UsageError, ModelError (build folder or inputs), ToolError, DoesNotFitError and RunnerError as the runners do.
    """
    if runner not in RUNNERS:
        raise UsageError(f"unknown runner {printable(repr(runner))}; available: {', '.join(RUNNERS)}")
    if sanitize and runner != "host":
        raise UsageError("sanitizers check the code of this machine: use them with the runner host")
    if toolchain is not None and runner == "host":
        raise UsageError("the runner host takes the C compiler of this machine; a toolchain can be chosen for the emulators only")
    description = read_description(build_dir)
    samples = prepare_inputs(description, inputs)
    folder, notes = prepare_work_dir(build_dir, f"run-{runner}", work_dir)
    result = RUNNERS[runner](description, samples, folder, RunOptions(timeout_seconds, toolchain, sanitize))
    return result.with_notes(notes)
