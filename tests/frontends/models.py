"""Small TFLite models, valid until a test changes something about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import ModuleOp

from support.tflite_builder import PADDING_CODES, Op, Tensor, build_model
from tinyc.frontends.tflite import import_tflite
from tinyc.ir.nn_base import NNOp
from tinyc.ir.nn_shape import ConstantOp
from tinyc.passes.rewriting import main_block

RANDOM = np.random.default_rng(3)


def int8(*shape: int) -> npt.NDArray[np.int8]:
    """Random weights."""
    return RANDOM.integers(-127, 128, shape).astype(np.int8)


def int32(*shape: int) -> npt.NDArray[np.int32]:
    """A random bias."""
    return RANDOM.integers(-500, 500, shape).astype(np.int32)


def tensor(name: str, shape: Sequence[int], scale: Any = 0.5, zero_point: Any = 0, **more: Any) -> Tensor:
    """A quantised tensor."""
    return Tensor(name, tuple(shape), scale=scale, zero_point=zero_point, **more)


def conv_options(
    padding: str = "same", stride: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1), activation: int = 0
) -> dict[str, Any]:
    """Options of a CONV_2D."""
    options: dict[str, Any] = {"Padding": PADDING_CODES[padding], "StrideH": stride[0], "StrideW": stride[1]}
    return options | {"DilationHFactor": dilation[0], "DilationWFactor": dilation[1], "FusedActivationFunction": activation}


def conv_model(
    image: Sequence[int] = (1, 6, 5, 3),
    weights: Sequence[int] = (4, 3, 3, 3),
    output: Sequence[int] = (1, 6, 5, 4),
    options: Mapping[str, Any] | None = None,
    code: str = "CONV_2D",
    bias: bool = True,
    **changes: Tensor,
) -> bytes:
    """One convolution; `changes` replaces tensors by name: x, w, b or y."""
    channels = weights[0] if code == "CONV_2D" else weights[3]
    axis = 0 if code == "CONV_2D" else 3
    tensors = {
        "x": tensor("x", image),
        "w": tensor("w", weights, [0.01 + 0.001 * i for i in range(channels)], quantized_dimension=axis, data=int8(*weights)),
        "b": tensor("b", (channels,), [0.005 + 0.0005 * i for i in range(channels)], dtype="int32", data=int32(channels)),
        "y": tensor("y", output, 0.25, -3),
    } | changes
    op = Op(code, ["x", "w", "b"] if bias else ["x", "w"], ["y"], options or conv_options())
    return build_model(list(tensors.values()), [op], ["x"], ["y"])


def depthwise_model(image: Sequence[int], weights: Sequence[int], output: Sequence[int], options: Mapping[str, Any]) -> bytes:
    """One depthwise convolution."""
    multiplier = {"DepthMultiplier": weights[3] // image[3]}
    return conv_model(image, weights, output, {**options, **multiplier}, "DEPTHWISE_CONV_2D")


def node_model(code: str, inputs: Sequence[Tensor], output: Tensor, options: Mapping[str, Any] | None = None) -> bytes:
    """One node; inputs without data are inputs of the network."""
    op = Op(code, [entry.name for entry in inputs], [output.name], options or {})
    return build_model([*inputs, output], [op], [entry.name for entry in inputs if entry.data is None], [output.name])


def network_model() -> bytes:
    """Convolution, depthwise convolution, pool, addition, reshape, fully connected, softmax: what the damage tests damage."""
    tensors = [
        tensor("x", (1, 6, 6, 2)),
        tensor("w1", (4, 3, 3, 2), 0.02, data=int8(4, 3, 3, 2)),
        tensor("b1", (4,), 0.01, dtype="int32", data=int32(4)),
        tensor("a", (1, 6, 6, 4), 0.25),
        tensor("w2", (1, 3, 3, 4), [0.02] * 4, quantized_dimension=3, data=int8(1, 3, 3, 4)),
        tensor("b2", (4,), 0.01, dtype="int32", data=int32(4)),
        tensor("d", (1, 6, 6, 4), 0.25),
        tensor("s", (1, 6, 6, 4), 0.5, 5),
        tensor("p", (1, 3, 3, 4), 0.5, 5),
        Tensor("shape", (2,), "int32", data=np.array([1, 36], np.int32)),
        tensor("r", (1, 36), 0.5, 5),
        tensor("w3", (3, 36), 0.02, data=int8(3, 36)),
        tensor("f", (1, 3), 0.5),
        tensor("y", (1, 3), 1 / 256, -128),
    ]
    pool = {"Padding": 0, "StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2, "FusedActivationFunction": 0}
    ops = [
        Op("CONV_2D", ["x", "w1", "b1"], ["a"], conv_options(activation=1)),
        Op("DEPTHWISE_CONV_2D", ["a", "w2", "b2"], ["d"], conv_options() | {"DepthMultiplier": 1}),
        Op("ADD", ["a", "d"], ["s"], {"FusedActivationFunction": 0}),
        Op("MAX_POOL_2D", ["s"], ["p"], pool),
        Op("RESHAPE", ["p", "shape"], ["r"], {"NewShape": [1, 36]}),
        Op("FULLY_CONNECTED", ["r", "w3", None], ["f"], {"FusedActivationFunction": 0}),
        Op("SOFTMAX", ["f"], ["y"], {"Beta": 1.0}),
    ]
    return build_model(tensors, ops, ["x"], ["y"])


def imported(model: bytes) -> ModuleOp:
    """The verified module."""
    module = import_tflite(model, "model.tflite")
    module.verify()
    return module


def ops_of(module: ModuleOp) -> list[NNOp]:
    """The ops that compute something."""
    return [op for op in main_block(module).ops if isinstance(op, NNOp) and not isinstance(op, ConstantOp)]


def only_op(model: bytes) -> Any:
    """The only op of a one-node model."""
    (op,) = ops_of(imported(model))
    return op
