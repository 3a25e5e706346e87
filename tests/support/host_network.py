"""Compiles a module to C, builds it with the host's compiler as a shared library, and runs it in this process."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import ModuleOp

from support.kernel_harness import WARNINGS
from tinyc.backends.cortexm.emit import ARENA_ALIGNMENT
from tinyc.driver.compile import CompiledNetwork, compile_module, network_boundary
from tinyc.driver.pipeline import CompileOptions
from tinyc.numerics.profile import Profile
from tinyc.targets import load_target

DTYPES: dict[str, np.dtype[Any]] = {
    "i8": np.dtype(np.int8),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "f32": np.dtype(np.float32),
}
GUARD_BYTES = 64


def needs_gcc() -> str | None:
    """Reason to skip, or None."""
    return None if shutil.which("gcc") else "needs gcc"


def compile_for_host(
    module: ModuleOp, profile: Profile = Profile.LITERT, passes: str | None = None, name: str = "net", keep_float_io: bool = False
) -> CompiledNetwork:
    """`module` compiled for the host; `passes` replaces the pipeline."""
    return compile_module(
        module, name, load_target("host"), CompileOptions(profile, passes=passes, measure=False, keep_float_io=keep_float_io)
    )


def run_on_host(network: CompiledNetwork, folder: Path, inputs: Sequence[npt.NDArray[Any]], calls: int = 2) -> list[npt.NDArray[Any]]:
    """Outputs of the last of `calls` runs in one arena, full of garbage at first; bytes around the arena must stay as they are."""
    for file, text in network.files.items():
        (folder / file).write_text(text, encoding="utf-8")
    library = folder / "network.so"
    sources = [folder / f"{network.name}.c", folder / f"{network.name}_weights.c"]
    built = subprocess.run(
        ["gcc", "-std=c99", "-O2", *WARNINGS, "-fPIC", "-shared", "-I", folder, *sources, "-lm", "-o", library],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[:4000]
    invoke = getattr(ctypes.CDLL(str(library)), f"{network.name}_invoke")
    invoke.argtypes, invoke.restype = [ctypes.c_void_p], ctypes.c_int
    size = network.report.ram.arena_bytes
    memory = np.random.default_rng(0).integers(0, 256, size + 2 * GUARD_BYTES + ARENA_ALIGNMENT).astype(np.uint8)
    start = GUARD_BYTES + -(memory.ctypes.data + GUARD_BYTES) % ARENA_ALIGNMENT
    before, arena, after = memory[:start].copy(), memory[start : start + size], memory[start + size :].copy()
    regions = network_boundary(network.module)
    for _ in range(calls):
        for region, values in zip([region for region in regions if region.is_input], inputs, strict=True):
            arena[region.offset : region.offset + region.bytes] = np.ascontiguousarray(values).view(np.uint8).ravel()
        assert invoke(memory.ctypes.data + start) == 0
    np.testing.assert_array_equal(memory[:start], before, err_msg="bytes before the arena were written")
    np.testing.assert_array_equal(memory[start + size :], after, err_msg="bytes behind the arena were written")
    outputs = [region for region in regions if not region.is_input]
    return [
        arena[region.offset : region.offset + region.bytes].view(DTYPES[region.element]).reshape(region.dims).copy() for region in outputs
    ]
