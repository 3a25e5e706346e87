"""The host runner with sanitizers: what they find is an error with their words, and clean code passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_build import needs_native_compiler

from tinyc.errors import UsageError
from tinyc.runners import RunnerError, run_build

Build = Callable[..., Path]
SAMPLE = np.full((3, 4), 100, dtype=np.int8)


@needs_native_compiler
def test_clean_code_gives_the_same_answer_and_no_measurement(build: Build) -> None:
    folder = build("stm32f746")
    plain = run_build(folder, "host", {"input_0": SAMPLE})
    checked = run_build(folder, "host", {"input_0": SAMPLE}, sanitize=True)
    np.testing.assert_array_equal(checked.outputs["output_0"], plain.outputs["output_0"])
    assert checked.stack_bytes is None
    assert any("AddressSanitizer" in note for note in checked.notes)


@needs_native_compiler
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("arena[64] = arena[77];", "AddressSanitizer: use-after-poison"),
        ("arena[64] = *(arena - 1);", "AddressSanitizer: use-after-poison"),
        ("int32_t local[4] = {0}; arena[64] = (uint8_t)local[arena[16]];", "AddressSanitizer|out of bounds"),
        ("volatile int32_t big = 2147483647; big = big + arena[16]; arena[64] = (uint8_t)big;", "signed integer overflow"),
        ("volatile int32_t one = 1; arena[64] = (uint8_t)(one << arena[16]);", "shift exponent 100 is too large"),
        ("arena[64] = (uint8_t)*(volatile uint32_t *)(void *)(arena + 1);", "misaligned address"),
    ],
)
def test_what_a_sanitizer_finds_is_an_error_with_its_words(build: Build, statement: str, message: str) -> None:
    body = f"int reverse_invoke(uint8_t *arena)\n{{\n    {statement}\n    return 0;\n}}\n"
    with pytest.raises(RunnerError, match=message):
        run_build(build("stm32f746", body=body), "host", {"input_0": SAMPLE}, sanitize=True)


@pytest.mark.parametrize("runner", ["qemu", "unicorn", "renode"])
def test_sanitizers_in_an_emulator_are_refused(build: Build, runner: str) -> None:
    with pytest.raises(UsageError, match="use them with the runner host"):
        run_build(build("stm32f746"), runner, {"input_0": SAMPLE}, sanitize=True)


def test_a_toolchain_for_the_host_is_refused(build: Build) -> None:
    with pytest.raises(UsageError, match="C compiler of this machine"):
        run_build(build("stm32f746"), "host", {"input_0": SAMPLE}, toolchain="zig")
