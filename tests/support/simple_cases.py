"""Random cases of the simple kernels, with the numerics' results as the expected ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from support.typed_kernel_harness import TypedCase
from tinyc.backends.cortexm.kernels.add import AddSpec, add_spec
from tinyc.backends.cortexm.kernels.average_pool import AveragePoolSpec
from tinyc.backends.cortexm.kernels.copy import CopySpec
from tinyc.backends.cortexm.kernels.dequantize import DequantizeSpec
from tinyc.backends.cortexm.kernels.elementwise import Broadcast, pack_operand
from tinyc.backends.cortexm.kernels.max_pool import MaxPoolSpec
from tinyc.backends.cortexm.kernels.mean import FinishPlan, MeanColumnsSpec, MeanRowsSpec, MeanTensorSpec
from tinyc.backends.cortexm.kernels.mul import MulSpec
from tinyc.backends.cortexm.kernels.pad import PadSpec
from tinyc.backends.cortexm.kernels.quantize import QuantizeSpec
from tinyc.backends.cortexm.kernels.softmax import pack as pack_softmax
from tinyc.backends.cortexm.kernels.softmax import softmax_spec
from tinyc.backends.cortexm.kernels.transpose import TransposeSpec
from tinyc.numerics.addition import addition_plan
from tinyc.numerics.mean import mean_plan
from tinyc.numerics.multiplication import multiplication_plan
from tinyc.numerics.pooling import GlobalAverage, PoolingPlan, average_pool, max_pool
from tinyc.numerics.profile import Profile
from tinyc.numerics.quantization import dequantization_plan, quantization_plan
from tinyc.numerics.softmax import softmax_plan

Random = np.random.Generator
Int8 = npt.NDArray[np.int8]

_BOUNDS = [(-128, 127), (-128, 127), (-20, 127), (-128, 90), (-100, 100)]


def _int8(random: Random, shape: tuple[int, ...]) -> Int8:
    low, high = sorted(int(v) for v in random.integers(-128, 128, 2)) if random.random() < 0.3 else (-128, 127)
    return random.integers(low, high + 1, shape).astype(np.int8)


def _zero_point(random: Random) -> int:
    return int(random.choice([-128, 127, 0, int(random.integers(-128, 128))]))


def _bounds(random: Random) -> tuple[int, int]:
    return _BOUNDS[int(random.integers(len(_BOUNDS)))]


def _scale(random: Random) -> float:
    return float(np.float32(2.0 ** random.uniform(-9, 0)))


def _operands(random: Random, elements: int, channels: int, broadcast: Broadcast) -> tuple[Int8, Int8, Int8]:
    """First operand, second operand as the body reads it, second operand spread over the row."""
    size = {Broadcast.SAME: elements, Broadcast.CHANNEL: channels, Broadcast.SCALAR: 1}[broadcast]
    second = _int8(random, (size,))
    return _int8(random, (elements,)), second, np.resize(second, elements)


def add_case(random: Random, profile: Profile, *, long: bool = False) -> TypedCase:
    """`long` keeps TFLite's fixed-point rule instead of the proved shift."""
    channels = int(random.integers(1, 14))
    elements = channels * int(random.integers(1, 8))
    broadcast = list(Broadcast)[int(random.integers(3))]
    constant = bool(random.random() < 0.3)
    output_scale = _scale(random)
    scales = [float(np.float32(output_scale * 2.0 ** random.uniform(-3, 1.5))) for _ in range(2)]
    if random.random() < 0.5:
        # Quarters of the output scale: every fourth sum is an exact tie.
        scales = [output_scale * float(ratio) for ratio in random.choice([0.25, 0.5, 0.75, 1.5], 2)]
    minimum, maximum = _bounds(random)
    zero_points = (_zero_point(random), _zero_point(random))
    plan = addition_plan(profile, (scales[0], scales[1]), zero_points, output_scale, _zero_point(random), minimum, maximum)
    spec = (AddSpec if long else add_spec)(elements, channels, broadcast, constant, plan)
    first, second, spread = _operands(random, elements, channels, broadcast)
    tables = pack_operand(spec, second) if constant else ()
    overwrites = (
        [None, 0, 1][int(random.integers(3))] if broadcast is Broadcast.SAME and not constant else [None, 0][int(random.integers(2))]
    )
    return TypedCase(spec, [first] if constant else [first, second], plan.apply(first, spread), tables, overwrites)


def mul_case(random: Random, profile: Profile) -> TypedCase:
    channels = int(random.integers(1, 14))
    elements = channels * int(random.integers(1, 8))
    broadcast = list(Broadcast)[int(random.integers(3))]
    constant = bool(random.random() < 0.3)
    first_scale, second_scale = _scale(random), _scale(random)
    output_scale = float(np.float32(first_scale * second_scale * 2.0 ** random.uniform(-3, 8)))
    plan = multiplication_plan(
        profile,
        (first_scale, second_scale),
        (_zero_point(random), _zero_point(random)),
        output_scale,
        _zero_point(random),
        *_bounds(random),
    )
    spec = MulSpec(elements, channels, broadcast, constant, plan)
    first, second, spread = _operands(random, elements, channels, broadcast)
    tables = pack_operand(spec, second) if constant else ()
    return TypedCase(spec, [first] if constant else [first, second], plan.apply(first, spread), tables, [None, 0][int(random.integers(2))])


def pool_case(random: Random, average: bool) -> TypedCase:
    """One row of a pooling over an image, with windows that may hang over every edge."""
    large = average and random.random() < 0.1
    window = (16, 17) if large else (int(random.integers(1, 5)), int(random.integers(1, 5)))
    channels, width, height = int(random.integers(1, 14)), int(random.integers(1, 12)), int(random.integers(1, 8))
    stride, pad_left, pad_top = int(random.integers(1, 4)), int(random.integers(0, window[1])), int(random.integers(0, window[0]))
    if window[0] > height + pad_top or window[1] > width + pad_left:
        width, height = width + window[1], height + window[0]
    pad_right = int(random.integers(0, window[1]))
    plan = PoolingPlan(window, (1, stride), (pad_top, 0, pad_left, pad_right), *_bounds(random))
    rows = plan.output_size(height, width)[0]
    # The last window must touch the input; a stride may carry it past the right edge.
    columns = min(plan.output_size(height, width)[1], (width - 1 + pad_left) // stride + 1)
    image = _int8(random, (1, height, width, channels))
    row = int(random.integers(rows))
    window_rows = [image[0, index] if 0 <= index < height else None for index in range(row - pad_top, row - pad_top + window[0])]
    spec = (AveragePoolSpec if average else MaxPoolSpec)(
        width, channels, columns, window[0], window[1], stride, pad_left, plan.minimum, plan.maximum
    )
    expected = (average_pool if average else max_pool)(plan, image)[0, row, :columns]
    return TypedCase(spec, [window_rows], expected)


def _finish(random: Random, profile: Profile, count: int) -> FinishPlan:
    if random.random() < 0.2:
        return GlobalAverage(count, *_bounds(random))
    scale = _scale(random)
    output_scale = scale if random.random() < 0.3 else float(np.float32(scale * 2.0 ** random.uniform(-2, 1)))
    return mean_plan(profile, count, scale, _zero_point(random), output_scale, _zero_point(random))


def mean_rows_case(random: Random, profile: Profile) -> TypedCase:
    height, width, channels = int(random.integers(1, 6)), int(random.choice([1, 2, 5, 9, 256, 300])), int(random.integers(1, 12))
    keep_width = bool(random.random() < 0.4)
    image = _int8(random, (height, width, channels))
    axes = (0,) if keep_width else (0, 1)
    plan = _finish(random, profile, height if keep_width else height * width)
    expected = plan.apply_to_sum(image.astype(np.int64).sum(axis=axes))
    return TypedCase(MeanRowsSpec(width, channels, keep_width, plan), [list(image)], expected)


def mean_columns_case(random: Random, profile: Profile) -> TypedCase:
    width, channels = int(random.choice([1, 2, 5, 9, 255, 256, 600])), int(random.integers(1, 12))
    row = _int8(random, (width, channels))
    plan = _finish(random, profile, width)
    return TypedCase(MeanColumnsSpec(width, channels, plan), [row], plan.apply_to_sum(row.astype(np.int64).sum(axis=0)))


def mean_tensor_case(random: Random, profile: Profile) -> TypedCase:
    shape = tuple(int(size) for size in random.integers(1, 6, int(random.integers(1, 6))))
    axes = tuple(axis for axis in range(len(shape)) if random.random() < 0.5) or (int(random.integers(len(shape))),)
    values = _int8(random, shape)
    plan = _finish(random, profile, int(np.prod([shape[axis] for axis in axes])))
    expected = plan.apply_to_sum(np.asarray(values.astype(np.int64).sum(axis=axes)))
    return TypedCase(MeanTensorSpec(shape, axes, plan), [values], expected)


def softmax_case(random: Random, profile: Profile) -> TypedCase:
    repeats, depth = int(random.integers(1, 40)), int(random.choice([1, 2, 3, 10, 30, 300]))
    if depth == 300:
        repeats = 2
    plan = softmax_plan(profile, float(np.float32(2.0 ** random.uniform(-8, 1))), float(random.choice([1.0, 0.5, 2.0])), depth=depth)
    values = _int8(random, (repeats, depth))
    return TypedCase(
        softmax_spec(repeats, depth, plan), [values], plan.apply(values), pack_softmax(plan), [None, 0][int(random.integers(2))]
    )


def tied_softmax_case(profile: Profile) -> TypedCase:
    """512 equal values: every probability is half a step."""
    plan = softmax_plan(profile, 0.1, depth=512)
    values = np.full((1, 512), 5, dtype=np.int8)
    return TypedCase(softmax_spec(1, 512, plan), [values], plan.apply(values), pack_softmax(plan))


def tied_mean_case(random: Random) -> TypedCase:
    """Equal scales and many even counts: means are exact ties, and a fused multiply-add would round some of them differently."""
    width, channels = int(random.choice([3, 6, 10, 12, 14])), 40
    row = _int8(random, (width, channels))
    plan = mean_plan(Profile.LITERT, width, 0.1, _zero_point(random), 0.1, _zero_point(random))
    return TypedCase(MeanColumnsSpec(width, channels, plan), [row], plan.apply_to_sum(row.astype(np.int64).sum(axis=0)))


def quantize_case(random: Random, profile: Profile) -> TypedCase:
    scale, count = _scale(random), 64
    steps = random.integers(-300, 300, count) + random.choice([0.0, 0.5, 0.25], count)
    values = (steps * np.float64(scale)).astype(np.float32)
    values[:6] = [0.0, -0.0, 1e30, -1e30, 1e-30, 3e9]
    plan = quantization_plan(profile, scale, _zero_point(random))
    return TypedCase(QuantizeSpec(count, plan), [values], plan.apply(values))


def dequantize_case(random: Random) -> TypedCase:
    plan = dequantization_plan(_scale(random), _zero_point(random))
    values = _int8(random, (int(random.integers(1, 50)),))
    return TypedCase(DequantizeSpec(values.size, plan), [values], plan.apply(values))


def pad_case(random: Random) -> TypedCase:
    width, channels = int(random.integers(1, 8)), int(random.integers(1, 8))
    left, right, before, after = (int(v) for v in random.integers(0, 3, 4) * (random.random(4) < 0.6))
    value = _zero_point(random)
    row = _int8(random, (width, channels))
    expected = np.pad(row, ((left, right), (before, after)), constant_values=value)
    spec = PadSpec(width, channels, left, right, before, after, value)
    if random.random() < 0.25:
        return TypedCase(spec, [[None]], np.full_like(expected, value))
    return TypedCase(spec, [[row]], expected)


def copy_case(random: Random) -> TypedCase:
    if random.random() < 0.3:
        numbers = random.standard_normal(int(random.integers(1, 20))).astype(np.float32)
        return TypedCase(CopySpec(numbers.size, "float"), [numbers], numbers)
    values = _int8(random, (int(random.integers(1, 50)),))
    return TypedCase(CopySpec(values.size), [values], values)


def transpose_case(random: Random) -> TypedCase:
    rank = int(random.integers(1, 7))
    shape = tuple(int(size) for size in random.integers(1, 5, rank))
    permutation = tuple(int(axis) for axis in random.permutation(rank))
    values = _int8(random, shape)
    return TypedCase(TransposeSpec(shape, permutation), [values], np.ascontiguousarray(values.transpose(permutation)))


def cases(seed: int, count: int, profile: Profile) -> list[TypedCase]:
    """`count` cases of every family."""
    random = np.random.default_rng(seed)
    made: list[TypedCase] = []
    for _ in range(count):
        made += [add_case(random, profile), add_case(random, Profile.TFLM, long=True), mul_case(random, profile)]
        made += [pool_case(random, average=False), pool_case(random, average=True)]
        made += [mean_rows_case(random, profile), mean_columns_case(random, profile), mean_tensor_case(random, profile)]
        made += [softmax_case(random, profile), quantize_case(random, profile), dequantize_case(random)]
        made += [pad_case(random), copy_case(random), transpose_case(random), tied_mean_case(random)]
    made.append(tied_softmax_case(profile))
    return made
