"""Random one-op models of the element-wise ops: all 256 inputs of a function, all 65,536 pairs of a binary op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from support.tflite_builder import ACTIVATION_CODES, Op, Tensor, build_model
from tinyc.frontends.tflite import import_tflite
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile

Random = np.random.Generator
Values = npt.NDArray[Any]
EVERY = np.arange(-128, 128).astype(np.int8)


@dataclass
class ModelCase:
    """A model and its inputs."""

    model: bytes
    inputs: list[Values]
    name: str


def scale(random: Random, low: float = -9, high: float = 1) -> float:
    """Often a round number, which gives exact ties."""
    if random.random() < 0.3:
        return float(random.choice([0.5, 0.25, 0.125, 1.0, 0.1, 0.75 / 64]))
    return float(np.float32(2.0 ** random.uniform(low, high)))


def zero_point(random: Random) -> int:
    return int(random.choice([-128, 127, 0, int(random.integers(-128, 128))], p=[0.15, 0.05, 0.1, 0.7]))


def _ratio(random: Random, span: float) -> float:
    """Input scale over output scale."""
    if random.random() < 0.5:
        return float(random.choice([0.25, 0.5, 1.0, 2.0, 0.75, 1.5, 31 / 60]))
    return float(2.0 ** random.uniform(-span, span))


def as_unsigned(tensor: Tensor) -> Tensor:
    """The uint8 tensor of which `tensor` is the shifted form."""
    if tensor.dtype != "int8":
        return tensor
    points = np.asarray(tensor.zero_point) + 128
    data = None if tensor.data is None else shifted(np.asarray(tensor.data))
    return replace(tensor, dtype="uint8", zero_point=points.tolist(), data=data)


def shifted(values: Values) -> Values:
    """uint8 values 128 above int8 ones; other types unchanged."""
    return (values.astype(np.int16) + 128).astype(np.uint8) if values.dtype == np.int8 else values


def one_op(op: Op, tensors: Sequence[Tensor], inputs: Sequence[Values], name: str, unsigned: bool = False) -> ModelCase:
    """A case of one op whose result is the last tensor; tensors without data but for the last are the model's inputs."""
    if unsigned:
        tensors, inputs = [as_unsigned(tensor) for tensor in tensors], [shifted(values) for values in inputs]
    names = [tensor.name for tensor in tensors[:-1] if tensor.data is None]
    return ModelCase(build_model(tensors, [op], names, [tensors[-1].name]), list(inputs), f"{name}{' uint8' if unsigned else ''}")


def unary_case(
    random: Random,
    code: str,
    *,
    output: tuple[float, int] | None = None,
    span: float = 3,
    alpha: float | None = None,
    unsigned: bool = False,
) -> ModelCase:
    """All inputs of one function; `output` fixes scale and zero point of the result."""
    source = scale(random), zero_point(random)
    if output is None:
        output = float(np.float32(source[0] / _ratio(random, span))), zero_point(random)
        if random.random() < 0.15:
            output = source
    shape = (1, 4, 8, 8) if random.random() < 0.5 else (1, 256)
    values = random.permutation(EVERY).reshape(shape)
    tensors = [Tensor("x", shape, scale=source[0], zero_point=source[1]), Tensor("y", shape, scale=output[0], zero_point=output[1])]
    options = {} if alpha is None else {"Alpha": alpha}
    return one_op(Op(code, ["x"], ["y"], options), tensors, [values], f"{code} {source} {output} {alpha}", unsigned)


def activation_case(random: Random, code: str) -> ModelCase:
    """A stand-alone RELU, RELU6 or RELU_N1_TO_1; often with an upper bound half-way between two outputs."""
    bound = {"RELU": 3.0, "RELU6": 6.0, "RELU_N1_TO_1": 1.0}[code]
    kind = random.random()
    if kind < 0.4:
        tie = float(np.float32(bound / (int(random.integers(1, 30)) + 0.5)))
        source = (tie, zero_point(random))
        tensors = [
            Tensor("x", (1, 256), scale=source[0], zero_point=source[1]),
            Tensor("y", (1, 256), scale=source[0], zero_point=source[1]),
        ]
        return one_op(Op(code, ["x"], ["y"]), tensors, [EVERY.reshape(1, 256)], f"{code} {source}")
    return unary_case(random, code)


def leaky_relu_case(random: Random, unsigned: bool = False) -> ModelCase:
    alpha = float(
        random.choice([0.01, 0.1, 0.2, 0.25, 0.5, -0.25, float(random.uniform(-1.5, 1.5)), 2.0 ** -float(random.integers(1, 10))])
    )
    return unary_case(random, "LEAKY_RELU", span=8, alpha=float(np.float32(alpha)), unsigned=unsigned)


def negate_case(random: Random) -> ModelCase:
    shared = scale(random)
    tensors = [Tensor("x", (1, 256), scale=shared), Tensor("y", (1, 256), scale=shared)]
    return one_op(Op("NEG", ["x"], ["y"]), tensors, [EVERY.reshape(1, 256)], f"NEG {shared}")


def mixed_quantize_case(random: Random) -> ModelCase:
    """QUANTIZE from uint8 to int8 or back."""
    source, result = (scale(random), zero_point(random)), zero_point(random)
    output = float(np.float32(source[0] / _ratio(random, 4))), result
    if random.random() < 0.3:
        output = source
    tensors = [Tensor("x", (1, 256), scale=source[0], zero_point=source[1]), Tensor("y", (1, 256), scale=output[0], zero_point=output[1])]
    values = EVERY.reshape(1, 256)
    if random.random() < 0.5:
        return one_op(
            Op("QUANTIZE", ["x"], ["y"]), [as_unsigned(tensors[0]), tensors[1]], [shifted(values)], f"QUANTIZE u8 {source} {output}"
        )
    return one_op(Op("QUANTIZE", ["x"], ["y"]), [tensors[0], as_unsigned(tensors[1])], [values], f"QUANTIZE to u8 {source} {output}")


_FIRST = np.broadcast_to(EVERY[:, None], (256, 256)).reshape(1, 16, 16, 256)


def _second(random: Random, kind: str) -> Values:
    if kind == "same":
        return np.broadcast_to(EVERY[None, :], (256, 256)).reshape(_FIRST.shape)
    shape = {"scalar": (1,), "channel": (256,), "pixel": (1, 1, 1, 256), "row": (1, 1, 16, 256)}[kind]
    return random.integers(-128, 128, shape).astype(np.int8)


def pairs_case(
    random: Random, code: str, quantization: Sequence[tuple[float, int]], options: dict[str, Any], unsigned: bool = False, swap: bool = True
) -> ModelCase:
    """All pairs, or a broadcast of one operand, which may come first or be constant; `quantization` of both operands and the result."""
    kind = str(random.choice(["same", "same", "scalar", "channel", "pixel", "row"]))
    values = [_FIRST, _second(random, kind)]
    constant = bool(random.random() < 0.5) and kind != "same"
    tensors = [
        Tensor("a", values[0].shape, scale=quantization[0][0], zero_point=quantization[0][1]),
        Tensor("b", values[1].shape, scale=quantization[1][0], zero_point=quantization[1][1], data=values[1] if constant else None),
        Tensor("y", _FIRST.shape, scale=quantization[2][0], zero_point=quantization[2][1]),
    ]
    order = ["b", "a"] if swap and random.random() < 0.4 else ["a", "b"]
    inputs = values[:1] if constant else values
    name = f"{code} {order} {kind} {'constant ' if constant else ''}{list(quantization)} {options}"
    return one_op(Op(code, order, ["y"], options), tensors, inputs, name, unsigned)


def sub_case(random: Random, unsigned: bool = False) -> ModelCase:
    activation = str(random.choice(list(ACTIVATION_CODES)))
    result = scale(random)
    if activation in ("relu6", "relu_n1_to_1") and random.random() < 0.4:
        result = float(np.float32((6.0 if activation == "relu6" else 1.0) / (int(random.integers(3, 100)) + 0.5)))
    low, high = (-12, 6) if random.random() < 0.3 else (-9.9, 7.9)
    operands = [
        float(np.float32(result * (_ratio(random, 1) if random.random() < 0.4 else 2.0 ** random.uniform(low, high)))) for _ in range(2)
    ]
    quantization = [(operand, zero_point(random)) for operand in (*operands, result)]
    return pairs_case(random, "SUB", quantization, {"FusedActivationFunction": ACTIVATION_CODES[activation]}, unsigned)


def extreme_case(random: Random, code: str, unsigned: bool = False) -> ModelCase:
    return pairs_case(random, code, [(scale(random), zero_point(random))] * 3, {}, unsigned)


def prelu_case(random: Random, unsigned: bool = False) -> ModelCase:
    source, slope = scale(random), scale(random, -9, -4)
    result = float(np.float32(source / _ratio(random, 2)))
    quantization = [(value, zero_point(random)) for value in (source, slope, result)]
    return pairs_case(random, "PRELU", quantization, {}, unsigned, swap=False)


def _unary(code: str, output: tuple[float, int] | None = None, span: float = 3) -> Callable[[Random], ModelCase]:
    return lambda random: unary_case(random, code, output=output, span=span)


CASES: dict[str, Callable[[Random], ModelCase]] = {
    "ABS": _unary("ABS"),
    "ELU": _unary("ELU"),
    "HARD_SWISH": _unary("HARD_SWISH"),
    "LEAKY_RELU": leaky_relu_case,
    "LOGISTIC": _unary("LOGISTIC", (1 / 256, -128)),
    "MAXIMUM": lambda random: extreme_case(random, "MAXIMUM"),
    "MINIMUM": lambda random: extreme_case(random, "MINIMUM"),
    "NEG": negate_case,
    "PRELU": prelu_case,
    "QUANTIZE int8": _unary("QUANTIZE", span=9),
    "QUANTIZE uint8 and int8": mixed_quantize_case,
    "RELU": lambda random: activation_case(random, "RELU"),
    "RELU6": lambda random: activation_case(random, "RELU6"),
    "RELU_N1_TO_1": lambda random: activation_case(random, "RELU_N1_TO_1"),
    "SUB": sub_case,
    "TANH": _unary("TANH", (1 / 128, 0)),
}

WITHOUT_STAND_IN = {"ABS", "ELU", "LEAKY_RELU", "LOGISTIC", "PRELU", "RELU", "TANH"}
"""Ops for which LiteRT's reference kernels are absent or not TFLM's; test_recorded_tflm.py compares those with recorded TFLM outputs."""


def interpreted(case: ModelCase, profile: Profile) -> npt.NDArray[np.int8]:
    """tinyc's output; uint8 inputs are given as the int8 that they become."""
    module = import_tflite(case.model, "case")
    inputs = [(values ^ np.uint8(128)).view(np.int8) if values.dtype == np.uint8 else values for values in case.inputs]
    (output,) = evaluate(module, inputs, profile)
    return output
