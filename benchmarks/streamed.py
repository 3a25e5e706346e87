"""Inputs that come row by row against inputs in the arena: the table of docs/stream-input.md, Cortex-M7."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cases import Case
from documents import DOCS, Edit, Section, Statement
from measure import Build, Laboratory, Measurement
from tables import table_row

DOCUMENT = DOCS / "stream-input.md"
HEADING = "network | RAM, input in the arena | instructions | RAM, row by row | instructions"
NETWORKS = ("kws_ref_model", "pretrainedResnet_quant", "vww_96_int8", "vww", "mcunet-in3")
SHOWN = "vww"
"""The network whose pushes the page shows."""
SENTENCE = "$ tinyc run build/vww instructions {} note of these, pushing the last row takes {} instructions, any earlier one at most {}"
_PUSHES = re.compile(r"pushing the last row takes (\d+) instructions, any earlier one at most (\d+)")


def measure_streamed(laboratory: Laboratory, cases: Sequence[Case]) -> list[Edit]:
    """What the page says about `cases`."""
    rows: list[str] = []
    edits: list[Edit] = []
    for case in cases:
        whole, pushed = (laboratory.measure(case, build) for build in (Build("m7"), Build("m7", stream_input=True)))
        cells = [value for m in (whole, pushed) for value in (m.figures.ram, m.figures.instructions)]
        rows.append(table_row(case.name, *cells))
        if case.name == SHOWN:
            edits.append(_pushes(pushed))
    return [Section(DOCUMENT, "streamed", rows, HEADING), *edits]


def _pushes(pushed: Measurement) -> Statement:
    found = next(match for note in pushed.notes if (match := _PUSHES.search(note)) is not None)
    return Statement(DOCUMENT, SENTENCE, (f"{pushed.figures.instructions:,}", *found.groups()))
