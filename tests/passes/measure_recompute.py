"""What it gains to compute twice: `python measure_recompute.py MODEL ...`, the least arena without, with second passes and with strips."""

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
        for name, gates, patches in (("nothing", False, False), ("gates", True, False), ("strips", False, True), ("both", True, True)):
            base = CompileOptions(profile_of(model.default_numerics), measure=False, recompute=gates, patches=patches)
            report = compile_module(model.module, model.name, load_target("cortex-m7"), least_ram(base)[0], must_fit=False).report
            texts.append(f"{name}: arena {report.ram.arena_bytes:,}, {report.recomputed_macs:,} of {report.macs:,} multiply-adds again")
        print(f"{path.stem}: {'; '.join(texts)}")


if __name__ == "__main__":
    main()
