"""How far the greedy planner is from the optimum: python tests/memory/measure_planner.py COUNT [BUFFERS] [SECONDS]

Prints for COUNT random instances of up to BUFFERS buffers how many the greedy planner solves to the optimum that CP-SAT proves, the gaps of
the others, and for how many CP-SAT has no proof after SECONDS.
"""

from __future__ import annotations

import sys

from planning_cases import planning_case

from tinyc.memory.exact import place_exactly
from tinyc.memory.placement import place

GAPS = (1, 2, 5, 100)
"""Upper ends of the classes of gaps, in percent."""


def main(count: int, most: int, seconds: float) -> None:
    """Measures and prints."""
    optimal, unproved = 0, 0
    classes = dict.fromkeys(GAPS, 0)
    for seed in range(count):
        buffers, overlaps = planning_case(seed, most)
        exact = place_exactly(buffers, overlaps, seconds=seconds)
        greedy = place(buffers, overlaps).arena_bytes
        unproved += not exact.is_optimal
        gap = 100 * (greedy / exact.placement.arena_bytes - 1)
        if gap == 0:
            optimal += exact.is_optimal
        else:
            classes[next(end for end in GAPS if gap <= end)] += 1
    print(f"{count} instances of up to {most} buffers: greedy is optimal in {optimal}; without proof after {seconds:g} s: {unproved}")
    print("above the exact planner's: " + ", ".join(f"by up to {end} %: {number}" for end, number in classes.items()))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 30, float(sys.argv[3]) if len(sys.argv) > 3 else 10)
