"""Runs the node cases of ONNX's backend test through tinyc and writes docs/onnx-node-tests.md.

PYTHONPATH=tests python tests/frontends/onnx_node_table.py            # run and print
PYTHONPATH=tests python tests/frontends/onnx_node_table.py --write    # run and write the document
PYTHONPATH=tests python tests/frontends/onnx_node_table.py --wheel onnx-1.22.0-….whl    # the cases that a wheel holds as files
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import onnx

from support.onnx_node_cases import NodeCase, generated_cases, wheel_cases
from support.onnx_node_ways import WAYS, Outcome, outcomes

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "onnx-node-tests.md"
INTRODUCTION = Path(__file__).with_suffix(".md.in")
COMMAND = "PYTHONPATH=tests python tests/frontends/onnx_node_table.py --write"


def document(found: Sequence[Outcome], cases: Sequence[NodeCase]) -> str:
    """The page."""
    introduction = INTRODUCTION.read_text(encoding="utf-8").replace("@COMMAND@", COMMAND).replace("@VERSION@", onnx.__version__)
    ways = " | ".join(f"{way.name}: equal" for way in WAYS)
    lines = [introduction, "## Results", "", f"| operator | cases | {ways} | skipped in some way |", "|---|---:|---:|---:|---:|---:|"]
    totals = [0] * (len(WAYS) + 2)
    for op in sorted({case.op for case in cases}):
        own = [outcome for outcome in found if outcome.case.op == op]
        count = sum(case.op == op for case in cases)
        equal = [sum(outcome.way == way.name and not outcome.reason for outcome in own) if op in way.ops else None for way in WAYS]
        skipped = len({outcome.case.name for outcome in own if outcome.reason})
        row = [count, *equal, skipped]
        totals = [total + (value or 0) for total, value in zip(totals, row, strict=True)]
        lines.append(f"| {op} | {' | '.join('' if value is None else str(value) for value in row)} |")
    lines += [f"| all | {' | '.join(map(str, totals))} |", "", "An empty field: tinyc does not claim the operator in this way.", ""]
    lines += ["## Skipped cases", "", "| operator | way | reason | cases |", "|---|---|---|---|"]
    groups: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for outcome in found:
        if outcome.reason:
            groups[outcome.case.op, outcome.way, outcome.reason].append(outcome.case.name.removeprefix("test_"))
    for (op, way, reason), names in sorted(groups.items()):
        lines.append(f"| {op} | {way} | {reason} | {', '.join(sorted(names))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {DOCUMENT.name}")
    parser.add_argument("--wheel", type=Path, help="take the cases from this wheel of onnx, up to 1.22")
    arguments = parser.parse_args()
    cases = wheel_cases(arguments.wheel) if arguments.wheel else generated_cases()
    text = document(outcomes(cases), cases)
    if arguments.write:
        DOCUMENT.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
