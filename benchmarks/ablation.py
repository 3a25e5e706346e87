"""Switches each technique off in turn and tables what it is worth: instructions, RAM and flash on four networks, Cortex-M4.

python benchmarks/all.py --part ablation             # measure and write docs/ablation.md
python benchmarks/ablation.py                        # the same, but with the zoo's networks where ../shared is not there
python benchmarks/ablation.py --only kws_ref_model   # one network, or MODEL files; printed, nothing is written

Networks that are not in ../shared/models are replaced by the zoo's networks of the same kind, made with random weights. Outputs of every
variant must equal those of the default, value by value.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cases import ROOT, SHARED
from documents import Edit, Page
from measure import Laboratory
from techniques import TECHNIQUES, WITHOUT_SWITCH, Technique
from terminal import Terminal

import tinyc
from tinyc.bench import measure_compiled
from tinyc.cli.main import run_cli
from tinyc.driver.pipeline import CompileOptions, default_pipeline
from tinyc.errors import MismatchError, TinycError, ToolError
from tinyc.numerics.profile import Profile
from tinyc.runners.base import Array
from tinyc.targets import load_target
from tinyc.toolchains.gcc_arm import find_gcc_arm

DOCUMENT = ROOT / "docs" / "ablation.md"
TARGET = "cortex-m4"
NETWORKS = {
    "kws_ref_model": "ds-cnn",
    "pretrainedResnet_quant": "resnet-8",
    "vww": "mcunet-vww1",
    "mcunet-in3": "mcunet-in3",
}
"""Networks of the shared folder, and the zoo's that take their place."""


@dataclass(frozen=True)
class Variant:
    """What one compilation needs: instructions of one inference; bytes."""

    instructions: int
    ram: int
    flash: int


DEFAULT = Technique("default", "nothing is off")


def measure(model: tinyc.Model, technique: Technique, expected: dict[str, Array] | None) -> tuple[Variant, dict[str, Array]]:
    """Compiles and runs one variant; its outputs. Raises MismatchError where they differ from `expected`."""
    default = default_pipeline(CompileOptions(Profile(model.default_numerics)))
    with technique.applied():
        compiled = model.compile(TARGET, passes=technique.pipeline(default), insertions=technique.insertions)
    measured = measure_compiled(compiled, load_target(TARGET), "unicorn")
    figures, outputs = measured.figures, measured.run.outputs
    for name, values in (expected or {}).items():
        if not np.array_equal(outputs[name], values):
            raise MismatchError(f"{model.name} without {technique.title}: {name} differs from the default's")
    return Variant(figures.instructions, figures.ram, figures.weights + figures.code), outputs


def measure_network(path: Path, tell: Callable[[str], None]) -> list[tuple[Technique, Variant]]:
    """The default and every technique off, in the order of TECHNIQUES."""
    model = tinyc.load(path)
    base, outputs = measure(model, DEFAULT, None)
    rows = [(DEFAULT, base)]
    for technique in TECHNIQUES:
        tell(f"{path.stem} without {technique.title}")
        rows.append((technique, measure(model, technique, outputs)[0]))
    return rows


def table(rows: Sequence[tuple[Technique, Variant]]) -> str:
    """Markdown: absolute numbers, and the change against the default."""
    lines = ["| without | instructions | | RAM | | flash | |", "|---|---:|---:|---:|---:|---:|---:|"]
    base = rows[0][1]
    for technique, variant in rows:
        cells = []
        for ours, theirs in ((variant.instructions, base.instructions), (variant.ram, base.ram), (variant.flash, base.flash)):
            change = "" if technique is DEFAULT else "=" if ours == theirs else f"{100 * (ours / theirs - 1):+.1f} %"
            cells += [f"{ours:,}", change]
        title = "(default)" if technique is DEFAULT else technique.title
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def find_networks(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Files of the four networks by title, and a line for each that had to be replaced. Raises ToolError where the zoo fails."""
    found, replaced = {}, []
    for name, substitute in NETWORKS.items():
        path = SHARED / "models" / f"{name}.tflite"
        if path.exists():
            found[name] = path
            continue
        made = folder / f"{substitute}.onnx"
        if run_cli(["zoo", "make", substitute, "--int8", "-o", str(made)]) != 0:
            raise ToolError(f"cannot make {substitute} of the zoo")
        found[f"{substitute} (zoo)"] = made
        replaced.append(f"- {name} is not in ../shared/models; {substitute} of the zoo, with random weights, takes its place.")
    return found, replaced


def document(results: dict[str, list[tuple[Technique, Variant]]], notes: Sequence[str], compiler: str) -> str:
    """Text of docs/ablation.md."""
    switches = "\n".join(f"| {technique.title} | {technique.off} |" for technique in TECHNIQUES)
    fixed = "\n".join(f"| {title} | {why} |" for title, why in WITHOUT_SWITCH.items())
    tables = "\n\n".join(f"## {name}\n\n{table(rows)}" for name, rows in results.items())
    return f"""# Ablation: what each technique is worth

```
python benchmarks/all.py --part ablation
```

switches each technique off in turn, compiles for `{TARGET}`, runs one inference in Unicorn and writes this page. Every variant's
outputs equal the default's, value by value; with an output that differs the command stops. Instructions are exact; RAM is arena and
stack, flash weights and code, in bytes, of arm-none-eabi-gcc {compiler}.

| without | what is done instead |
|---|---|
{switches}

A technique's worth depends on the others: in-place depthwise saves little RAM where layers are streamed anyway, and what a smaller peak
leaves no room for costs instructions. The default (`--optimize balanced`) streams to the least RAM, so a row may have fewer
instructions than it.
An activation whose bounds are those of int8 itself, as ReLU's are where the zero point is -128, costs nothing in any form.
{chr(10).join(["", *notes]) if notes else ""}
{tables}

## What cannot be switched off

| technique | why |
|---|---|
{fixed}
"""


def measure_ablation(laboratory: Laboratory, names: Sequence[str]) -> list[Edit]:
    """What docs/ablation.md says about the networks `names`, which are on this machine."""
    results = {name: measure_network(path, laboratory.tell) for name, path in named(names).items()}
    rows = [line for found in results.values() for line in table(found).splitlines()]
    return [Page(DOCUMENT, document(results, (), find_gcc_arm().version()), rows)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help=f"{', '.join(NETWORKS)}, or a model file; may be repeated; nothing is written")
    arguments = parser.parse_args()
    terminal = Terminal()
    try:
        with tempfile.TemporaryDirectory(prefix="tinyc-ablation-") as folder:
            networks, notes = find_networks(Path(folder)) if arguments.only is None else (named(arguments.only), [])
            results = {}
            for name, path in networks.items():
                results[name] = measure_network(path, terminal.tell)
                terminal.clear()
                print(f"{name}\n{table(results[name])}\n", flush=True)
        if arguments.only is None:
            DOCUMENT.write_text(document(results, notes, find_gcc_arm().version()), encoding="utf-8")
            print("written: docs/ablation.md")
    except TinycError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def named(names: Sequence[str]) -> dict[str, Path]:
    """Files of the networks that --only names."""
    return {name: SHARED / "models" / f"{name}.tflite" if name in NETWORKS else Path(name) for name in names}


if __name__ == "__main__":
    sys.exit(main())
