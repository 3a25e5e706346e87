"""What other tools find in the C that tinyc emits for every network: compiler warnings, cppcheck, clang-tidy, sanitizers.

python benchmarks/emitted_c.py                        # all networks; a row each, findings below it; exit code 1 where there are any
python benchmarks/emitted_c.py --only kws_ref_model

Needs gcc, arm-none-eabi-gcc, cppcheck and clang-tidy. The sanitizers watch the first recorded input on this machine, whose outputs must
equal the recorded ones.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from cases import SOURCES, Case, find_cases

import tinyc
from tinyc.errors import TinycError
from tinyc.numerics.quantization import dequantization_plan
from tinyc.runners import read_description, run_build
from tinyc.toolchains.gcc_arm import WARNING_FLAGS

ARM_HEADERS = "/usr/lib/arm-none-eabi/include"
DSP = ("--target=armv7em-none-eabi", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
PORTABLE = ("--target=armv7m-none-eabi", "-mcpu=cortex-m3")
"""A core without DSP instructions takes the portable path of the C."""
CLANG_TIDY_CHECKS = "-*,bugprone-*,cert-*"
# Style is left out: declaring a variable further inside, for one.
CPPCHECK = ("cppcheck", "--quiet", "--std=c99", "--enable=warning,performance,portability", "--inline-suppr", "--max-configs=4")


def lines_with(command: Sequence[str], folder: Path, *words: str) -> list[str]:
    """Lines of what `command` prints that contain one of `words`."""
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1800, check=False)
    return [line for line in (result.stdout + result.stderr).splitlines() if any(word in line for word in words)]


def compiler_warnings(folder: Path, sources: Sequence[str]) -> list[str]:
    """Of gcc for this machine and for a Cortex-M4."""
    found = []
    for compiler in (("gcc",), ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")):
        command = [*compiler, "-std=c99", "-O2", *WARNING_FLAGS, "-c", "-o", "/dev/null"]
        found += [line for source in sources for line in lines_with([*command, source], folder, "warning:", "error:")]
    return found


def cppcheck_findings(folder: Path, sources: Sequence[str]) -> list[str]:
    """Warnings, performance, portability and errors; not of constant tables: for megabytes cppcheck takes more than half an hour."""
    code = [source for source in sources if not source.endswith("_weights.c")]
    return lines_with([*CPPCHECK, *code], folder, "warning:", "error:", "performance:", "portability:")


def clang_tidy_findings(folder: Path, sources: Sequence[str]) -> list[str]:
    """CLANG_TIDY_CHECKS, on the path with DSP instructions and on the portable one."""
    found = []
    for core in (DSP, PORTABLE):
        flags = [*core, "-isystem", ARM_HEADERS, "-std=c99", "-Wall", "-Wextra"]
        for source in sources:
            command = ["clang-tidy", "--quiet", f"-checks={CLANG_TIDY_CHECKS}", source, "--", *flags]
            found += lines_with(command, folder, "warning:", "error:")
    return found


def sanitized_differences(case: Case, folder: Path) -> list[str]:
    """The first input under AddressSanitizer and UndefinedBehaviorSanitizer; a finding raises RunnerError."""
    result = run_build(folder, "host", {"input_0": case.inputs[:1]}, sanitize=True)
    region, expected, found = read_description(folder).outputs[0], case.expected["litert"][:1], result.outputs["output_0"]
    if expected.dtype == np.float32:
        assert region.scale is not None
        assert region.zero_point is not None
        found = dequantization_plan(region.scale, region.zero_point).apply(found)
    differing = int(np.count_nonzero(found != expected))
    return [f"{differing} of {expected.size} output values differ from the reference"] if differing else []


CHECKS: dict[str, Callable[[Path, Sequence[str]], list[str]]] = {
    "compilers": compiler_warnings,
    "cppcheck": cppcheck_findings,
    "clang-tidy": clang_tidy_findings,
}


def findings(case: Case) -> dict[str, list[str]]:
    """What each tool finds."""
    with tempfile.TemporaryDirectory(prefix="tinyc-emitted-") as work:
        build = tinyc.load(case.model).compile("cortex-m4", measure=False).write(Path(work) / "build")
        sources = sorted(path.name for path in build.glob("*.c"))
        found = {name: check(build, sources) for name, check in CHECKS.items()}
        try:
            found["sanitizers"] = sanitized_differences(case, build)
        except TinycError as error:
            found["sanitizers"] = [str(error)]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(SOURCES), help="this network only; may be repeated")
    arguments = parser.parse_args()
    missing = [tool for tool in ("gcc", "arm-none-eabi-gcc", "cppcheck", "clang-tidy") if shutil.which(tool) is None]
    if missing:
        print(f"error: {', '.join(missing)} not found", file=sys.stderr)
        return 1
    cases, absent = find_cases(tuple(arguments.only or SOURCES))
    for name in absent:
        print(f"left out: {name} is not in ../shared/models and ../shared/golden", file=sys.stderr)
    total = 0
    print(f"| network | {' | '.join([*CHECKS, 'sanitizers'])} |")
    print("|---|" + "---:|" * (len(CHECKS) + 1))
    for case in cases:
        found = findings(case)
        total += sum(len(lines) for lines in found.values())
        print(f"| {case.name} | {' | '.join(str(len(lines)) for lines in found.values())} |", flush=True)
        for lines in found.values():
            print("".join(f"{line}\n" for line in lines[:20]), file=sys.stderr, end="")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
