"""Measures every network on both cores with both numeric profiles; writes or checks the tables of the documentation.

python benchmarks/models.py --all                 # measure and write docs/benchmarks.md and the table of README.md
python benchmarks/models.py --all --check         # measure and compare with what they say
python benchmarks/models.py --only kws_ref_model  # measure and print
python benchmarks/models.py --only vww --stream-input  # the same with the input pushed row by row
"""

from __future__ import annotations

import argparse
import sys

from cases import ONE_SAMPLE, SOURCES, Case, find_cases, load_peers
from document import full_rows, recorded_compiler, untrue_rows, write_documents
from measure import CORES, Measurement, measure

from tinyc.errors import TinycError
from tinyc.numerics.profile import Profile
from tinyc.toolchains.gcc_arm import find_gcc_arm

FEW_SAMPLES = 2

PROFILES = (Profile.LITERT, Profile.TFLM)
"""The networks are TFLite files; the third profile is that of ONNX files."""


def sample_count(case: Case, all_samples: bool) -> int:
    """How many inputs of `case` are run."""
    if case.name in ONE_SAMPLE:
        return 1
    return len(case.inputs) if all_samples else FEW_SAMPLES


def measure_all(cases: list[Case], all_samples: bool, stream_input: bool) -> list[Measurement]:
    """All cores and profiles of all cases; prints a row as soon as it is known."""
    measurements = []
    for case in cases:
        for core in CORES:
            for profile in PROFILES:
                found = measure(case, core, profile.value, sample_count(case, all_samples), stream_input)
                measurements.append(found)
                print(f"{full_rows([found])[0]} compiled in {found.compile_seconds:.1f} s", flush=True)
    return measurements


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--all", action="store_true", help=f"run all recorded inputs, not the first {FEW_SAMPLES}; one for {', '.join(ONE_SAMPLE)}"
    )
    parser.add_argument(
        "--check", action="store_true", help="as --all, but write nothing; exit 1 where the documentation is no longer true"
    )
    parser.add_argument("--only", action="append", choices=list(SOURCES), help="this network only; may be repeated; nothing is written")
    parser.add_argument("--stream-input", action="store_true", help="push the inputs row by row; nothing is written")
    arguments = parser.parse_args()
    if arguments.stream_input and arguments.check:
        parser.error("the documentation's tables are about inputs in the arena: --stream-input and --check exclude each other")
    try:
        return run(arguments.all or arguments.check, arguments.check, tuple(arguments.only or SOURCES), arguments.stream_input)
    except TinycError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def run(all_samples: bool, check: bool, wanted: tuple[str, ...], stream_input: bool) -> int:
    """Measures the networks `wanted` and returns the exit code."""
    compiler = find_gcc_arm().version()
    if check and recorded_compiler() != compiler:
        print(f"error: the documentation is about arm-none-eabi-gcc {recorded_compiler()}, this one is {compiler}", file=sys.stderr)
        return 1
    cases, absent = find_cases(wanted)
    for name in absent:
        print(f"left out: {name} is not in ../shared/models and ../shared/golden", file=sys.stderr)
    measurements, peers = measure_all(cases, all_samples, stream_input), load_peers()
    if check:
        problems = untrue_rows(measurements, peers)
        print("\n".join(problems) if problems else f"{len(measurements)} rows are as the documentation says")
        return 1 if problems else 0
    if absent or set(wanted) != set(SOURCES) or not all_samples or stream_input:
        print("nothing written: that takes all networks and --all, without --stream-input", file=sys.stderr)
        return 0
    write_documents(measurements, peers, compiler)
    print("written: docs/benchmarks.md, README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
