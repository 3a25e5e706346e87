"""Random one-op models with the outputs that tinyc's numerics predict for LiteRT's default and reference resolvers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from support.tflite_builder import ACTIVATION_CODES, PADDING_CODES, Op, Tensor, build_model
from tinyc.numerics.activation import activation_bounds
from tinyc.numerics.addition import FixedPointAddition, addition_plan
from tinyc.numerics.fixed_point import quantize_multiplier
from tinyc.numerics.mean import apply_mean, mean_plan
from tinyc.numerics.multiplication import FixedPointMultiplication, multiplication_plan
from tinyc.numerics.pooling import PoolingPlan, average_pool, max_pool
from tinyc.numerics.profile import Profile
from tinyc.numerics.quantization import dequantization_plan, quantization_plan
from tinyc.numerics.requantize import channel_requantization
from tinyc.numerics.softmax import softmax_plan

Random = np.random.Generator
Values = npt.NDArray[Any]

RESOLVERS = {Profile.LITERT: "default", Profile.TFLM: "reference"}
"""Which resolver of LiteRT stands for a profile."""


@dataclass
class NumericCase:
    """A model, its inputs, and the expected output by profile; a profile is absent where LiteRT has no kernel with its rule."""

    model: bytes
    inputs: list[Values]
    expected: dict[Profile, Values]
    name: str


def _scale(random: Random, low: float = -9, high: float = 1) -> float:
    """Mostly arbitrary; sometimes a power of two or a round number, which give exact ties."""
    if random.random() < 0.2:
        return float(random.choice([0.5, 0.25, 0.125, 1.0, 0.1, 0.75 / 64]))
    return float(np.float32(2.0 ** random.uniform(low, high)))


def _zero_point(random: Random) -> int:
    return int(random.choice([-128, 127, 0, int(random.integers(-128, 128))], p=[0.15, 0.05, 0.1, 0.7]))


def _activation(random: Random) -> str:
    return str(random.choice(list(ACTIVATION_CODES)))


def _tie_scale(random: Random, activation: str) -> float | None:
    """A scale for which the real bound of `activation` lies exactly between two quantised values, or None."""
    bound = {"relu6": 6.0, "relu_n1_to_1": 1.0}.get(activation)
    if bound is None or random.random() < 0.7:
        return None
    half = int(random.integers(3, 100)) + 0.5
    scale = np.float32(bound / half)
    return float(scale) if np.float32(bound) / scale == np.float32(half) else None


def _binary(random: Random, code: str) -> NumericCase:
    """All 65,536 pairs, or a broadcast of the second operand, which is then constant or an input."""
    activation = _activation(random)
    output_scale = _tie_scale(random, activation) or _scale(random)
    if code == "ADD":
        # Below a ratio of 2**-10 XNNPACK leaves the op to a kernel that wraps at int16 when the other ratio is great (docs/numerics.md).
        low, high = (-12, 6) if random.random() < 0.5 else (-9.9, 7.9)
        scales = [float(np.float32(output_scale * 2.0 ** random.uniform(low, high))) for _ in range(2)]
        if random.random() < 0.3:
            scales = [float(np.float32(output_scale * ratio)) for ratio in random.choice([0.5, 1.0, 2.0, 31 / 60, 2.0**-10], 2)]
    else:
        scales = [_scale(random, -9, 0), _scale(random, -9, 0)]
        output_scale = output_scale if random.random() < 0.3 else float(np.float32(scales[0] * scales[1] * 2.0 ** random.uniform(-4, 17)))
    zero_points = (_zero_point(random), _zero_point(random))
    output_zero_point = _zero_point(random)
    every = np.arange(-128, 128).astype(np.int8)
    first = np.broadcast_to(every[:, None], (256, 256)).reshape(1, 16, 16, 256)
    kind = str(random.choice(["same", "constant", "pixel", "scalar", "channel"]))
    second_shape = {"same": (1, 16, 16, 256), "scalar": (), "channel": (256,)}.get(kind, (1, 1, 1, 256))
    if kind == "same":
        second = np.broadcast_to(every[None, :], (256, 256)).reshape(second_shape)
    else:
        second = random.integers(-128, 128, second_shape).astype(np.int8)
        first = np.broadcast_to(every[:, None], (256, 256)).reshape(first.shape)
    constant = kind in ("constant", "scalar", "channel")
    tensors = [
        Tensor("a", first.shape, scale=scales[0], zero_point=zero_points[0]),
        Tensor("b", second.shape, scale=scales[1], zero_point=zero_points[1], data=second if constant else None),
        Tensor("y", first.shape, scale=output_scale, zero_point=output_zero_point),
    ]
    options = {"FusedActivationFunction": ACTIVATION_CODES[activation]}
    model = build_model(tensors, [Op(code, ["a", "b"], ["y"], options)], ["a"] if constant else ["a", "b"], ["y"])
    make = addition_plan if code == "ADD" else multiplication_plan
    expected = {}
    for profile in RESOLVERS:
        bounds = activation_bounds(activation, output_scale, output_zero_point, profile)
        plan = make(profile, (scales[0], scales[1]), zero_points, output_scale, output_zero_point, *bounds)
        if isinstance(plan, FixedPointAddition | FixedPointMultiplication):
            # XNNPACK does not take the op, so its way of rounding the bounds does not apply.
            minimum, maximum = activation_bounds(activation, output_scale, output_zero_point, Profile.TFLM)
            plan = replace(plan, minimum=minimum, maximum=maximum)
        if isinstance(plan, FixedPointMultiplication) and profile is Profile.TFLM:
            # The reference resolver is TFLM's rule but for the factor, which it forms in float32 and TFLM in double.
            factor = np.float32(np.float32(scales[0]) * np.float32(scales[1])) / np.float32(output_scale)
            multiplier, shift = quantize_multiplier(float(factor))
            plan = replace(plan, multiplier=multiplier, shift=shift)
        expected[profile] = plan.apply(first, second)
    name = f"{code} {kind} {scales} {zero_points} -> {output_scale} {output_zero_point} {activation}"
    return NumericCase(model, [first] if constant else [first, second], expected, name)


def add_case(random: Random) -> NumericCase:
    return _binary(random, "ADD")


def mul_case(random: Random) -> NumericCase:
    return _binary(random, "MUL")


def _same_padding(size: int, window: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (window - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def _pool(random: Random, code: str) -> NumericCase:
    height, width, channels = (int(v) for v in random.integers(1, 20, 3))
    window = (int(random.integers(1, 8)), int(random.integers(1, 8)))
    strides = (int(random.integers(1, 4)), int(random.integers(1, 4)))
    if random.random() < 0.15:
        window = (height, width)
    padding = "same" if window[0] > height or window[1] > width or random.random() < 0.5 else "valid"
    pads = (0, 0, 0, 0)
    if padding == "same":
        pads = (*_same_padding(height, window[0], strides[0]), *_same_padding(width, window[1], strides[1]))
    activation = _activation(random)
    scale, zero_point = _tie_scale(random, activation) or _scale(random, -7, -2), _zero_point(random)
    # XNNPACK takes maximum pooling whose windows leave no pixel out; it never takes average pooling.
    delegated = code == "MAX_POOL_2D" and strides[0] <= window[0] and strides[1] <= window[1]
    image = random.integers(-128, 128, (1, height, width, channels)).astype(np.int8)
    expected = {}
    for profile in RESOLVERS:
        bounds = activation_bounds(activation, scale, zero_point, profile if delegated else Profile.TFLM)
        plan = PoolingPlan(window, strides, pads, *bounds)
        expected[profile] = (max_pool if code == "MAX_POOL_2D" else average_pool)(plan, image)
    options = {
        "Padding": PADDING_CODES[padding],
        "StrideH": strides[0],
        "StrideW": strides[1],
        "FilterHeight": window[0],
        "FilterWidth": window[1],
        "FusedActivationFunction": ACTIVATION_CODES[activation],
    }
    tensors = [
        Tensor("x", image.shape, scale=scale, zero_point=zero_point),
        Tensor("y", expected[Profile.TFLM].shape, scale=scale, zero_point=zero_point),
    ]
    name = f"{code} {image.shape} {options} {scale} {zero_point}"
    return NumericCase(build_model(tensors, [Op(code, ["x"], ["y"], options)], ["x"], ["y"]), [image], expected, name)


def max_pool_case(random: Random) -> NumericCase:
    return _pool(random, "MAX_POOL_2D")


def average_pool_case(random: Random) -> NumericCase:
    return _pool(random, "AVERAGE_POOL_2D")


def mean_case(random: Random) -> NumericCase:
    shape = (1, int(random.integers(1, 14)), int(random.integers(1, 14)), int(random.integers(1, 400)))
    choices = [(1, 2), (1, 2), (1,), (2,), (3,), (2, 3), (1, 3), (1, 2, 3), (0, 1)]
    axes = choices[int(random.integers(len(choices)))]
    keep = bool(random.random() < 0.5)
    input_scale, input_zero_point = _scale(random), _zero_point(random)
    output_scale, output_zero_point = float(np.float32(input_scale * 2.0 ** random.uniform(-3, 1))), _zero_point(random)
    if random.random() < 0.4:
        output_scale = float(np.float32(input_scale * random.choice([1.0, 1.0, 0.5, 0.25, 0.75])))
    if random.random() < 0.2:
        output_scale, output_zero_point = input_scale, input_zero_point
    low = random.integers(-128, 100, (1, 1, 1, shape[3]))
    image = np.clip(low + random.integers(0, int(random.choice([3, 30, 255])), shape), -128, 127).astype(np.int8)
    count = int(np.prod([shape[axis] for axis in axes]))
    expected = {}
    for profile in RESOLVERS:
        plan = mean_plan(profile, count, input_scale, input_zero_point, output_scale, output_zero_point)
        expected[profile] = apply_mean(plan, image, axes, keep)
    tensors = [
        Tensor("x", shape, scale=input_scale, zero_point=input_zero_point),
        Tensor("axes", (len(axes),), "int32", data=np.array(axes)),
        Tensor("y", expected[Profile.TFLM].shape, scale=output_scale, zero_point=output_zero_point),
    ]
    model = build_model(tensors, [Op("MEAN", ["x", "axes"], ["y"], {"KeepDims": int(keep)})], ["x"], ["y"])
    return NumericCase(model, [image], expected, f"MEAN {shape} {axes} {input_scale} {input_zero_point} {output_scale} {output_zero_point}")


def softmax_case(random: Random) -> NumericCase:
    depth = int(random.choice([1, 2, 3, 4, 5, 10, 12, 30, 250, 1000], p=[0.02, 0.2, 0.2, 0.1, 0.1, 0.13, 0.1, 0.1, 0.03, 0.02]))
    rows, scale = 4000 // depth + 1, float(np.float32(2.0 ** random.uniform(-8, 0)))
    beta = float(np.float32(random.choice([1.0, 1.0, 0.5, 2.0, 3.3])))
    values = random.integers(-128, 128, (rows, depth)).astype(np.int8)
    tensors = [
        Tensor("x", values.shape, scale=scale, zero_point=_zero_point(random)),
        Tensor("y", values.shape, scale=1 / 256, zero_point=-128),
    ]
    model = build_model(tensors, [Op("SOFTMAX", ["x"], ["y"], {"Beta": beta})], ["x"], ["y"])
    expected = {profile: softmax_plan(profile, scale, beta).apply(values) for profile in RESOLVERS}
    if depth > 500:
        # Where a row's exponentials sum to 512 and more, TFLite's reference kernel shifts by more than 31 places and aborts.
        del expected[Profile.TFLM]
    return NumericCase(model, [values], expected, f"SOFTMAX {values.shape} {scale} {beta}")


def quantize_case(random: Random) -> NumericCase:
    scale, zero_point, count = _scale(random), _zero_point(random), 5000
    steps = random.integers(-300, 300, count) + random.choice([0.0, 0.5, 0.5, random.random()], count)
    values = (steps * np.float64(np.float32(scale))).astype(np.float32)
    neighbours = np.nextafter(values, random.choice([-1e9, 1e9], count).astype(np.float32))
    values = np.where(random.random(count) < 0.3, neighbours, values).astype(np.float32)
    tensors = [Tensor("x", (1, count), "float32"), Tensor("y", (1, count), scale=scale, zero_point=zero_point)]
    model = build_model(tensors, [Op("QUANTIZE", ["x"], ["y"])], ["x"], ["y"])
    expected = {profile: quantization_plan(profile, scale, zero_point).apply(values) for profile in RESOLVERS}
    return NumericCase(model, [values], expected, f"QUANTIZE {scale} {zero_point}")


def dequantize_case(random: Random) -> NumericCase:
    scale, zero_point = _scale(random), _zero_point(random)
    values = np.arange(-128, 128).astype(np.int8)
    tensors = [Tensor("x", (1, 256), scale=scale, zero_point=zero_point), Tensor("y", (1, 256), "float32")]
    model = build_model(tensors, [Op("DEQUANTIZE", ["x"], ["y"])], ["x"], ["y"])
    expected = dequantization_plan(scale, zero_point).apply(values)
    return NumericCase(model, [values], dict.fromkeys(Profile, expected), f"DEQUANTIZE {scale} {zero_point}")


def pad_case(random: Random) -> NumericCase:
    shape = (1, *(int(size) for size in random.integers(1, 8, 3)))
    pads = random.integers(0, 4, (4, 2)) * (random.random((4, 2)) < 0.6)
    pads[0] = 0
    zero_point, scale = _zero_point(random), _scale(random)
    values = random.integers(-128, 128, shape).astype(np.int8)
    expected = np.pad(values, pads, constant_values=zero_point)
    tensors = [
        Tensor("x", shape, scale=scale, zero_point=zero_point),
        Tensor("pads", (4, 2), "int32", data=pads),
        Tensor("y", expected.shape, scale=scale, zero_point=zero_point),
    ]
    model = build_model(tensors, [Op("PAD", ["x", "pads"], ["y"])], ["x"], ["y"])
    return NumericCase(model, [values], dict.fromkeys(Profile, expected), f"PAD {shape} {pads.tolist()}")


def _window_sums(image: Values, weights: Values, strides: tuple[int, int], dilations: tuple[int, int], depthwise: bool) -> Values:
    """Accumulators of a padded, zero-point-free HWC image: OHWI weights, or (H, W, C) weights for depthwise."""
    taps = weights.shape[:2] if depthwise else weights.shape[1:3]
    height, width = ((image.shape[axis] - (taps[axis] - 1) * dilations[axis] - 1) // strides[axis] + 1 for axis in (0, 1))
    sums = np.zeros((height, width, weights.shape[2] if depthwise else weights.shape[0]), dtype=np.int64)
    for y in range(taps[0]):
        for x in range(taps[1]):
            top, left = y * dilations[0], x * dilations[1]
            part = image[top : top + (height - 1) * strides[0] + 1 : strides[0], left : left + (width - 1) * strides[1] + 1 : strides[1]]
            sums += part * weights[y, x] if depthwise else part @ weights[:, y, x].T
    return sums


def _convolution(random: Random, code: str) -> NumericCase:
    depthwise = code == "DEPTHWISE_CONV_2D"
    height, width, channels = (int(v) for v in random.integers(3, 20, 3))
    taps = (int(random.integers(1, 6)), int(random.integers(1, 6)))
    strides, dilations = (int(random.integers(1, 3)), int(random.integers(1, 3))), (1, 1)
    if random.random() < 0.25:
        dilations = (int(random.integers(1, 3)), int(random.integers(1, 3)))
        strides = (1, 1)
    if depthwise:
        strides = (strides[0], strides[0])
    spans = [(taps[axis] - 1) * dilations[axis] + 1 for axis in (0, 1)]
    padding = "same" if spans[0] > height or spans[1] > width or random.random() < 0.5 else "valid"
    pads = ((0, 0), (0, 0))
    if padding == "same":
        pads = (_same_padding(height, taps[0], strides[0], dilations[0]), _same_padding(width, taps[1], strides[1], dilations[1]))
    input_zero_point = _zero_point(random)
    image = random.integers(-128, 128, (height, width, channels)).astype(np.int8)
    padded = np.pad(image.astype(np.int64) - input_zero_point, (*pads, (0, 0)))
    options = {"Padding": PADDING_CODES[padding], "StrideH": strides[0], "StrideW": strides[1]}
    options |= {"DilationHFactor": dilations[0], "DilationWFactor": dilations[1]}
    if depthwise:
        multiplier = int(random.choice([1, 1, 2, 3]))
        options["DepthMultiplier"] = multiplier
        weights = random.integers(-127, 128, (1, *taps, channels * multiplier)).astype(np.int8)
        sums = _window_sums(np.repeat(padded, multiplier, axis=2), weights[0].astype(np.int64), strides, dilations, True)
    else:
        weights = random.integers(-127, 128, (int(random.integers(1, 40)), *taps, channels)).astype(np.int8)
        sums = _window_sums(padded, weights.astype(np.int64), strides, dilations, False)
    return _weighted(random, code, options, image[None], weights, sums[None], input_zero_point, 3 if depthwise else 0)


def _weighted(
    random: Random, code: str, options: dict[str, int], values: Values, weights: Values, sums: Values, input_zero_point: int, axis: int
) -> NumericCase:
    """Completes a model whose accumulators without bias are `sums`: scales, bias and activation."""
    channels = sums.shape[-1]
    per_channel = bool(random.random() < 0.6)
    input_scale = _scale(random, -8, 0)
    weight_scales = np.array([_scale(random, -10, -3) for _ in range(channels if per_channel else 1)], dtype=np.float32)
    without_bias = code == "FULLY_CONNECTED" and random.random() < 0.3
    bias = np.asarray(random.integers(-20000, 20000, (channels,)) * (0 if without_bias else 1), dtype=np.int32)
    sums = sums + bias
    activation = _activation(random)
    spread = float(np.std(sums.astype(np.float64))) + 1
    output_scale = float(np.float32(input_scale * float(np.median(weight_scales)) * spread / 50 * 2.0 ** random.uniform(-1, 2)))
    if random.random() < 0.1:
        output_scale = _tie_scale(random, activation) or output_scale
    output_zero_point = _zero_point(random)
    expected = {}
    for profile in RESOLVERS:
        bounds = activation_bounds(activation, output_scale, output_zero_point, profile)
        single = code == "FULLY_CONNECTED" and not per_channel
        requantization = channel_requantization(
            profile, input_scale, weight_scales, output_scale, output_zero_point, *bounds, single_precision_product=single
        )
        expected[profile] = requantization.apply(sums)
    tensors = [
        Tensor("x", values.shape, scale=input_scale, zero_point=input_zero_point),
        Tensor("w", weights.shape, scale=[float(s) for s in weight_scales], quantized_dimension=axis, data=weights),
        Tensor("y", sums.shape, scale=output_scale, zero_point=output_zero_point),
    ]
    operands: list[str | None] = ["x", "w", None]
    if not without_bias:
        tensors.append(Tensor("b", bias.shape, "int32", scale=[float(np.float32(input_scale) * s) for s in weight_scales], data=bias))
        operands[2] = "b"
    options["FusedActivationFunction"] = ACTIVATION_CODES[activation]
    model = build_model(tensors, [Op(code, operands, ["y"], options)], ["x"], ["y"])
    if code == "FULLY_CONNECTED":
        # BUILTIN_REF of LiteRT 2.3 scales this op in float32 as XNNPACK does, so that no resolver has TFLM's rule; test_goldens.py has.
        del expected[Profile.TFLM]
    return NumericCase(model, [values], expected, f"{code} {options} {input_scale} {output_scale} {output_zero_point} {activation}")


def conv_case(random: Random) -> NumericCase:
    return _convolution(random, "CONV_2D")


def depthwise_case(random: Random) -> NumericCase:
    return _convolution(random, "DEPTHWISE_CONV_2D")


def fully_connected_case(random: Random) -> NumericCase:
    rows, depth, channels = int(random.integers(1, 40)), int(random.integers(1, 300)), int(random.integers(1, 70))
    values = random.integers(-128, 128, (rows, depth)).astype(np.int8)
    weights = random.integers(-127, 128, (channels, depth)).astype(np.int8)
    zero_point = _zero_point(random)
    sums = (values.astype(np.int64) - zero_point) @ weights.T.astype(np.int64)
    return _weighted(random, "FULLY_CONNECTED", {}, values, weights, sums, zero_point, 0)


CASES: dict[str, Callable[[Random], NumericCase]] = {
    "ADD": add_case,
    "MUL": mul_case,
    "MAX_POOL_2D": max_pool_case,
    "AVERAGE_POOL_2D": average_pool_case,
    "MEAN": mean_case,
    "SOFTMAX": softmax_case,
    "QUANTIZE": quantize_case,
    "DEQUANTIZE": dequantize_case,
    "PAD": pad_case,
    "CONV_2D": conv_case,
    "DEPTHWISE_CONV_2D": depthwise_case,
    "FULLY_CONNECTED": fully_connected_case,
}
