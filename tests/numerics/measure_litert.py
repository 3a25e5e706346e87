"""Compares tinyc's numerics with the installed LiteRT on many random models, and prints the table of docs/numerics.md.

Run from the repository root: `PYTHONPATH=tests python tests/numerics/measure_litert.py [outputs per op] [seed] [op ...]`; the defaults are
1000000, 1 and all ops. At least 1,000 models are made for an op, and at most 20,000.
"""

from __future__ import annotations

import sys
from importlib.metadata import version

import numpy as np

from support.elementwise_cases import CASES as ELEMENTWISE_CASES
from support.elementwise_cases import WITHOUT_STAND_IN, interpreted, shifted
from support.numeric_cases import CASES, RESOLVERS, NumericCase, Random
from support.tflite_builder import run_litert
from tinyc.numerics.profile import Profile


def make(op: str, random: Random) -> NumericCase:
    """A random case of any op, with tinyc's outputs."""
    if op in CASES:
        return CASES[op](random)
    case = ELEMENTWISE_CASES[op](random)
    expected = {profile: interpreted(case, profile) for profile in RESOLVERS if profile is Profile.LITERT or op not in WITHOUT_STAND_IN}
    return NumericCase(case.model, case.inputs, expected, case.name)


def main(wanted: int, seed: int, ops: list[str]) -> int:
    """Prints one line per op; the exit code is 1 if any output differs."""
    print(f"ai-edge-litert {version('ai-edge-litert')}, seed {seed}")
    failures = 0
    for op in ops:
        random = np.random.default_rng(seed)
        models, compared, different = 0, dict.fromkeys(RESOLVERS, 0), dict.fromkeys(RESOLVERS, 0)
        while models < 1000 or (compared[Profile.LITERT] < wanted and models < 20000):
            case = make(op, random)
            models += 1
            for profile, expected in case.expected.items():
                actual = run_litert(case.model, case.inputs, resolver=RESOLVERS[profile])[0].reshape(expected.shape)
                compared[profile] += expected.size
                wanted_output = shifted(expected) if actual.dtype == np.uint8 else expected
                wrong = int(np.count_nonzero(actual != wanted_output))
                if wrong and different[profile] == 0:
                    print(f"  first difference ({profile.value}): {case.name}")
                different[profile] += wrong
        failures += sum(different.values())
        cells = [f"{different[profile]} of {compared[profile]:,}" if compared[profile] else "not comparable" for profile in RESOLVERS]
        print(f"| {op} | {models:,} | {' | '.join(cells)} |", flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    outputs = int(arguments[0]) if arguments else 1_000_000
    chosen_seed = int(arguments[1]) if len(arguments) > 1 else 1
    raise SystemExit(main(outputs, chosen_seed, arguments[2:] or [*CASES, *ELEMENTWISE_CASES]))
