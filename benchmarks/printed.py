"""What commands print that pages show without being console blocks, since they need ../shared: docs/memory.md and docs/runners.md."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cases import ROOT, Case
from documents import DOCS, Edit, Statement
from measure import CORES, Build, Laboratory

import tinyc
from tinyc.errors import ToolError
from tinyc.runners import run_build

RECOMPUTED = "mcunetv2_large"
"""The network of docs/memory.md whose tensors are computed twice."""
ZIG = "kws_ref_model"
"""The network of docs/runners.md that zig compiles too."""
ZIG_SENTENCE = "Zig's code computes the same bytes and is slower: {} instructions instead of {} for kws on Cortex-M7."


def measure_printed(laboratory: Laboratory, cases: Sequence[Case]) -> list[Edit]:
    """What the pages say about `cases`."""
    edits: list[Edit] = []
    for case in cases:
        if case.name == RECOMPUTED:
            laboratory.tell(f"{case.name}, tensors computed twice")
            edits.append(Statement.printed(DOCS / "memory.md", output("tests/passes/measure_recompute.py", str(case.model))))
        if case.name == ZIG:
            edits.append(zig_statement(laboratory, case))
    return edits


def output(script: str, *arguments: str) -> str:
    """What a script of this repository prints. Raises ToolError where it fails."""
    result = subprocess.run([sys.executable, str(ROOT / script), *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise ToolError(f"{script} failed: {result.stderr.strip()}")
    return result.stdout.strip()


def zig_statement(laboratory: Laboratory, case: Case) -> Statement:
    """Instructions of the same C, compiled by zig and by gcc."""
    gcc = laboratory.measure(case, Build("m7")).figures.instructions
    laboratory.tell(f"{case.name}, compiled by zig")
    with tempfile.TemporaryDirectory(prefix="tinyc-zig-") as folder:
        build = tinyc.load(case.model).compile(CORES["m7"], measure=False).write(Path(folder) / "build")
        zig = run_build(build, "qemu", {"input_0": case.inputs[:1]}, toolchain="zig").instructions
    if zig is None:
        raise ToolError("the instructions of zig's code were not counted")
    return Statement(DOCS / "runners.md", ZIG_SENTENCE, (f"{zig:,}", f"{gcc:,}"))
