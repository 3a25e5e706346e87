"""Compares the imported ops that move, resize and join elements with the installed LiteRT, and prints the table of docs/numerics.md.

Run from the repository root: `PYTHONPATH=tests python tests/numerics/measure_movement.py [models per op] [seed] [op ...]`; the defaults are
1000, 1 and all ops.
"""

from __future__ import annotations

import sys
from importlib.metadata import version

import numpy as np

from support.movement_cases import MOVEMENT_CASES
from support.numeric_cases import RESOLVERS
from support.tflite_builder import run_litert
from tinyc.frontends.tflite import import_tflite
from tinyc.interpreter.evaluate import evaluate


def main(models: int, seed: int, ops: list[str]) -> int:
    """Prints one line per op; the exit code is 1 if any output differs."""
    print(f"ai-edge-litert {version('ai-edge-litert')}, seed {seed}")
    failures = 0
    for op in ops:
        random = np.random.default_rng(seed)
        compared, different = dict.fromkeys(RESOLVERS, 0), dict.fromkeys(RESOLVERS, 0)
        for _ in range(models):
            case = MOVEMENT_CASES[op](random)
            module = import_tflite(case.model, case.name)
            for profile, resolver in RESOLVERS.items():
                outputs = evaluate(module, list(case.inputs), profile)
                for output, expected in zip(outputs, run_litert(case.model, case.inputs, resolver=resolver), strict=True):
                    wrong = int(np.count_nonzero(output != expected))
                    if wrong and different[profile] == 0:
                        print(f"  first difference ({profile.value}): {case.name}")
                    compared[profile] += output.size
                    different[profile] += wrong
        failures += sum(different.values())
        cells = [f"{different[profile]} of {compared[profile]:,}" for profile in RESOLVERS]
        print(f"| {op} | {models:,} | {' | '.join(cells)} |", flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    count = int(arguments[0]) if arguments else 1000
    chosen_seed = int(arguments[1]) if len(arguments) > 1 else 1
    raise SystemExit(main(count, chosen_seed, arguments[2:] or list(MOVEMENT_CASES)))
