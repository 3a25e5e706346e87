"""Random kernels of the families with multiplications against numpy: in plain C under sanitizers, and in QEMU with guarded buffers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernels import test_compact, test_conv, test_depthwise, test_fully_connected, test_fused_additions, test_winograd
from support.kernel_harness import CORES, Case, check_in_qemu, check_on_host, missing_tools


@dataclass(frozen=True)
class Family:
    """What draws cases from a seed, and how many the suite takes on the host and in QEMU."""

    random_cases: Callable[[int, int], list[Case]]
    on_host: int = 60
    in_qemu: int = 80


FAMILIES = {
    "convolution": Family(test_conv.random_cases),
    "Winograd": Family(test_winograd.random_cases, 36, 48),
    "depthwise": Family(test_depthwise.random_cases),
    "fully connected": Family(test_fully_connected.random_cases),
    "convolution + addition": Family(test_fused_additions.random_cases),
    "compact": Family(test_compact.random_cases, 24, 24),
}
EMULATED = missing_tools("arm-none-eabi-gcc", "qemu-system-arm")


@pytest.mark.skipif(bool(missing_tools("gcc")), reason=str(missing_tools("gcc")))
@pytest.mark.parametrize(("seed", "core"), list(enumerate(CORES)))
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_plain_c_equals_numpy_and_stays_inside_its_buffers(family: Family, seed: int, core: str, tmp_path: Path) -> None:
    check_on_host(family.random_cases(seed, family.on_host), tmp_path, core=core)


@pytest.mark.skipif(bool(EMULATED), reason=str(EMULATED))
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_dsp_code_equals_numpy(family: Family, core: str, tmp_path: Path) -> None:
    check_in_qemu(family.random_cases(100 + int(core[-1]), family.in_qemu), tmp_path, core)
