"""Random instances for the planner, larger and denser than networks give it."""

from __future__ import annotations

import random

from tinyc.memory.placement import Buffer, Overlap

STEPS = 14


def planning_case(seed: int, most: int) -> tuple[list[Buffer], list[Overlap]]:
    """2 to `most` buffers over 14 steps; half of the pairs that meet in one step may overlap, by some distance."""
    generator = random.Random(seed)
    buffers = []
    for _ in range(generator.randint(2, most)):
        first = generator.randint(-1, STEPS - 2)
        last = min(STEPS - 1, max(first, 0) + generator.choice([0, 1, 1, 2, 3, 6]))
        buffers.append(Buffer(generator.randint(1, 300) * 4, first, last, generator.choice([4, 4, 8])))
    overlaps = [
        Overlap(i, j, generator.randint(-source.size, result.size), generator.random() < 0.3)
        for i, result in enumerate(buffers)
        for j, source in enumerate(buffers)
        if i != j and result.first == source.last and generator.random() < 0.5
    ]
    return buffers, overlaps
