"""Builds that take their input row by row: the harness pushes rows, overwrites them at once, and counts all pushes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_build import needs_gcc_arm, needs_native_compiler, needs_qemu, needs_unicorn

from tinyc.errors import ModelError
from tinyc.runners import RunnerError, link_for_part, read_description, run_build
from tinyc.targets import load_target

Build = Callable[..., Path]
RUNNERS = [
    pytest.param("host", "host", marks=needs_native_compiler),
    pytest.param("qemu", "cortex-m7", marks=needs_qemu),
    pytest.param("unicorn", "cortex-m4", marks=needs_unicorn),
]
SAMPLE = np.arange(12, dtype=np.int8).reshape(3, 4)

HEADER = """#ifndef REVERSE_H
#define REVERSE_H
#include <stdint.h>
#define REVERSE_ARENA_SIZE 77
#define REVERSE_ARENA_ALIGN 16
#define REVERSE_INPUT_0_ROWS 3
#define REVERSE_INPUT_0_ROW_SIZE 4
#define REVERSE_OUTPUT_0_OFFSET 64
#define REVERSE_OUTPUT_0_SIZE 12
int reverse_begin(uint8_t *arena);
int reverse_push_row(uint8_t *arena, const int8_t *row);
#endif
"""


def network(statement: str = "", last: int = 1, begin: int = 0, keep: str = "arena[0]") -> str:
    """A network that keeps its rows in the arena, last row first; `statement` runs in each push, before the row is read."""
    return f"""
int reverse_begin(uint8_t *arena)
{{
    {keep} = 0;
    return {begin};
}}

int reverse_push_row(uint8_t *arena, const int8_t *row)
{{
    {statement}
    memcpy(arena + 64 + 4 * (2 - {keep}), row, 4);
    {keep}++;
    return {keep} < 3 ? 0 : {last};
}}
"""


def pushed(build: Build, target: str, body: str, **changes: Any) -> Path:
    tensor = {"name": "image", "dtype": "int8", "shape": [3, 4], "offset": 16, "bytes": 8, "scale": 0.5, "zero_point": -3}
    folder = build(target, body=body, inputs=[{**tensor, "rows": 3, "row_bytes": 4, **changes}])
    (folder / "reverse.h").write_text(HEADER)
    return folder


@pytest.mark.parametrize(("runner", "target"), RUNNERS)
def test_rows_arrive_in_order_and_all_calls_are_counted(build: Build, runner: str, target: str) -> None:
    result = run_build(pushed(build, target, network()), runner, {"input_0": np.stack([SAMPLE, SAMPLE + 50])})
    np.testing.assert_array_equal(result.outputs["output_0"], np.stack([SAMPLE[::-1], SAMPLE[::-1] + 50]))
    if runner != "host":
        assert result.instructions is not None
        # Begin and three pushes, of each at least the call itself.
        assert 4 * 8 < result.instructions < 4 * 100
        assert any("pushing the last row takes" in note for note in result.notes)


KEEPS_THE_POINTER = """
int reverse_begin(uint8_t *arena)
{
    arena[0] = 0;
    return 0;
}

int reverse_push_row(uint8_t *arena, const int8_t *row)
{
    if (arena[0] == 0) {
        memcpy(arena + 16, &row, sizeof row);
    }
    arena[0]++;
    if (arena[0] < 3) {
        return 0;
    }
    memcpy(&row, arena + 16, sizeof row);
    memcpy(arena + 64, row, 4);
    return 1;
}
"""


@pytest.mark.parametrize(("runner", "target"), RUNNERS)
def test_a_network_that_keeps_the_pointer_instead_of_the_row_is_found(build: Build, runner: str, target: str) -> None:
    result = run_build(pushed(build, target, KEEPS_THE_POINTER), runner, {"input_0": SAMPLE})
    assert not np.array_equal(result.outputs["output_0"][0], SAMPLE[0])


@needs_unicorn
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("(void)*(const volatile int8_t *)(row + 4);", "reverse_push_row read outside its arena"),
        ("(void)*(const volatile int8_t *)(row - 1);", "reverse_push_row read outside its arena"),
        ("*(volatile int8_t *)(uintptr_t)(row + 1) = 0;", "reverse_push_row wrote outside its arena"),
        ("arena[77] = 0;", "reverse_push_row wrote outside its arena of 77 bytes: 0 bytes behind its end, in sample 0"),
    ],
)
def test_of_the_callers_memory_the_row_alone_may_be_read(build: Build, statement: str, message: str) -> None:
    with pytest.raises(RunnerError, match=message):
        run_build(pushed(build, "cortex-m4", network(statement)), "unicorn", {"input_0": SAMPLE})


@needs_native_compiler
def test_the_sanitizer_finds_a_read_behind_the_row(build: Build) -> None:
    folder = pushed(build, "host", network("if (row[4] == 1) { arena[1] = 1; }"))
    with pytest.raises(RunnerError, match="global-buffer-overflow"):
        run_build(folder, "host", {"input_0": SAMPLE}, sanitize=True)


@needs_native_compiler
@pytest.mark.parametrize(
    ("body", "code"),
    [(network(last=0), 1), (network(last=-3), -3), (network(begin=-1), -1), (network("if (arena[0] == 1) { return 1; }"), 1)],
    ids=["more rows wanted after the last", "error", "begin fails", "ready too early"],
)
def test_a_code_that_is_not_as_documented_is_an_error(build: Build, body: str, code: int) -> None:
    with pytest.raises(RunnerError, match=rf"reverse_push_row.*{code}"):
        run_build(pushed(build, "host", body), "host", {"input_0": SAMPLE})


@needs_gcc_arm
def test_a_variable_between_pushes_counts_as_ram_of_the_part(build: Build) -> None:
    part = load_target("stm32f746")
    linked = link_for_part(pushed(build, "stm32f746", network()), part)
    assert linked.size.bss >= 77 + 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 4}, "times `row_bytes` must be the size of int8 of shape"),
        ({"rows": 0}, "whole number from 1"),
        ({"row_bytes": None}, "whole number from 1"),
        ({"offset": 70}, "must end inside the arena of 77 bytes, found 78"),
    ],
)
def test_a_wrong_description_of_the_rows_is_refused(build: Build, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_description(pushed(build, "host", network(), **changes))


def test_two_inputs_cannot_be_pushed(build: Build) -> None:
    folder = pushed(build, "host", network())
    report = json.loads((folder / "report.json").read_text())
    report["inputs"] *= 2
    (folder / "report.json").write_text(json.dumps(report))
    with pytest.raises(ModelError, match="a single one where rows are pushed"):
        read_description(folder)
