"""What commands print that pages show without being console blocks, since they need ../shared: docs/memory.md."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence

from cases import EXAMPLE, ROOT, Case
from documents import DOCS, Edit, Statement
from measure import Laboratory

import tinyc
from tinyc.errors import ToolError

RECOMPUTED = "mcunetv2_large"
"""The network of docs/memory.md whose tensors are computed twice."""
CURVE = "stm32f412"
"""The target of the curve in docs/memory.md, which is of the example network."""
ESTIMATES_SENTENCE = "for the points below the estimates are within {} % of the counts"


def measure_printed(laboratory: Laboratory, cases: Sequence[Case]) -> list[Edit]:
    """What the pages say about `cases`."""
    edits: list[Edit] = []
    for case in cases:
        if case.name == RECOMPUTED:
            laboratory.tell(f"{case.name}, tensors computed twice")
            edits.append(Statement.printed(DOCS / "memory.md", output("tests/passes/measure_recompute.py", str(case.model))))
        if case.name == EXAMPLE:
            edits.append(estimates_statement(laboratory, case))
    return edits


def output(script: str, *arguments: str) -> str:
    """What a script of this repository prints. Raises ToolError where it fails."""
    result = subprocess.run([sys.executable, str(ROOT / script), *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise ToolError(f"{script} failed: {result.stderr.strip()}")
    return result.stdout.strip()


def estimates_statement(laboratory: Laboratory, case: Case) -> Statement:
    """By how many percent, rounded up, the estimates of `tinyc pareto` differ from its counts at most."""
    model = tinyc.load(case.model)
    laboratory.tell(f"{case.name}, estimated and counted")
    estimated, counted = ({point.flag: point.cost for point in model.pareto(CURVE, count=count).points} for count in (False, True))
    differences = [abs(estimated[flag] / counts - 1) for flag, counts in counted.items() if flag in estimated]
    return Statement(DOCS / "memory.md", ESTIMATES_SENTENCE, (f"{math.ceil(100 * max(differences))}",))
