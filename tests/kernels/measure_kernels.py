"""Many random kernels of the families with multiplications: in QEMU with guarded buffers, in plain C under sanitizers, in both forms.

PYTHONPATH=tests python tests/kernels/measure_kernels.py 1000 7     # so many of each family, from this seed on
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from kernels import test_compact, test_conv, test_depthwise, test_fully_connected, test_fused_additions, test_winograd
from support.kernel_harness import CORES, Case, check_in_qemu, check_on_host

FAMILIES: dict[str, Callable[[int, int], list[Case]]] = {
    "convolution": test_conv.random_cases,
    "Winograd": test_winograd.random_cases,
    "depthwise": test_depthwise.random_cases,
    "fully connected": test_fully_connected.random_cases,
    "convolution + addition": test_fused_additions.random_cases,
    "compact": test_compact.random_cases,
}
BATCH = 50


def main(count: int, seed: int) -> None:
    """Raises AssertionError for the first batch in which a value or a guard differs."""
    for name, random_cases in FAMILIES.items():
        checked = 0
        for first in range(seed, seed + count, BATCH):
            cases = random_cases(first, min(BATCH, seed + count - first))
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
