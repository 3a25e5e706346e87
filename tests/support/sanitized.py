"""Programs under AddressSanitizer and UndefinedBehaviorSanitizer, compiled in little time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
BRIEF = ("-fsanitize-undefined-trap-on-error", "--param", "asan-instrumentation-with-call-threshold=0")
"""The same checks in less code, which gcc makes in less time: a trap instead of a message, calls instead of inlined comparisons."""


def run_sanitized(options: Sequence[str], source: Path, program: Path) -> subprocess.CompletedProcess[str]:
    """Compiles `source` to `program` with the gcc `options` and runs it there; stdout and stderr come together.

    A program that a check has stopped is compiled again with messages, so that the answer tells where and why. Asserts that it compiles.
    """
    result = _run(options, BRIEF, source, program)
    return result if result.returncode == 0 else _run(options, (), source, program)


def _run(options: Sequence[str], further: Sequence[str], source: Path, program: Path) -> subprocess.CompletedProcess[str]:
    command = ["gcc", *options, *SANITIZERS, *further, str(source), "-lm", "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=300)
    assert built.returncode == 0, f"{' '.join(command)}\n{built.stderr[:4000]}"
    return subprocess.run(
        [str(program)],
        cwd=program.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )
