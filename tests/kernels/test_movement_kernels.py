"""The bodies of slices, joins, mirrors, resizes, blocks and maxima against the interpreter, row by row, in plain C and in QEMU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.kernel_harness import CORES, missing_tools
from support.lowered_cases import typed_cases
from support.movement_cases import MOVEMENT_CASES
from support.typed_kernel_harness import TypedCase, check_typed_in_qemu, check_typed_on_host
from tinyc.frontends.tflite import import_tflite
from tinyc.numerics.profile import Profile

HOST = missing_tools("gcc")
TARGET = missing_tools("arm-none-eabi-gcc", "qemu-system-arm")
# Convolutions have tests of their own: their bodies take scratch, which this harness does not pass.
OPS = [op for op in MOVEMENT_CASES if "CONV" not in op]


def cases(op: str, models: int, seed: int, profile: Profile) -> list[TypedCase]:
    """Calls of `models` random models with that op."""
    random = np.random.default_rng(seed)
    found: list[TypedCase] = []
    for _ in range(models):
        case = MOVEMENT_CASES[op](random)
        found += typed_cases(import_tflite(case.model, case.name), case.inputs, profile, random, case.name)
    return found


@pytest.mark.skipif(HOST is not None, reason=HOST or "")
@pytest.mark.parametrize("profile", list(Profile))
def test_plain_c_bodies_equal_the_interpreter(profile: Profile, tmp_path: Path) -> None:
    check_typed_on_host([case for op in OPS for case in cases(op, 8, 3, profile)], tmp_path)


@pytest.mark.skipif(TARGET is not None, reason=TARGET or "")
@pytest.mark.parametrize(("core", "profile"), [("cortex-m4", Profile.LITERT), ("cortex-m7", Profile.TFLM)])
def test_bodies_equal_the_interpreter_in_qemu(core: str, profile: Profile, tmp_path: Path) -> None:
    assert core in CORES
    check_typed_in_qemu([case for op in OPS for case in cases(op, 5, 4, profile)], tmp_path, core)
