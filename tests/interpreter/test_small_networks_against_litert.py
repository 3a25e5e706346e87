"""Small networks of several ops against the installed LiteRT: import and interpretation together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from support.tflite_builder import ACTIVATION_CODES, PADDING_CODES, Op, Tensor, build_model
from tinyc.frontends.tflite import import_tflite
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile

litert = pytest.importorskip("ai_edge_litert")

SEEDS = range(12)
RESOLVERS = {Profile.LITERT: "default", Profile.TFLM: "reference"}


def block(seed: int) -> tuple[bytes, npt.NDArray[np.int8]]:
    """A random inverted bottleneck with a residual sum, a pool and a classifier."""
    random = np.random.default_rng(seed)
    height, width, channels, wide = (int(value) for value in random.integers([4, 4, 2, 4], [9, 9, 6, 13]))
    kernel, stride = int(random.choice([3, 5])), int(random.choice([1, 2]))
    out_height, out_width = -(-height // stride), -(-width // stride)
    activation = ACTIVATION_CODES[str(random.choice(["none", "relu", "relu6"]))]

    def weights(name: str, *shape: int, axis: int = 0) -> Tensor:
        count = shape[axis]
        scales = random.uniform(0.002, 0.02, count).astype(np.float32)
        return Tensor(name, shape, scale=scales.tolist(), quantized_dimension=axis, data=random.integers(-127, 128, shape).astype(np.int8))

    def bias(name: str, count: int) -> Tensor:
        return Tensor(name, (count,), "int32", scale=[1e-4] * count, data=random.integers(-3000, 3000, count).astype(np.int32))

    def image(name: str, *shape: int) -> Tensor:
        return Tensor(name, shape, scale=float(np.float32(random.uniform(0.02, 0.1))), zero_point=int(random.integers(-128, 128)))

    convolution: dict[str, Any] = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1, "Padding": PADDING_CODES["same"]}
    summed = image("s", 1, out_height, out_width, channels)
    pooled = Tensor("p", (1, 1, 1, channels), scale=summed.scale, zero_point=summed.zero_point)
    tensors = [
        image("x", 1, height, width, channels),
        weights("w1", wide, 1, 1, channels),
        bias("b1", wide),
        image("e", 1, height, width, wide),
        weights("w2", 1, kernel, kernel, wide, axis=3),
        bias("b2", wide),
        image("d", 1, out_height, out_width, wide),
        weights("w3", channels, 1, 1, wide),
        bias("b3", channels),
        image("c", 1, out_height, out_width, channels),
        summed,
        pooled,
        Tensor("w4", (3, channels), scale=0.01, data=random.integers(-127, 128, (3, channels)).astype(np.int8)),
        bias("b4", 3),
        Tensor("y", (1, 3), scale=0.1, zero_point=4),
    ]
    pool = {"Padding": 1, "StrideH": 1, "StrideW": 1, "FilterHeight": out_height, "FilterWidth": out_width, "FusedActivationFunction": 0}
    other = "x" if stride == 1 else "c"
    ops = [
        Op("CONV_2D", ["x", "w1", "b1"], ["e"], convolution | {"FusedActivationFunction": activation}),
        Op(
            "DEPTHWISE_CONV_2D",
            ["e", "w2", "b2"],
            ["d"],
            convolution | {"StrideH": stride, "StrideW": stride, "DepthMultiplier": 1, "FusedActivationFunction": activation},
        ),
        Op("CONV_2D", ["d", "w3", "b3"], ["c"], convolution | {"FusedActivationFunction": 0}),
        Op("ADD", ["c", other], ["s"], {"FusedActivationFunction": 0}),
        Op("AVERAGE_POOL_2D", ["s"], ["p"], pool),
        Op("FULLY_CONNECTED", ["p", "w4", "b4"], ["y"], {"FusedActivationFunction": 0}),
    ]
    model = build_model(tensors, ops, ["x"], ["s", "c"] if seed % 2 else ["s"])
    return model, random.integers(-128, 128, (1, height, width, channels)).astype(np.int8)


@pytest.mark.parametrize("profile", RESOLVERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_equal_litert(seed: int, profile: Profile) -> None:
    from support.tflite_builder import run_litert

    model, values = block(seed)
    expected = run_litert(model, [values], resolver=RESOLVERS[profile])
    actual = evaluate(import_tflite(model, "block.tflite"), [values], profile)
    # The sum comes first; LiteRT may have written it over the convolution's output.
    np.testing.assert_array_equal(actual[0], expected[0].reshape(actual[0].shape))
    assert len(np.unique(actual[0])) > 5
