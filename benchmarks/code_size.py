"""What `--optimize size` saves against `--optimize balanced`: code, flash and instructions of every network, Cortex-M4.

python benchmarks/code_size.py                        # measure and write docs/code-size.md
python benchmarks/code_size.py --only kws_ref_model   # some networks; printed, nothing is written

Sizes are those of the sections of the object files, as arm-none-eabi-size -A prints them. Outputs of both must be equal, value by value.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cases import ROOT, SHARED

import tinyc
from tinyc.bench import measure_compiled
from tinyc.errors import MismatchError, TinycError
from tinyc.runners.base import Array
from tinyc.targets import load_target
from tinyc.toolchains.gcc_arm import find_gcc_arm

DOCUMENT = ROOT / "docs" / "code-size.md"
TARGET = "cortex-m4"
NETWORKS = (
    "ad01_int8",
    "kws_ref_model",
    "pretrainedResnet_quant",
    "vww_96_int8",
    "vww",
    "micro_speech_quantized",
    "mcunet-in3",
)
NUMERICS = ("litert", "tflm")
HEADING = """| network | numerics | code | with size | | flash | with size | | RAM | with size | instructions | with size | |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""


@dataclass(frozen=True)
class Sizes:
    """Of one build: bytes of code (.text and .rodata of NAME.c) and of constant tables (.rodata of NAME_weights.c), RAM, instructions."""

    code: int
    weights: int
    ram: int
    instructions: int


def measure(model: tinyc.Model, numerics: str, optimize: str) -> tuple[Sizes, dict[str, Array]]:
    """Compiles and runs one build; its outputs."""
    compiled = model.compile(TARGET, numerics=numerics, optimize=optimize)
    measured = measure_compiled(compiled, load_target(TARGET), "unicorn")
    figures = measured.figures
    return Sizes(figures.code, figures.weights, figures.ram, figures.instructions), measured.run.outputs


def row(path: Path, numerics: str) -> str:
    """A line of the table. Raises MismatchError where the outputs of both builds differ."""
    model = tinyc.load(path)
    (before, outputs), (after, others) = (measure(model, numerics, optimize) for optimize in ("balanced", "size"))
    for name, values in outputs.items():
        if not np.array_equal(others[name], values):
            raise MismatchError(f"{path.stem}, {numerics}: {name} differs with --optimize size")
    flash = before.code + before.weights, after.code + after.weights
    cells = [path.stem, numerics, f"{before.code:,}", f"{after.code:,}", _change(before.code, after.code)]
    cells += [f"{flash[0]:,}", f"{flash[1]:,}", _change(*flash), f"{before.ram:,}", f"{after.ram:,}"]
    cells += [f"{before.instructions:,}", f"{after.instructions:,}", f"x {after.instructions / before.instructions:.2f}"]
    return f"| {' | '.join(cells)} |"


def _change(before: int, after: int) -> str:
    return f"{100 * (after / before - 1):+.1f} %"


def document(rows: Sequence[str], compiler: str) -> str:
    """Text of docs/code-size.md."""
    return f"""# Code size: `--optimize size`

```
python benchmarks/code_size.py
```

compiles every network for `{TARGET}` with `--optimize balanced` (`-O2`) and `--optimize size` (`-Os`), runs both in Unicorn on the same
input and writes this page; with an output that differs it stops. *Code* is .text and .rodata of `NAME.c`, without the constant
tables; *flash* is code and the tables in .rodata of `NAME_weights.c`; both in bytes, from the sections of the object files of
arm-none-eabi-gcc {compiler} (`arm-none-eabi-size -A`). RAM is arena and stack. Instructions are exact.

{HEADING}
{chr(10).join(rows)}

How: layers run kernels whose sizes are arguments, one function for all of a kind ([kernels.md](kernels.md#compact-code)), weights stay
int8, and convolutions are not transformed. Flash of networks whose weights are most of it shrinks little.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit code 1 where a network cannot be measured or outputs differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="networks of the shared folder, or files; printed")
    options = parser.parse_args(arguments)
    try:
        rows = []
        for name in options.only or NETWORKS:
            path = Path(name) if Path(name).exists() else SHARED / "models" / f"{name}.tflite"
            for numerics in NUMERICS:
                rows.append(row(path, numerics))
                if options.only or sys.stderr.isatty():
                    print(rows[-1], file=sys.stdout if options.only else sys.stderr, flush=True)
        if not options.only:
            DOCUMENT.write_text(document(rows, find_gcc_arm().version()), encoding="utf-8")
    except TinycError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
