"""What every runner returns, and how a run fails."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyc.errors import TinycError

Array = npt.NDArray[Any]

DEFAULT_TIMEOUT_SECONDS = 300.0


class RunnerError(TinycError):
    """The generated C was started and did not end well: a fault, a write outside its arena, a failure it reported, a time limit passed."""


@dataclass(frozen=True)
class RunOptions:
    """How a build is run. `toolchain` names the compiler for emulated programs (None: the first that is installed); `sanitize` has the
    host's compiler check every access and every operation of the C."""

    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    toolchain: str | None = None
    sanitize: bool = False


@dataclass(frozen=True)
class RunResult:
    """One run of a build on one or more samples.

    `outputs` maps `output_0`, ... to arrays in the C's dtype: of the C's shape, or with a leading sample axis where the inputs had one.
    `instructions` is the exact number executed for the last sample, from entering tinyc_profile_begin up to entering tinyc_profile_end: the
    network and the handful of instructions that call it; None where it cannot be counted, with the reason in `notes`.
    `instructions_per_sample` has all of them. `stack_bytes` is the most stack that any sample used below the stack pointer of the caller
    (None where it is unknown). `command`, started in `cwd`, repeats the run by hand; `elf` is the program that was run.
    """

    outputs: dict[str, Array]
    samples: int
    instructions: int | None
    instructions_per_sample: tuple[int, ...]
    stack_bytes: int | None
    elf: Path
    command: tuple[str, ...]
    cwd: Path
    runner: str
    notes: tuple[str, ...] = ()

    def with_notes(self, notes: tuple[str, ...]) -> RunResult:
        """The same run with `notes` behind its own."""
        return replace(self, notes=self.notes + notes)


DTYPES: dict[str, np.dtype[Any]] = {
    "int8": np.dtype("int8"),
    "uint8": np.dtype("uint8"),
    "int16": np.dtype("<i2"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
    "float32": np.dtype("<f4"),
}
"""Element types of network inputs and outputs, with the byte order of Cortex-M."""
