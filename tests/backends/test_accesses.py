"""The estimate of loads and stores, which decides what lies in the fast bank, against what Unicorn counts on an emulated part."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import tinyc
from tinyc.backends.cortexm.accesses import counted_accesses
from tinyc.driver.compile import compile_module
from tinyc.driver.pipeline import CompileOptions, pipeline
from tinyc.driver.write import write_build
from tinyc.ir.mcu import number
from tinyc.ir.schedule import build_schedule
from tinyc.memory.placement import align_up
from tinyc.passes.manager import run_passes
from tinyc.runners import histogram, random_inputs, read_description
from tinyc.runners.unicorn import AccessCount, Monitor
from tinyc.runners.unicorn_engine import UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE, Engine
from tinyc.targets import load_target

MODEL = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite"
pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or importlib.util.find_spec("unicorn") is None, reason="needs arm-none-eabi-gcc and unicorn"
)


def test_the_estimate_is_near_what_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tinyc.load(MODEL).module.clone()
    run_passes(module, pipeline(CompileOptions()))
    buffers = build_schedule(module).buffers
    # Every buffer gets a place that no other has, so that an address says whose the access is.
    places, end = [], 0
    for buffer in buffers:
        buffer.properties["offset"] = number(end)
        places.append((end, end + buffer.size_bytes))
        end = align_up(end + buffer.size_bytes, 16)
    module.attributes["arena_bytes"] = number(end)
    network = compile_module(module, "net", load_target("stm32f746"), CompileOptions(passes="", measure=False))
    write_build(network.files, tmp_path / "build")
    counts = np.zeros((len(buffers), 1), dtype=np.uint64)

    class CountedBuffers(histogram._Request):
        def watch_arenas(self, engine: Engine, library: ctypes.CDLL, monitor: Monitor, arenas: Sequence[tuple[int, int]]) -> None:
            for row, (first, last) in zip(counts, places, strict=True):
                count = AccessCount(ctypes.addressof(monitor), row.ctypes.data)
                start = arenas[0][0]
                kinds = UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE
                engine.hook(kinds, library.tinyc_on_counted_access, count, start + first, start + last - 1)

    monkeypatch.setattr(histogram, "_Request", CountedBuffers)
    inputs = random_inputs(read_description(tmp_path / "build"), 1, 0)
    histogram.count_executions(tmp_path / "build", inputs, 1, lambda program, elf: {})
    estimated = counted_accesses(module)
    total = int(counts.sum())
    assert total > 100_000
    assert abs(sum(estimated.values()) - total) < 0.1 * total
    for buffer, (found,) in zip(buffers, counts.tolist(), strict=True):
        if found > total // 200:
            assert 0.7 * found < estimated[buffer] < 1.4 * found, (buffer.kind.data, buffer.layer.data)
