"""Measures everything that the documentation says in figures, and writes it there or checks it.

python benchmarks/all.py                      # measure, and write the pages
python benchmarks/all.py --check              # measure, write nothing; exit 1 where a page is no longer true
python benchmarks/all.py --only vww --only ds-cnn   # these networks only: print their rows, write nothing
python benchmarks/all.py --part schedules     # one part only: write, or with --check compare, what it is about

A part fails at the first network with a differing output value; the others are measured all the same, and the exit code is 1. What is not
in ../shared is left out and said, and then no page about it is written; with --check the rows of the other networks are compared.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import ablation
import agreement
import code_size
import printed
import single_layers
import streamed
from cases import EXAMPLE, ROOT, SOURCES, Case, find_cases
from compilers import measure_compilers
from documents import Edit, missing_rows, untrue, write
from forms import measure_forms
from measure import Laboratory
from networks import measure_networks
from schedules import measure_schedules
from terminal import Terminal

import cycles
from tinyc.errors import TinycError, ToolError
from zoo import ZOO, measure_zoo


@dataclass(frozen=True)
class Part:
    """What some pages are about: `measure` gives what they say about networks out of `networks`, which all of them tell about."""

    name: str
    title: str
    networks: tuple[str, ...]
    measure: Callable[[Laboratory, Sequence[str]], list[Edit]]

    def wanted(self, only: Iterable[str]) -> tuple[str, ...]:
        """Those of its networks that are in `only`; all where that is empty."""
        chosen = set(only)
        return tuple(name for name in self.networks if not chosen or name in chosen)


def with_cases(measure: Callable[[Laboratory, Sequence[Case]], list[Edit]]) -> Callable[[Laboratory, Sequence[str]], list[Edit]]:
    """`measure` by the names of networks that are on this machine."""
    return lambda laboratory, names: measure(laboratory, find_cases(tuple(names))[0])


PARTS = (
    Part("networks", "networks with recorded outputs, both cores, both profiles", tuple(SOURCES), with_cases(measure_networks)),
    Part("schedules", "--optimize ram, balanced, speed, size", tuple(SOURCES), with_cases(measure_schedules)),
    Part("forms", "kernels in both forms on Cortex-M7", tuple(SOURCES), with_cases(measure_forms)),
    Part("code-size", "--optimize size", code_size.NETWORKS, with_cases(code_size.measure_code_size)),
    Part("streamed", "--stream-input", streamed.NETWORKS, with_cases(streamed.measure_streamed)),
    Part("printed", "what commands print", (EXAMPLE, printed.RECOMPUTED), with_cases(printed.measure_printed)),
    Part("compilers", "other compilers and optimisation levels", tuple(SOURCES), with_cases(measure_compilers)),
    Part("cycles", "estimated cycles against llvm-mca", cycles.NETWORKS, with_cases(cycles.measure_cycles)),
    Part("single-layers", "layers in all forms", tuple(single_layers.LAYERS), single_layers.measure_single_layers),
    Part("zoo", "the zoo from float to C, both cores", ZOO, measure_zoo),
    Part("agreement", "quantised networks against float ones", agreement.MEASURED, agreement.measure_agreement),
    Part("ablation", "every technique switched off", tuple(ablation.NETWORKS), ablation.measure_ablation),
)
"""In the order in which they are measured; what one has built, those behind it do not build again."""
EXAMPLES = "examples"
"""The part that has no networks: console blocks, whose commands scripts/examples.py runs."""
NAMES = tuple(dict.fromkeys(name for part in PARTS for name in part.networks))


def absent_networks(wanted: Sequence[str]) -> list[str]:
    """Those of `wanted` that are not on this machine."""
    return find_cases(tuple(name for name in wanted if name in SOURCES))[1]


def print_rows(edits: Iterable[Edit]) -> None:
    """The rows of all edits, a document's name above each."""
    for edit in edits:
        if edit.rows:
            print(f"{edit.document.relative_to(ROOT).as_posix()}:", *edit.rows, sep="\n", flush=True)


def run_part(part: Part, laboratory: Laboratory, only: Sequence[str], check: bool) -> list[str]:
    """Measures one part; writes, or returns what is no longer true."""
    wanted = part.wanted(only)
    absent = [] if part.measure is measure_zoo else absent_networks(wanted)
    for name in absent:
        print(f"left out: {name} is not in ../shared/models and ../shared/golden", file=sys.stderr)
    edits = part.measure(laboratory, [name for name in wanted if name not in absent])
    laboratory.tell("")
    is_whole = not absent and wanted == part.networks
    if check:
        return untrue(edits) if is_whole else missing_rows(edits)
    if only:
        print_rows(edits)
    elif is_whole:
        changed = write(edits)
        print(f"{part.name}: {', '.join(path.relative_to(ROOT).as_posix() for path in changed) or 'nothing'} changed", flush=True)
    else:
        print(f"{part.name}: nothing written, since networks are missing", file=sys.stderr)
    return []


def run_examples(check: bool) -> list[str]:
    """Runs the commands that the pages show, and writes or compares what they print."""
    command = [sys.executable, str(ROOT / "scripts" / "examples.py"), *(["--check"] if check else [])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    print(result.stdout, end="", flush=True)
    if result.returncode and not check:
        raise ToolError(f"scripts/examples.py failed: {result.stderr.strip()}")
    return result.stderr.splitlines() if result.returncode else []


def reported(name: str, terminal: Terminal, measure: Callable[[], list[str]]) -> list[str]:
    """What `measure` finds, printed. Where it fails, that is what is found: the other parts are measured all the same."""
    try:
        found = measure()
    except TinycError as error:
        found = [f"error: {name}: {error}"]
    terminal.clear()
    print("".join(f"{line}\n" for line in found), end="", flush=True)
    return found


def run(parts: Sequence[Part], only: Sequence[str], check: bool, examples: bool) -> int:
    """Measures `parts` and returns the exit code: 1 where one failed or, with `check`, a page is not true."""
    terminal, problems = Terminal(), list[str]()
    laboratory = Laboratory(terminal.tell)
    try:
        for number, part in enumerate(parts, start=1):
            terminal.part = f"{number} of {len(parts)}, {part.title}: "
            problems += reported(part.name, terminal, partial(run_part, part, laboratory, only, check))
        if examples:
            terminal.part = ""
            terminal.tell("console blocks")
            problems += reported(EXAMPLES, terminal, partial(run_examples, check))
    finally:
        terminal.clear()
    if check:
        print("not everything is as the documentation says" if problems else "all of that is as the documentation says")
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the documentation is no longer true")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", default=[], help="this network only; may be repeated")
    names = [*(part.name for part in PARTS), EXAMPLES]
    parser.add_argument("--part", action="append", choices=names, default=[], help=f"this part only; may be repeated: {', '.join(names)}")
    arguments = parser.parse_args()
    wanted = set(arguments.part or names)
    only = tuple(arguments.only)
    parts = [part for part in PARTS if part.name in wanted and part.wanted(only)]
    try:
        return run(parts, only, arguments.check, EXAMPLES in wanted and not only)
    except KeyboardInterrupt:
        print("error: interrupted; the pages of the part that was measured are as they were", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
