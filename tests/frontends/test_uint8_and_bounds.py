"""uint8 models become int8 without a changed result, and bounds of activations follow the numerics profile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support import numeric_cases
from support.elementwise_cases import (
    EVERY,
    ModelCase,
    as_unsigned,
    extreme_case,
    leaky_relu_case,
    prelu_case,
    shifted,
    sub_case,
    unary_case,
)
from support.host_network import compile_for_host, needs_gcc, run_on_host
from support.numeric_cases import RESOLVERS
from support.tflite_builder import ACTIVATION_CODES, Op, Tensor, build_model, run_litert
from tinyc.errors import UnsupportedError
from tinyc.frontends.tflite import import_tflite
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.nn_base import tensor_of
from tinyc.ir.nn_elementwise import AddOp
from tinyc.numerics.profile import Profile
from tinyc.passes.rewriting import main_block

CHANGED = [
    "ADD",
    "MUL",
    "MAX_POOL_2D",
    "AVERAGE_POOL_2D",
    "SOFTMAX",
    "QUANTIZE",
    "DEQUANTIZE",
    "PAD",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
]


@pytest.mark.parametrize("op", CHANGED)
def test_uint8_models_compute_what_litert_computes(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setattr(
        numeric_cases, "build_model", lambda tensors, *more: build_model([as_unsigned(tensor) for tensor in tensors], *more)
    )
    random = np.random.default_rng(4)
    compared = 0
    for _ in range(60):
        case = numeric_cases.CASES[op](random)
        try:
            (theirs,) = run_litert(case.model, [shifted(values) for values in case.inputs])
        except RuntimeError:
            # LiteRT takes no uint8 model with one weight scale per channel.
            continue
        module = import_tflite(case.model, "case")
        shapes = [tensor_of(argument).shape for argument in main_block(module).args]
        inputs = [values.reshape(shape) for values, shape in zip(case.inputs, shapes, strict=True)]
        (ours,) = evaluate(module, inputs, Profile.LITERT)
        np.testing.assert_array_equal(shifted(ours), theirs.reshape(ours.shape), err_msg=case.name)
        compared += 1
    assert compared >= 15


UNSIGNED = {
    "HARD_SWISH": lambda random: unary_case(random, "HARD_SWISH", unsigned=True),
    "LEAKY_RELU": lambda random: leaky_relu_case(random, unsigned=True),
    "LOGISTIC": lambda random: unary_case(random, "LOGISTIC", output=(1 / 256, -128), unsigned=True),
    "MAXIMUM": lambda random: extreme_case(random, "MAXIMUM", unsigned=True),
    "PRELU": lambda random: prelu_case(random, unsigned=True),
    "QUANTIZE": lambda random: unary_case(random, "QUANTIZE", unsigned=True),
    "RELU6": lambda random: unary_case(random, "RELU6", unsigned=True),
    "SUB": lambda random: sub_case(random, unsigned=True),
    "TANH": lambda random: unary_case(random, "TANH", output=(1 / 128, 0), unsigned=True),
}


@pytest.mark.parametrize("op", UNSIGNED)
def test_uint8_elementwise_ops_compute_what_litert_computes(op: str) -> None:
    pytest.importorskip("ai_edge_litert")
    random = np.random.default_rng(5)
    for _ in range(40):
        case: ModelCase = UNSIGNED[op](random)
        (theirs,) = run_litert(case.model, case.inputs)
        inputs = [(values ^ np.uint8(128)).view(np.int8) for values in case.inputs]
        (ours,) = evaluate(import_tflite(case.model, "case"), inputs, Profile.LITERT)
        np.testing.assert_array_equal(shifted(ours), theirs, err_msg=case.name)


@pytest.mark.parametrize("profile", [Profile.LITERT, Profile.TFLM])
@pytest.mark.parametrize("op", ["ADD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D"])
def test_imported_ops_equal_litert_where_bounds_are_ties(op: str, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ai_edge_litert")
    # The cases draw a tie of 6 / scale or 1 / scale for bounded activations; here all of them are bounded.
    monkeypatch.setattr(numeric_cases, "_activation", lambda random: str(random.choice(["relu6", "relu_n1_to_1"])))
    random = np.random.default_rng(6)
    for _ in range(60):
        case = numeric_cases.CASES[op](random)
        (theirs,) = run_litert(case.model, case.inputs, resolver=RESOLVERS[profile])
        (ours,) = evaluate(import_tflite(case.model, "case"), case.inputs, profile)
        np.testing.assert_array_equal(ours, theirs.reshape(ours.shape), err_msg=case.name)


def _tied_addition() -> bytes:
    """RELU6 whose bound is 4.5 output steps above the zero point."""
    scale = float(np.float32(6 / 4.5))
    tensors = [Tensor(name, (1, 16, 16, 1), scale=scale) for name in ("a", "b", "y")]
    return build_model(tensors, [Op("ADD", ["a", "b"], ["y"], {"FusedActivationFunction": ACTIVATION_CODES["relu6"]})], ["a", "b"], ["y"])


def test_an_activation_stays_on_the_op_only_where_the_profiles_round_it_differently() -> None:
    (addition,) = [op for op in main_block(import_tflite(_tied_addition(), "m")).ops if isinstance(op, AddOp)]
    assert addition.activation is not None
    assert addition.activation.data == "relu6"
    tensors = [Tensor(name, (1, 4), scale=0.1) for name in ("a", "b", "y")]
    model = build_model(tensors, [Op("ADD", ["a", "b"], ["y"], {"FusedActivationFunction": ACTIVATION_CODES["relu6"]})], ["a", "b"], ["y"])
    (addition,) = [op for op in main_block(import_tflite(model, "m")).ops if isinstance(op, AddOp)]
    assert addition.activation is None
    assert addition.clamp_pair() == (0, 60)


@pytest.mark.skipif(needs_gcc() is not None, reason=needs_gcc() or "")
@pytest.mark.parametrize(("profile", "bound"), [(Profile.LITERT, 4), (Profile.TFLM, 5)])
def test_the_c_bounds_an_activation_as_its_profile_does(profile: Profile, bound: int, tmp_path: Path) -> None:
    module = import_tflite(_tied_addition(), "m")
    values = EVERY.reshape(1, 16, 16, 1)
    zeros = np.zeros_like(values)
    (output,) = run_on_host(compile_for_host(module, profile), tmp_path, [values, zeros])
    np.testing.assert_array_equal(output, np.clip(values, 0, bound))


def _model(op: str, tensors: list[Tensor], **options: object) -> bytes:
    names = [tensor.name for tensor in tensors]
    inputs = [tensor.name for tensor in tensors[:-1] if tensor.data is None]
    return build_model(tensors, [Op(op, names[:-1], names[-1:], options)], inputs, names[-1:])


def _unary(op: str, source: tuple[float, int], result: tuple[float, int]) -> bytes:
    return _model(
        op, [Tensor("x", (1, 4), scale=source[0], zero_point=source[1]), Tensor("y", (1, 4), scale=result[0], zero_point=result[1])]
    )


def _fully_connected(zero_point: int) -> bytes:
    weights = Tensor("w", (2, 4), "uint8", 0.1, zero_point, data=np.ones((2, 4), np.uint8))
    return _model("FULLY_CONNECTED", [Tensor("x", (1, 4), "uint8", 0.1, 128), weights, Tensor("y", (1, 2), "uint8", 0.1, 128)])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(_fully_connected(151), "zero point of uint8 weights must be 128, is 151", id="weights"),
        pytest.param(_unary("NEG", (0.1, 3), (0.1, 3)), "NEG computes the negative only of equal scales", id="neg"),
        pytest.param(_unary("LOGISTIC", (0.1, 3), (0.1, 3)), "must have scale 1/256 and zero point -128", id="logistic"),
        pytest.param(_unary("TANH", (0.1, 3), (1 / 128, 3)), "must have scale 1/128 and zero point 0", id="tanh"),
        pytest.param(_unary("HARD_SWISH", (300.0, 3), (0.5, 3)), "HARD_SWISH needs an output scale", id="hard_swish"),
        pytest.param(
            _model("MAXIMUM", [Tensor("a", (1, 4), scale=0.1), Tensor("b", (1, 4), scale=0.2), Tensor("y", (1, 4), scale=0.1)]),
            "must have the same scale and zero point",
            id="maximum",
        ),
        pytest.param(
            _model(
                "MEAN",
                [
                    Tensor("x", (1, 4, 4, 2), "uint8", 0.1, 7),
                    Tensor("axes", (2,), "int32", data=np.array([1, 2])),
                    Tensor("y", (1, 2), "uint8", 0.1, 7),
                ],
            ),
            "not supported on uint8 tensors",
            id="mean",
        ),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_reason(model: bytes, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        import_tflite(model, "model")


def test_uint8_weights_around_128_become_symmetric() -> None:
    module = import_tflite(_fully_connected(128), "model")
    values = np.array([[1, 2, 3, 4]], np.int8)
    # Weights of 1 are -127 away from 128, times 0.1 * 0.1 / 0.1.
    expected = np.clip(np.rint(values.sum() * -127 * 0.1), -128, 127)
    (output,) = evaluate(module, [values], Profile.LITERT)
    np.testing.assert_array_equal(output, np.full((1, 2), expected, np.int8))
