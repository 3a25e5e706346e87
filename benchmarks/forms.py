"""Kernels in the forms for Cortex-M4 and for Cortex-M7, both on a Cortex-M7: the table of docs/kernels.md."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Case
from documents import DOCS, Edit, Section
from measure import Build, Laboratory
from tables import table_row

from tinyc.driver.pipeline import CompileOptions, default_pipeline
from tinyc.numerics.profile import Profile

HEADING = "network | instructions, form M4 | form M7 | est. cycles, form M4 | form M7 | code, form M4 | form M7"


def measure_forms(laboratory: Laboratory, cases: Sequence[Case]) -> list[Edit]:
    """What the page says about `cases`."""
    unordered = default_pipeline(CompileOptions(Profile.LITERT))
    rows = []
    for case in cases:
        first, second = (laboratory.measure(case, build) for build in (Build("m7", passes=unordered), Build("m7")))
        rows.append(
            table_row(
                *(case.name, first.figures.instructions, second.figures.instructions, first.estimated_cycles, second.estimated_cycles),
                *(first.figures.code, second.figures.code),
            )
        )
    return [Section(DOCS / "kernels.md", "forms", rows, HEADING)]
