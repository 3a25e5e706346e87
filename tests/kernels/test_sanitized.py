"""What the tests of kernels on the host rest on: a program that breaks a rule of C is stopped, and the answer says which."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.kernel_harness import missing_tools
from support.sanitized import run_sanitized

pytestmark = pytest.mark.skipif(bool(missing_tools("gcc")), reason=str(missing_tools("gcc")))


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("return bytes[count + 3];", "heap-buffer-overflow"),
        ("bytes[count + 3] = 1;", "heap-buffer-overflow"),
        ("return 0x7FFFFFFF + count;", "signed integer overflow"),
        ("return 1 << (31 + count);", "shift exponent"),
        ("*(short *)(bytes + count) = 0;", "misaligned"),
    ],
)
def test_a_broken_rule_stops_the_program_and_is_named(statement: str, found: str, tmp_path: Path) -> None:
    source = tmp_path / "broken.c"
    body = f"char *bytes = malloc(4);\n    bytes[0] = 0;\n    {statement}\n    return 0;"
    source.write_text(f"#include <stdlib.h>\nint main(int count, char **names)\n{{\n    {body}\n}}\n")
    result = run_sanitized(["-std=c99", "-O0"], source, tmp_path / "broken")
    assert result.returncode != 0
    assert found in result.stdout


def test_a_program_that_keeps_the_rules_is_run_once_and_its_text_comes_back(tmp_path: Path) -> None:
    source = tmp_path / "sound.c"
    source.write_text('#include <stdio.h>\nint main(void) { puts("ALL EQUAL"); return 0; }\n')
    result = run_sanitized(["-std=c99", "-O0"], source, tmp_path / "sound")
    assert (result.returncode, result.stdout) == (0, "ALL EQUAL\n")
