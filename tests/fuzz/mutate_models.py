"""Random mutations of real models: `PYTHONPATH=tests python tests/fuzz/mutate_models.py FOLDER [--count 10000] [--seed 0] [--jobs 2]`.

Each mutation changes some bytes of the file's structure (not of its weights, which would compile all the same), or cuts the file off.
Prints how many were refused and compiled; exits with 1, naming seed and model, when one did anything else, took over 10 s or over 1 GB.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import random
import resource
import sys
import traceback
from pathlib import Path

import tflite

from fuzz.judge import judge

MEMORY_LIMIT_BYTES = 1 << 30


def structure_bytes(content: bytes) -> list[int]:
    """Positions outside the model's large buffers."""
    model = tflite.Model.GetRootAs(content, 0)
    weights = bytearray(len(content))
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength() > 16:
            field = buffer._tab.Vector(buffer._tab.Offset(4))
            weights[field : field + buffer.DataLength()] = b"\1" * buffer.DataLength()
    return [position for position, flag in enumerate(weights) if not flag]


def mutated(content: bytes, positions: list[int], seed: int) -> bytes:
    """The file number `seed`."""
    generator = random.Random(seed)
    if generator.random() < 0.05:
        return content[: generator.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(generator.choice([1, 1, 1, 2, 4, 16])):
        position = generator.choice(positions)
        kind = generator.randrange(4)
        if kind == 0:
            changed[position] = generator.randrange(256)
        elif kind == 1:
            changed[position] ^= 1 << generator.randrange(8)
        elif kind == 2:
            value = generator.choice([0, 1, 0x7F, 0x80, 0xFF])
            changed[position : position + 4] = bytes([value] * len(changed[position : position + 4]))
        else:
            other = generator.choice(positions)
            changed[position : position + 4] = changed[other : other + 4]
    return bytes(changed[: len(content)])


def work(job: tuple[str, int, int]) -> tuple[collections.Counter[str], list[str]]:
    """Judges seeds [first, end) of one model."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES * 4, MEMORY_LIMIT_BYTES * 4))
    path, first, end = job
    content = Path(path).read_bytes()
    positions = structure_bytes(content)
    outcomes: collections.Counter[str] = collections.Counter()
    failures = []
    for seed in range(first, end):
        try:
            outcomes[judge(mutated(content, positions, seed))] += 1
        except BaseException:
            failures.append(f"{path} seed {seed}: {traceback.format_exc().strip().splitlines()[-1]}\n{traceback.format_exc()}")
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > MEMORY_LIMIT_BYTES:
        failures.append(f"{path} seeds {first} to {end}: over {MEMORY_LIMIT_BYTES} bytes of memory")
    return outcomes, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    models = sorted(arguments.folder.glob("*.tflite"), key=lambda path: path.stat().st_size)
    # Half of what is left goes to each model in turn, smallest first: most mutants of a large one only cost time.
    jobs, left, seed = [], arguments.count, arguments.seed
    for index, path in enumerate(models):
        share = left if index == len(models) - 1 else (left + 1) // 2
        jobs += [(str(path), first, min(first + 50, seed + share)) for first in range(seed, seed + share, 50)]
        seed, left = seed + share, left - share
    outcomes: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    with multiprocessing.Pool(arguments.jobs, maxtasksperchild=20) as pool:
        for counted, failed in pool.imap_unordered(work, jobs):
            outcomes += counted
            failures += failed
    for outcome, count in sorted(outcomes.items()):
        print(f"{outcome:<30}{count:>8}")
    print(f"{'anything else':<30}{len(failures):>8}")
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
