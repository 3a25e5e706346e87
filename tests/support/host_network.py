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
from tinyc.backends.cortexm.emit import ARENA_ALIGNMENT, Region
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
    module: ModuleOp,
    profile: Profile = Profile.LITERT,
    passes: str | None = None,
    name: str = "net",
    keep_float_io: bool = False,
    stream_input: bool = False,
) -> CompiledNetwork:
    """`module` compiled for the host; `passes` replaces the pipeline."""
    options = CompileOptions(profile, passes=passes, measure=False, keep_float_io=keep_float_io, stream_input=stream_input)
    return compile_module(module, name, load_target("host"), options)


class PushedNetwork:
    """A network that takes its input row by row, in an arena full of garbage between guard zones."""

    def __init__(self, network: CompiledNetwork, folder: Path, seed: int = 0) -> None:
        library = build_library(network, folder)
        self.begin_function = getattr(library, f"{network.name}_begin")
        self.push_function = getattr(library, f"{network.name}_push_row")
        self.begin_function.argtypes = [ctypes.c_void_p]
        self.push_function.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        size = network.report.ram.arena_bytes
        self.random = np.random.default_rng(seed)
        self.memory = self.random.integers(0, 256, size + 2 * GUARD_BYTES + ARENA_ALIGNMENT).astype(np.uint8)
        self.start = GUARD_BYTES + -(self.memory.ctypes.data + GUARD_BYTES) % ARENA_ALIGNMENT
        self.address = self.memory.ctypes.data + self.start
        self.arena = self.memory[self.start : self.start + size]
        self.outside = np.delete(self.memory, np.s_[self.start : self.start + size])
        regions = network_boundary(network.module)
        (self.input,) = [region for region in regions if region.is_input]
        self.outputs = [region for region in regions if not region.is_input]

    def begin(self) -> int:
        """The code of NAME_begin."""
        return int(self.begin_function(self.address))

    def push(self, row: npt.NDArray[Any]) -> int:
        """The code of NAME_push_row for `row`, which lies where its type allows and no better, and is overwritten at once."""
        item = row.dtype.itemsize
        storage = np.zeros(row.nbytes + 2 * item, np.uint8)
        skip = item + -storage.ctypes.data % item
        copy = storage[skip : skip + row.nbytes]
        copy[:] = np.ascontiguousarray(row).view(np.uint8).ravel()
        code = int(self.push_function(self.address, storage.ctypes.data + skip))
        copy[:] = self.random.integers(0, 256, row.nbytes).astype(np.uint8)
        return code

    def infer(self, image: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Outputs for `image`; every code must be as documented, and bytes around the arena must stay as they are."""
        assert self.begin() == 0
        rows = image.reshape(self.input.rows, -1)
        codes = [self.push(row) for row in rows]
        assert codes == [0] * (len(rows) - 1) + [1]
        self.check_outside()
        return [self._output(region) for region in self.outputs]

    def check_outside(self) -> None:
        """Bytes around the arena must be as they were."""
        now = np.delete(self.memory, np.s_[self.start : self.start + len(self.arena)])
        np.testing.assert_array_equal(now, self.outside, err_msg="bytes outside the arena were written")

    def _output(self, region: Region) -> npt.NDArray[Any]:
        data = self.arena[region.offset : region.offset + region.bytes]
        return data.view(DTYPES[region.element]).reshape(region.dims).copy()


def build_library(network: CompiledNetwork, folder: Path) -> ctypes.CDLL:
    """The C of `network`, free of warnings, as a shared library of this process."""
    for file, text in network.files.items():
        (folder / file).write_text(text, encoding="utf-8")
    library = folder / "network.so"
    sources = [folder / f"{network.name}.c", folder / f"{network.name}_weights.c"]
    built = subprocess.run(
        ["gcc", "-std=c99", "-O1", *WARNINGS, "-fPIC", "-shared", "-I", folder, *sources, "-lm", "-o", library],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[:4000]
    return ctypes.CDLL(str(library))


def run_on_host(network: CompiledNetwork, folder: Path, inputs: Sequence[npt.NDArray[Any]], calls: int = 2) -> list[npt.NDArray[Any]]:
    """Outputs of the last of `calls` runs in one arena, full of garbage at first; bytes around the arena must stay as they are."""
    invoke = getattr(build_library(network, folder), f"{network.name}_invoke")
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
