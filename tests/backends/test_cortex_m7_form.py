"""Networks compiled for Cortex-M7: exact on emulated cores, and fewer estimated cycles than in the form for Cortex-M4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinyc
from support.kernel_harness import missing_tools
from tinyc.driver.pipeline import CompileOptions, default_pipeline
from tinyc.profile.profile import profile_build
from tinyc.runners import random_inputs, read_description, run_build

REPOSITORY = Path(__file__).resolve().parents[2]
FASHION = REPOSITORY / "examples/fashion_mnist/fashion_mnist.tflite"
SHARED = REPOSITORY / "../shared"
TOOLS = missing_tools("arm-none-eabi-gcc")
pytestmark = pytest.mark.skipif(bool(TOOLS), reason=str(TOOLS))


@pytest.mark.skipif(bool(missing_tools("qemu-system-arm")), reason=str(missing_tools("qemu-system-arm")))
@pytest.mark.parametrize("numerics", ["litert", "tflm"])
def test_a_network_in_the_form_for_cortex_m7_equals_the_one_for_the_host(numerics: str, tmp_path: Path) -> None:
    pytest.importorskip("unicorn")
    network = tinyc.load(FASHION)
    build = network.compile("cortex-m7", numerics=numerics, measure=False).write(tmp_path / "m7")
    plain = network.compile("host", numerics=numerics, measure=False).write(tmp_path / "host")
    inputs = random_inputs(read_description(build), 2, 7)
    assert "TINYC_LOAD(w0," in (build / "fashion_mnist.c").read_text(encoding="utf-8")
    expected = run_build(plain, "host", inputs).outputs
    for runner in ("qemu", "unicorn"):
        found = run_build(build, runner, inputs).outputs
        assert all(np.array_equal(found[name], expected[name]) for name in expected), runner


def cycles(model: Path, passes: str | None, folder: Path) -> int:
    """Estimated cycles of one inference on a Cortex-M7."""
    build = tinyc.load(model).compile("cortex-m7", passes=passes, measure=False).write(folder)
    return profile_build(build, random_inputs(read_description(build), 1, 0)).estimated_cycles


def test_the_form_for_cortex_m7_takes_a_fifth_fewer_estimated_cycles_there(tmp_path: Path) -> None:
    pytest.importorskip("unicorn")
    other = cycles(FASHION, default_pipeline(CompileOptions(core="cortex-m4")), tmp_path / "m4")
    assert 5 * cycles(FASHION, None, tmp_path / "m7") < 4 * other


@pytest.mark.skipif(not (SHARED / "models/vww.tflite").exists(), reason="needs ../shared/models")
def test_vww_stays_within_twelve_and_a_half_million_estimated_cycles(tmp_path: Path) -> None:
    pytest.importorskip("unicorn")
    assert cycles(SHARED / "models/vww.tflite", None, tmp_path / "m7") < 12_500_000
