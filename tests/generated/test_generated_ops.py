"""Generated ops and small graphs, as TFLite files: the C against ai-edge-litert (litert) and against the interpreter (both profiles).

The interpreter's own tflm rules are held against BUILTIN_REF, recorded TFLM outputs and the goldens in tests/numerics.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import elementwise_cases, movement_cases, numeric_cases, random_graphs
from support.batch import BatchCase, as_signed, compile_case, run_networks
from support.tflite_builder import run_litert
from tinyc.errors import TinycError
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.nn_base import tensor_of
from tinyc.numerics.profile import Profile
from tinyc.passes.rewriting import main_block

pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("arm-none-eabi-gcc", "qemu-system-arm", "gcc")),
    reason="needs arm-none-eabi-gcc, QEMU and gcc",
)

GRAPH = "a graph"
PERCENT = {GRAPH: 30, "CONV_2D grouped": 40}
"""Of as many cases as there are of others: networks of many calls, each of which takes as long as several ops."""
MAKERS: dict[str, Callable[[np.random.Generator], Any]] = {
    **numeric_cases.CASES,
    **elementwise_cases.CASES,
    **movement_cases.MOVEMENT_CASES,
    GRAPH: random_graphs.graph_case,
}
COUNT = int(os.environ.get("TINYC_GENERATED_CASES", "50"))
"""Cases an op; 1000 for the slow run, see docs/testing.md."""
BATCH = 50
PLATFORMS = {Profile.LITERT: ("m4", "host"), Profile.TFLM: ("m7", "unicorn-m7")}
"""Each profile on one path with DSP instructions at least; the rule of rounding and the path are independent in the C. Both emulators run
the same program."""
ON_HOST = 3
"""The portable path takes one of so many cases: compiling with sanitizers takes longer than all the rest."""
LARGEST_INPUT_BYTES = 300_000
"""Larger cases would not fit the emulated memory; there are few."""
LITERT_REFUSES = (RuntimeError, ValueError)


def generate(op: str, count: int, seed: int = 0) -> list[BatchCase]:
    """`count` cases of `op` that are small enough to run as C."""
    random = np.random.default_rng([seed, zlib.crc32(op.encode())])
    cases: list[BatchCase] = []
    while len(cases) < count:
        made = MAKERS[op](random)
        if sum(values.nbytes for values in made.inputs) <= LARGEST_INPUT_BYTES:
            cases.append(BatchCase(f"{op} {len(cases)}: {made.name}", made.model, tuple(made.inputs)))
    return cases


def interpreted(case: BatchCase, profile: Profile) -> list[np.ndarray[Any, Any]]:
    shapes = [tensor_of(argument).shape for argument in main_block(case.module).args]
    inputs = [as_signed(values).reshape(shape) for values, shape in zip(case.inputs, shapes, strict=True)]
    return evaluate(case.module, inputs, profile)


def taken(cases: list[BatchCase]) -> list[BatchCase]:
    """The cases that tinyc does not refuse; at most a tenth may be refused."""
    kept = []
    for case in cases:
        with contextlib.suppress(TinycError):
            case.module.verify()
            kept.append(case)
    assert len(kept) >= 0.9 * len(cases)
    return kept


def equals_litert(case: BatchCase, outputs: list[np.ndarray[Any, Any]]) -> bool:
    """Whether LiteRT takes the case; asserts that it then gives `outputs`."""
    try:
        reference = run_litert(case.model, case.inputs)
    except LITERT_REFUSES:
        return False
    for found, expected in zip(outputs, reference, strict=True):
        np.testing.assert_array_equal(
            found, as_signed(expected).reshape(found.shape), err_msg=f"{case.name}: the interpreter against LiteRT"
        )
    return True


@pytest.mark.parametrize("profile", PLATFORMS)
@pytest.mark.parametrize("op", sorted(MAKERS))
def test_the_c_of_generated_ops_equals_the_desktop(op: str, profile: Profile, tmp_path: Path) -> None:
    cases = taken(generate(op, COUNT * PERCENT.get(op, 100) // 100))
    compared_with_litert = 0
    for start in range(0, len(cases), BATCH):
        part = cases[start : start + BATCH]
        expected = [interpreted(case, profile) for case in part]
        if profile is Profile.LITERT:
            compared_with_litert += sum(equals_litert(case, outputs) for case, outputs in zip(part, expected, strict=True))
        networks = [compile_case(case, f"c{index}", profile) for index, case in enumerate(part)]
        for platform in PLATFORMS[profile]:
            every = ON_HOST if platform == "host" else 1
            inputs = [values for case in part[::every] for values in case.inputs]
            outputs_of_all = run_networks(networks[::every], inputs, platform, tmp_path)
            for case, wanted, outputs in zip(part[::every], expected[::every], outputs_of_all, strict=True):
                for found, values in zip(outputs, wanted, strict=True):
                    np.testing.assert_array_equal(found, values, err_msg=f"{case.name}: C on {platform} against the interpreter")
    assert profile is not Profile.LITERT or compared_with_litert >= 0.8 * len(cases)
