"""What `--optimize size` saves against the default: code, flash, RAM and instructions; docs/code-size.md and a sentence of README.md.

Code is .text and .rodata of NAME.c, flash adds the constant tables; both as arm-none-eabi-size -A prints them.
"""

from __future__ import annotations

from collections.abc import Sequence

from cases import Case
from documents import DOCS, README, Edit, Section, Statement
from measure import Build, Laboratory
from tables import table_row

from tinyc.bench import Figures

DOCUMENT = DOCS / "code-size.md"
CORE = "m4"
NETWORKS = (
    "ad01_int8",
    "kws_ref_model",
    "micro_speech_quantized",
    "pretrainedResnet_quant",
    "vww_96_int8",
    "vww",
    "mcunet-in3",
)
NUMERICS = ("litert", "tflm")
HEADING = (
    "network | numerics | code | with size | change | flash | with size | change | RAM | with size | instructions | with size | factor"
)
SENTENCE = "{} to {} % less code, {} to {} times the instructions"


def measure_code_size(laboratory: Laboratory, cases: Sequence[Case]) -> list[Edit]:
    """What the pages say about `cases`."""
    rows, savings, factors = [], [], []
    for case in cases:
        for numerics in NUMERICS:
            builds = Build(CORE, numerics), Build(CORE, numerics, "size")
            before, after = (laboratory.measure(case, build).figures for build in builds)
            rows.append(_row(case.name, numerics, before, after))
            savings.append(100 * (1 - after.code / before.code))
            factors.append(after.instructions / before.instructions)
    edits: list[Edit] = [Section(DOCUMENT, "code-size", rows, HEADING)]
    if {case.name for case in cases} == set(NETWORKS):
        figures = [f"{value:.0f}" for value in (min(savings), max(savings))] + [f"{value:.1f}" for value in (min(factors), max(factors))]
        edits.append(Statement(README, SENTENCE, figures))
    return edits


def _row(name: str, numerics: str, before: Figures, after: Figures) -> str:
    flash = before.code + before.weights, after.code + after.weights
    return table_row(
        *(name, numerics, before.code, after.code, _change(before.code, after.code), *flash, _change(*flash)),
        *(before.ram, after.ram, before.instructions, after.instructions, f"x {after.instructions / before.instructions:.2f}"),
    )


def _change(before: int, after: int) -> str:
    return f"{100 * (after / before - 1):+.1f} %"
