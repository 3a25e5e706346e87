"""The answers do not depend on how hard the compiler tries."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from generated.test_generated_ops import generate, interpreted
from support.batch import compile_case, run_networks
from tinyc.numerics.profile import Profile

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("arm-none-eabi-gcc", "qemu-system-arm")), reason="needs arm-none-eabi-gcc and QEMU"
)


@pytest.mark.parametrize("level", ["-O0", "-Os", "-O2", "-O3"])
@pytest.mark.parametrize(("profile", "platform"), [(Profile.LITERT, "m4"), (Profile.TFLM, "m7")])
def test_random_graphs_give_the_same_at_every_optimisation_level(level: str, profile: Profile, platform: str, tmp_path: Path) -> None:
    cases = generate("a graph", 8, seed=5)
    networks = [compile_case(case, f"c{index}", profile) for index, case in enumerate(cases)]
    inputs = [values for case in cases for values in case.inputs]
    for case, outputs in zip(cases, run_networks(networks, inputs, platform, tmp_path, level), strict=True):
        for found, expected in zip(outputs, interpreted(case, profile), strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=f"{case.name} at {level}")
