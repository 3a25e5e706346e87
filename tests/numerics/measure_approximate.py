"""How far `--approximate` is from ONNX Runtime: random layers that it computes in float32, and a whole network, as a table.

PYTHONPATH=tests python tests/numerics/measure_approximate.py MODELS SEED [OP ...]
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from support.onnx_builder import as_int8, run_onnxruntime
from support.onnx_cases import Draw
from support.onnx_float_layers import FLOAT_OPS, REASONS, float_layer, symmetric_network
from tinyc.api import load
from tinyc.frontends.onnx import import_onnx
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.nn_base import tensor_of
from tinyc.ir.nn_elementwise import DequantizeOp
from tinyc.numerics.profile import Profile
from tinyc.passes.channels_last import ChannelsLast
from tinyc.passes.manager import run_passes
from tinyc.passes.rewriting import main_block
from tinyc.verify.desktop import interpret, random_samples
from tinyc.verify.onnxruntime_reference import run_onnxruntime as run_file


@dataclass
class Distance:
    """Outputs, those that differ, and the greatest difference in steps."""

    outputs: int = 0
    differing: int = 0
    greatest: int = 0

    def add(self, found: np.ndarray, expected: np.ndarray) -> None:
        """Counts two int8 arrays of equal shape."""
        difference = np.abs(found.astype(np.int16) - expected.astype(np.int16))
        self.outputs += difference.size
        self.differing += int((difference > 0).sum())
        self.greatest = max(self.greatest, int(difference.max(initial=0)))


def measure(op: str, models: int, seed: int) -> Distance:
    """Of `models` random models of `op`, for all reasons and both types in turn. Raises AssertionError where the layer is not listed."""
    distance, random = Distance(), np.random.default_rng([seed, *op.encode()])
    reasons = tuple(REASONS)
    for index in range(models):
        model, feeds = float_layer(op, reasons[index % len(reasons)], Draw(random, np.uint8 if index % 2 else np.int8))
        module = import_onnx(model.SerializeToString(), "model.onnx", approximate=True)
        assert "approximate_layers" in module.attributes, f"{op}: {reasons[index % len(reasons)]}"
        run_passes(module, [ChannelsLast("nchw")])
        answers = evaluate(module, [as_int8(values) for values in feeds.values()], Profile.ONNXRUNTIME)
        for found, expected in zip(answers, run_onnxruntime(model, feeds), strict=True):
            distance.add(found, expected)
    return distance


def output_scale(module: ModuleOp) -> float:
    """The scale of the int8 tensor behind a network's float32 output."""
    terminator = main_block(module).last_op
    assert terminator is not None
    dequantize = terminator.operands[0].owner
    assert isinstance(dequantize, DequantizeOp)
    scale = tensor_of(dequantize.operands[0]).scale
    assert scale is not None
    return scale


def measure_network(seed: int, samples: int) -> Distance:
    """Of a CNN that quantize_static has quantised symmetrically, with a float32 boundary, on random inputs."""
    distance = Distance()
    with tempfile.TemporaryDirectory() as folder:
        path = symmetric_network(Path(folder), seed)
        model = load(path, approximate=True)
        data = random_samples(model.module, samples, seed)
        scale = output_scale(model.module)
        answers = zip(interpret(model.module, data, Profile.ONNXRUNTIME), run_file(path, model.module, data), strict=True)
        for (found,), (expected,) in answers:
            distance.add(np.rint(found / scale), np.rint(expected / scale))
    return distance


def main() -> None:
    """Prints one line for each op, and one for whole networks."""
    models, seed = int(sys.argv[1]), int(sys.argv[2])
    print("| layer | models | differing outputs | greatest difference in steps |\n|---|---:|---:|---:|")
    for op in sys.argv[3:] or FLOAT_OPS:
        found = measure(op, models, seed)
        print(f"| {op} | {models:,} | {found.differing:,} of {found.outputs:,} | {found.greatest} |", flush=True)
    if not sys.argv[3:]:
        whole = Distance()
        for number in range(max(1, models // 10)):
            found = measure_network(seed + number, 10)
            whole = Distance(whole.outputs + found.outputs, whole.differing + found.differing, max(whole.greatest, found.greatest))
        print(f"| whole networks | {max(1, models // 10):,} | {whole.differing:,} of {whole.outputs:,} | {whole.greatest} |")


if __name__ == "__main__":
    main()
