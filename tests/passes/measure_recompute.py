"""What it gains to compute tensors twice: `python measure_recompute.py MODEL ...`, the least arena without and with recompute-gates."""

from __future__ import annotations

import argparse
from pathlib import Path

import tinyc
from tinyc.driver.compile import compile_module
from tinyc.driver.pipeline import CompileOptions
from tinyc.driver.schedules import least_ram
from tinyc.passes.fold_constants import profile_of
from tinyc.targets import load_target


def main() -> None:
    """Prints one line a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    for path in parser.parse_args().models:
        model = tinyc.load(path)
        texts = []
        for recompute in (False, True):
            options = least_ram(CompileOptions(profile_of(model.default_numerics), measure=False, recompute=recompute))[0]
            report = compile_module(model.module, model.name, load_target("cortex-m7"), options).report
            texts.append(f"arena {report.ram.arena_bytes:,}, {report.macs:,} multiply-adds")
        print(f"{path.stem}: {texts[0]}; computing twice: {texts[1]}, {report.recomputed_macs:,} of them again")


if __name__ == "__main__":
    main()
