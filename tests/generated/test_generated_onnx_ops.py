"""Generated single ops, as ONNX files: the emitted C against ONNX Runtime, with int8 and uint8 in turn."""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from support.batch import run_networks
from support.onnx_builder import run_onnxruntime
from support.onnx_cases import CASES, Case, Draw
from tinyc.driver.compile import CompiledNetwork, compile_module
from tinyc.driver.pipeline import CompileOptions
from tinyc.errors import UnsupportedError
from tinyc.frontends.onnx import import_onnx
from tinyc.numerics.profile import Profile
from tinyc.passes.channels_last import ChannelsLast
from tinyc.passes.manager import run_passes
from tinyc.targets import load_target

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("arm-none-eabi-gcc", "qemu-system-arm", "gcc")),
    reason="needs arm-none-eabi-gcc, QEMU and gcc",
)

COUNT = max(2, int(os.environ.get("TINYC_GENERATED_CASES", "100")) // 50)
"""Models an op; 20 for the slow run, see docs/testing.md."""
BATCH = 60


def generate(platform: str) -> list[tuple[str, Case]]:
    """Models of every op, other ones for each platform."""
    made = []
    for op in sorted(CASES):
        random = np.random.default_rng([zlib.crc32(op.encode()), zlib.crc32(platform.encode())])
        made += [(op, CASES[op](Draw(random, np.uint8 if index % 2 else np.int8))) for index in range(COUNT)]
    return made


def compiled(case: Case, name: str) -> CompiledNetwork | None:
    """The case's network, in the file's order of dimensions; None for a broadcast that no kernel does."""
    module = import_onnx(case[0].SerializeToString(), name)
    run_passes(module, [ChannelsLast("nchw")])
    try:
        return compile_module(
            module, name, load_target("cortex-m4"), CompileOptions(Profile.ONNXRUNTIME, measure=False, keep_float_io=True)
        )
    except UnsupportedError as error:
        if all("broadcasting" in diagnostic.reason for diagnostic in error.diagnostics):
            return None
        raise


@pytest.mark.parametrize("platform", ["m4", "host"])
def test_the_c_of_generated_onnx_ops_equals_onnx_runtime(platform: str, tmp_path: Path) -> None:
    cases = generate(platform)
    networks = [(op, case, network) for index, (op, case) in enumerate(cases) if (network := compiled(case, f"c{index}"))]
    assert len(networks) >= 0.95 * len(cases)
    for start in range(0, len(networks), BATCH):
        part = networks[start : start + BATCH]
        inputs = [values for _, (_, feeds), _ in part for values in feeds.values()]
        outputs = run_networks([network for _, _, network in part], inputs, platform, tmp_path)
        for (op, (model, feeds), _), (found,) in zip(part, outputs, strict=True):
            (expected,) = run_onnxruntime(model, feeds)
            np.testing.assert_array_equal(found, expected, err_msg=f"{op}: {model.graph.node}")
