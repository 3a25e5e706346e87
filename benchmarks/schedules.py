"""The ends of the schedule, and what lies between: `--optimize` ram, balanced, speed and size of every network; docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Case
from documents import Edit, Section
from measure import Build, Laboratory
from networks import BENCHMARKS
from tables import table_row

CHOICES = ("ram", "balanced", "speed", "size")
HEADING = "network | --optimize | RAM | flash image | instructions | above the fastest"
CORE = "m4"


def measure_schedules(laboratory: Laboratory, cases: Sequence[Case]) -> list[Edit]:
    """What the page says about `cases`."""
    rows = []
    for case in cases:
        figures = {choice: laboratory.measure(case, Build(CORE, optimize=choice)).figures for choice in CHOICES}
        fewest = min(taken.instructions for taken in figures.values())
        for choice, taken in figures.items():
            above = f"{100 * (taken.instructions / fewest - 1):.1f} %"
            rows.append(table_row(case.name, choice, taken.ram, taken.image, taken.instructions, above))
    return [Section(BENCHMARKS, "schedules", rows, HEADING)]
