"""Many random kernels of the families with multiplications: in QEMU with guarded buffers, in plain C under sanitizers, in both forms.

PYTHONPATH=tests python tests/kernels/measure_kernels.py 1000 7     # so many of each family, from this seed on
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from kernels.test_equality import FAMILIES
from support.kernel_harness import CORES, check_in_qemu, check_on_host

BATCH = 50


def main(count: int, seed: int) -> None:
    """Raises AssertionError for the first batch in which a value or a guard differs."""
    for name, family in FAMILIES.items():
        checked = 0
        for first in range(seed, seed + count, BATCH):
            cases = family.random_cases(first, min(BATCH, seed + count - first))
            for core in CORES:
                with tempfile.TemporaryDirectory() as folder:
                    check_in_qemu(cases, Path(folder), core)
                    check_on_host(cases, Path(folder), core=core)
            checked += len(cases)
            if sys.stderr.isatty():
                print(f"\r{name}: {checked} of {count}", end="", file=sys.stderr, flush=True)
        if sys.stderr.isatty():
            print(file=sys.stderr)
        print(f"{name}: {checked} kernels in {len(CORES)} forms, no difference", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
