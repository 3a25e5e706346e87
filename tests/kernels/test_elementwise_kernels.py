"""Bodies of lookups, extremes, PRELU, subtractions and averages of uint8 against the numerics, in plain C and with DSP instructions."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.elementwise_kernel_cases import cases
from support.kernel_harness import CORES, missing_tools
from support.typed_kernel_harness import check_typed_in_qemu, check_typed_on_host
from tinyc.numerics.profile import Profile

HOST = missing_tools("gcc")
TARGET = missing_tools("arm-none-eabi-gcc", "qemu-system-arm")


@pytest.mark.skipif(HOST is not None, reason=HOST or "")
@pytest.mark.parametrize("profile", list(Profile))
def test_plain_c_bodies_equal_the_numerics(profile: Profile, tmp_path: Path) -> None:
    check_typed_on_host(cases(1, 12, profile), tmp_path)


@pytest.mark.skipif(TARGET is not None, reason=TARGET or "")
@pytest.mark.parametrize(("core", "profile"), [("cortex-m4", Profile.LITERT), ("cortex-m7", Profile.TFLM)])
def test_dsp_bodies_equal_the_numerics_in_qemu(core: str, profile: Profile, tmp_path: Path) -> None:
    assert core in CORES
    check_typed_in_qemu(cases(2, 14, profile), tmp_path, core)
