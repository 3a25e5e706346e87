"""The evidence behind profile `onnxruntime`: random models of every op against ONNX Runtime, as a table.

PYTHONPATH=tests python tests/numerics/measure_onnxruntime.py MODELS SEED [OP ...]
"""

from __future__ import annotations

import sys

import numpy as np

from support.onnx_builder import as_int8, run_onnxruntime
from support.onnx_cases import CASES, Draw
from tinyc.frontends.onnx import import_onnx
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile
from tinyc.passes.channels_last import ChannelsLast
from tinyc.passes.manager import run_passes


def measure(op: str, models: int, seed: int) -> tuple[int, int]:
    """Outputs that differ, and outputs, of `models` random models, half of them uint8."""
    differing = outputs = 0
    random = np.random.default_rng([seed, *op.encode()])
    for index in range(models):
        model, feeds = CASES[op](Draw(random, np.uint8 if index % 2 else np.int8))
        (expected,) = run_onnxruntime(model, feeds)
        module = import_onnx(model.SerializeToString(), "model.onnx")
        run_passes(module, [ChannelsLast("nchw")])
        (found,) = evaluate(module, [as_int8(values) for values in feeds.values()], Profile.ONNXRUNTIME)
        differing += int((found != expected).sum())
        outputs += expected.size
    return differing, outputs


def main() -> None:
    """Prints one line for each op."""
    models, seed = int(sys.argv[1]), int(sys.argv[2])
    print("| op | models | differing outputs |\n|---|---|---|")
    for op in sys.argv[3:] or CASES:
        differing, outputs = measure(op, models, seed)
        print(f"| {op} | {models:,} | {differing:,} of {outputs:,} |", flush=True)


if __name__ == "__main__":
    main()
