"""Records what TensorFlow Lite Micro computes for element-wise ops that LiteRT's reference kernels compute otherwise.

Run from the repository root where the package `tflite_micro` is installed: `PYTHONPATH=tests python tests/numerics/record_tflm.py`.
It writes tests/numerics/recorded_tflm.npz: by op the models' quantisation (scale and zero point of input, slope if any, and output; alpha
or 0), the slopes of PRELU, and the outputs for the inputs -128 to 127.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from support.elementwise_cases import EVERY, scale, zero_point
from support.tflite_builder import Op, Tensor, build_model

FILE = Path(__file__).with_name("recorded_tflm.npz")
MODELS = 100
SLOPES = 4
FIXED_OUTPUTS = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}


def run_tflm(model: bytes, values: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """The output of a model with one input."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=200_000)
    interpreter.set_input(values, 0)
    interpreter.invoke()
    return np.asarray(interpreter.get_output(0), dtype=np.int8)


def record(op: str, random: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """Quantisation and outputs of MODELS models of one op."""
    quantization, outputs, all_slopes = [], [], []
    for _ in range(MODELS):
        source = scale(random), zero_point(random)
        ratio = float(random.choice([0.25, 0.5, 1.0, 2.0, 0.75])) if random.random() < 0.5 else 2.0 ** random.uniform(-3, 3)
        result = FIXED_OUTPUTS.get(op, (float(np.float32(source[0] / ratio)), zero_point(random)))
        alpha = float(np.float32(random.choice([0.01, 0.1, 0.25, -0.5, random.uniform(-1.5, 1.5)]))) if op == "LEAKY_RELU" else 0.0
        slope = (scale(random, -9, -4), zero_point(random)) if op == "PRELU" else (0.0, 0)
        shape = (1, 1, 256, SLOPES) if op == "PRELU" else (1, 256)
        values = np.broadcast_to(EVERY[:, None], (256, SLOPES)).reshape(shape) if op == "PRELU" else EVERY.reshape(shape)
        tensors = [Tensor("x", shape, scale=source[0], zero_point=source[1]), Tensor("y", shape, scale=result[0], zero_point=result[1])]
        names = ["x"]
        if op == "PRELU":
            slopes = random.integers(-128, 128, (1, 1, SLOPES)).astype(np.int8)
            tensors.append(Tensor("slope", slopes.shape, scale=slope[0], zero_point=slope[1], data=slopes))
            names.append("slope")
            all_slopes.append(slopes.ravel())
        options = {"Alpha": alpha} if op == "LEAKY_RELU" else {}
        model = build_model(tensors, [Op(op, names, ["y"], options)], ["x"], ["y"])
        quantization.append((*source, *slope, *result, alpha))
        outputs.append(run_tflm(model, values).reshape(256, -1))
    recorded: dict[str, npt.NDArray[Any]] = {f"{op}_quantization": np.array(quantization), f"{op}_outputs": np.array(outputs)}
    return recorded | ({f"{op}_slopes": np.array(all_slopes)} if op == "PRELU" else {})


if __name__ == "__main__":
    generator = np.random.default_rng(31)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name in ("ABS", "ELU", "LEAKY_RELU", "LOGISTIC", "PRELU", "RELU", "TANH"):
        arrays |= record(name, generator)
    np.savez_compressed(FILE, **arrays)  # type: ignore[arg-type]
