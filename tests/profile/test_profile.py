"""A profile's instructions are those of `tinyc run`, and each is the right layer's."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import tinyc
from runners.fake_build import make_build
from tinyc.errors import ModelError, UsageError
from tinyc.profile import profile_build
from tinyc.report.memory import memory_report_from_json
from tinyc.report.profile import ProfileReport
from tinyc.runners import random_inputs, read_description, run_build
from tinyc.targets import Timing, load_target

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite"

has_tools = (
    shutil.which("arm-none-eabi-gcc") is not None
    and importlib.util.find_spec("unicorn") is not None
    and any(shutil.which(name) for name in ("cc", "gcc", "clang"))
)
needs_tools = pytest.mark.skipif(not has_tools, reason="arm-none-eabi-gcc, unicorn and a C compiler of this machine are not all installed")

# Two layers that share a body and differ in how often it goes round; one is inlined, the other one a function of its own.
SHARED_BODY = """
static __attribute__((noinline)) void reverse_body(uint8_t *data, int rounds)
{
    __asm__ volatile("1:\\n\\tsubs %0, %0, #1\\n\\tbne 1b" : "+r"(rounds) : "r"(data) : "cc", "memory");
}
static void reverse_step0(uint8_t *arena) { reverse_body(arena, 10); }
static __attribute__((noinline)) void reverse_step1(uint8_t *arena) { reverse_body(arena + 64, 30); }
static __attribute__((noinline)) void reverse_unused(uint8_t *arena) { reverse_body(arena, 5); }
int reverse_invoke(uint8_t *arena)
{
    reverse_step0(arena);
    reverse_step1(arena);
    if (arena[0] == 255 && arena[1] == 254 && arena[70] == 253) {
        reverse_unused(arena);
    }
    return 0;
}
"""
CALLS = [
    {"step": step, "name": f"layer {step}", "op": "ADD", "kernel": "add", "macs": 100, "functions": [f"reverse_step{step}"]}
    for step in range(2)
]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example network, compiled for an STM32H743: streams, shared bodies and whole layers."""
    return tinyc.load(EXAMPLE).compile("stm32h743").write(tmp_path_factory.mktemp("profile") / "build")


@pytest.fixture(scope="module")
def report(example: Path) -> ProfileReport:
    return profile_build(example, random_inputs(read_description(example), 1, 0))


def shared_body(folder: Path, target: str = "cortex-m7", **changes: object) -> Path:
    return make_build(folder, target, body=SHARED_BODY, **{"calls": CALLS} | changes)


def with_timing(folder: Path, timing: dict[str, int]) -> Path:
    report = json.loads((folder / "report.json").read_text())
    report["target"]["timing"] = timing
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def profiled(folder: Path) -> ProfileReport:
    return profile_build(folder, random_inputs(read_description(folder), 1, 0))


@needs_tools
def test_the_sum_over_layers_is_what_run_counts_without_line_tables(example: Path, report: ProfileReport) -> None:
    counted = run_build(example, "unicorn", random_inputs(read_description(example), 1, 0))
    assert report.instructions == counted.instructions
    assert sum(layer.instructions for layer in report.layers) == counted.instructions


@needs_tools
def test_every_layer_of_the_schedule_is_there_with_its_macs(example: Path, report: ProfileReport) -> None:
    memory = memory_report_from_json(json.loads((example / "report.json").read_text()), "report.json")
    assert report.macs == memory.macs
    by_step = {step.step: step.macs for step in memory.layers}
    for step, macs in by_step.items():
        assert sum(layer.macs for layer in report.layers if layer.step == step) == macs
    assert all(layer.instructions > layer.macs / 2 for layer in report.layers if layer.step is not None)
    assert report.layers[0].step is None
    assert report.layers[0].instructions < 100


@needs_tools
def test_code_is_divided_without_remainder(example: Path, report: ProfileReport) -> None:
    memory = memory_report_from_json(json.loads((example / "report.json").read_text()), "report.json")
    assert memory.flash.code_bytes is not None
    # The compiler's figure has padding between functions and constants besides.
    assert 0 <= memory.flash.code_bytes - report.code_bytes < 0.02 * memory.flash.code_bytes


@needs_tools
def test_a_second_run_gives_the_same_profile(example: Path, report: ProfileReport) -> None:
    assert profile_build(example, random_inputs(read_description(example), 1, 0)) == report


@needs_tools
def test_of_several_samples_the_last_one_counts(tmp_path: Path) -> None:
    folder = shared_body(tmp_path / "build")
    several = profile_build(folder, random_inputs(read_description(folder), 3, 0))
    assert several.instructions == profiled(folder).instructions


@needs_tools
@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m7"])
def test_rounds_of_a_shared_body_belong_to_the_layer_that_called(tmp_path: Path, target: str) -> None:
    result = profiled(shared_body(tmp_path / "build", target))
    outside, first, second = result.layers
    assert first.instructions >= 20
    # Two instructions a round; the second layer is called and may return besides.
    assert 0 <= second.instructions - first.instructions - 20 * 2 <= 4
    assert outside.instructions + first.instructions + second.instructions == result.instructions
    (shared,) = result.shared
    assert (shared.function, shared.layers) == ("reverse_body", (1, 2))
    assert result.unused_code_bytes > 0


@needs_tools
def test_cycles_are_estimated_for_the_core_and_the_clock_of_the_part(tmp_path: Path) -> None:
    slow, fast = (profiled(shared_body(tmp_path / target, target)) for target in ("stm32f412", "stm32h743"))
    assert (slow.model, fast.model) == ("Cortex-M4", "Cortex-M7")
    # 20 more rounds of two instructions: on the M4 two cycles and a refill, on the M7 one cycle, since both go together.
    assert slow.layers[2].estimated_cycles - slow.layers[1].estimated_cycles >= 20 * 4
    assert 20 <= fast.layers[2].estimated_cycles - fast.layers[1].estimated_cycles < 20 * 2
    assert fast.estimated_ms(480_000) == 1.0


@needs_tools
def test_wait_states_are_added_only_where_the_target_has_them(tmp_path: Path) -> None:
    slow_flash = {"flash_wait_cycles": 6, "flash_line_bytes": 32}
    timings = ({}, slow_flash, slow_flash | {"flash_hit_percent": 100})
    results = [profiled(with_timing(shared_body(tmp_path / str(number)), timing)) for number, timing in enumerate(timings)]
    none, slow, cached = (result.estimated_cycles for result in results)
    # Each of the 40 rounds jumps, and a jump goes to flash.
    assert slow >= none + 38 * 6
    assert cached == none
    assert results[0].timing == "memory without wait states"
    assert "6 wait cycles" in results[1].timing


def test_parts_have_no_wait_states_by_default() -> None:
    assert load_target("stm32f746").timing == Timing() == Timing(flash_wait_cycles=0)


@needs_tools
def test_builds_that_do_not_record_their_calls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="compile the model again"):
        profiled(make_build(tmp_path / "build", "cortex-m7"))


def test_builds_for_the_host_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no cycle model of host"):
        profiled(shared_body(tmp_path / "build", "host"))


@pytest.mark.parametrize("calls", [[{}], [{"step": "x"}], [3]])
def test_damaged_records_are_refused(tmp_path: Path, calls: list[object]) -> None:
    with pytest.raises(ModelError, match="not a report of this version"):
        profiled(shared_body(tmp_path / "build", calls=calls))


@needs_tools
def test_totals_follow_from_layers(report: ProfileReport) -> None:
    fewer = replace(report, layers=report.layers[1:])
    assert fewer.instructions == report.instructions - report.layers[0].instructions
    assert sum(report.share(layer) for layer in report.layers) == pytest.approx(1)
