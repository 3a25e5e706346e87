"""Random cases of the element-wise kernels beside ADD and MUL, with the numerics' results as the expected ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from support.typed_kernel_harness import TypedCase
from tinyc.backends.cortexm.kernels.add import AddSpec, add_spec
from tinyc.backends.cortexm.kernels.average_pool import AveragePoolSpec
from tinyc.backends.cortexm.kernels.elementwise import Broadcast, pack_operand
from tinyc.backends.cortexm.kernels.extreme import ExtremeSpec
from tinyc.backends.cortexm.kernels.lookup import LookupSpec, pack_table
from tinyc.backends.cortexm.kernels.mean import MeanRowsSpec
from tinyc.backends.cortexm.kernels.prelu import PReluSpec
from tinyc.numerics.addition import addition_plan
from tinyc.numerics.pooling import GlobalAverage, PoolingPlan, average_pool
from tinyc.numerics.prelu import prelu_plan
from tinyc.numerics.profile import Profile
from tinyc.numerics.unary import UnaryQuantization, unary_table

Random = np.random.Generator
Int8 = npt.NDArray[np.int8]


def _int8(random: Random, shape: tuple[int, ...]) -> Int8:
    return random.integers(-128, 128, shape).astype(np.int8)


def _zero_point(random: Random) -> int:
    return int(random.choice([-128, 127, 0, int(random.integers(-128, 128))]))


def _scale(random: Random) -> float:
    return float(np.float32(2.0 ** random.uniform(-9, 0)))


def lookup_case(random: Random, profile: Profile) -> TypedCase:
    quantization = UnaryQuantization(_scale(random), _zero_point(random), 1 / 256, -128)
    table = unary_table("logistic", profile, quantization)
    if random.random() < 0.3:
        table = random.permutation(np.arange(-128, 128)).astype(np.int8)
    values = _int8(random, (int(random.integers(1, 300)),))
    expected = table[values.astype(np.int64) + 128]
    return TypedCase(LookupSpec(values.size), [values], expected, pack_table(table), [None, 0][int(random.integers(2))])


def _operands(random: Random) -> tuple[int, int, Broadcast, bool, Int8, Int8, Int8]:
    """Elements, channels, broadcast, whether the second operand is constant; both operands, and the second spread over the row."""
    channels = int(random.integers(1, 14))
    elements = channels * int(random.integers(1, 8))
    broadcast = list(Broadcast)[int(random.integers(3))]
    second = _int8(random, ({Broadcast.SAME: elements, Broadcast.CHANNEL: channels, Broadcast.SCALAR: 1}[broadcast],))
    return elements, channels, broadcast, bool(random.random() < 0.4), _int8(random, (elements,)), second, np.resize(second, elements)


def _case(random: Random, spec: AddSpec | ExtremeSpec | PReluSpec, first: Int8, second: Int8, expected: Int8) -> TypedCase:
    over_second = spec.broadcast is Broadcast.SAME and not spec.constant
    overwrites = [None, 0, 1][int(random.integers(3 if over_second else 2))]
    tables = pack_operand(spec, second) if spec.constant else ()
    return TypedCase(spec, [first] if spec.constant else [first, second], expected, tables, overwrites)


def extreme_case(random: Random, greater: bool) -> TypedCase:
    elements, channels, broadcast, constant, first, second, spread = _operands(random)
    expected = np.maximum(first, spread) if greater else np.minimum(first, spread)
    return _case(random, ExtremeSpec(elements, channels, broadcast, constant, greater), first, second, expected)


def prelu_case(random: Random, profile: Profile) -> TypedCase:
    elements, channels, broadcast, constant, first, second, spread = _operands(random)
    source, slope = _scale(random), _scale(random)
    result = float(np.float32(source * 2.0 ** random.uniform(-3, 3)))
    plan = prelu_plan(profile, source, _zero_point(random), slope, _zero_point(random), result, _zero_point(random))
    spec = PReluSpec(elements, channels, broadcast, constant, plan)
    return _case(random, spec, first, second, plan.apply(first, spread))


def sub_case(random: Random, profile: Profile, *, long: bool = False) -> TypedCase:
    """`long` keeps TFLite's fixed-point rule instead of the proved shift; the operands come in either order."""
    elements, channels, broadcast, constant, first, second, spread = _operands(random)
    result = _scale(random)
    scales = [float(np.float32(result * 2.0 ** random.uniform(-3, 1.5))) for _ in range(2)]
    if random.random() < 0.5:
        scales = [result * float(ratio) for ratio in random.choice([0.25, 0.5, 0.75, 1.5], 2)]
    signs = (1, -1) if random.random() < 0.5 else (-1, 1)
    zero_points, bounds = (_zero_point(random), _zero_point(random)), ((-128, 127), (-20, 90))[int(random.integers(2))]
    plan = addition_plan(profile, (scales[0], scales[1]), zero_points, result, _zero_point(random), *bounds, signs)
    spec = (AddSpec if long else add_spec)(elements, channels, broadcast, constant, plan)
    return _case(random, spec, first, second, plan.apply(first, spread))


def dequantized_sum_case(random: Random) -> TypedCase:
    """A sum or difference of dequantised operands, in float32 although one shift may equal it."""
    elements, channels, broadcast, constant, first, second, spread = _operands(random)
    result = _scale(random)
    scales = (float(np.float32(result * 2.0 ** random.uniform(-3, 1.5))), float(np.float32(result * 2.0 ** random.uniform(-3, 1.5))))
    zero_points, signs = (_zero_point(random), _zero_point(random)), (1, 1) if random.random() < 0.5 else (1, -1)
    bounds = ((-128, 127), (-20, 90))[int(random.integers(2))]
    plan = addition_plan(Profile.ONNXRUNTIME, scales, zero_points, result, _zero_point(random), *bounds, signs, dequantized=True)
    spec = AddSpec(elements, channels, broadcast, constant, plan)
    return _case(random, spec, first, second, plan.apply(first, spread))


def unsigned_average_case(random: Random) -> TypedCase:
    """Averages of uint8 values, many of them exact halves."""
    channels, width, window = int(random.integers(1, 10)), int(random.integers(4, 9)), (2, int(random.integers(1, 4)))
    image = _int8(random, (1, 2, width, channels))
    minimum, maximum = ((-128, 127), (-20, 90))[int(random.integers(2))]
    plan = PoolingPlan(window, (1, 1), (0, 0, 0, 0), minimum, maximum, True)
    expected = average_pool(plan, image)[0, 0]
    spec = AveragePoolSpec(width, channels, expected.shape[0], *window, 1, 0, minimum, maximum, True)
    return TypedCase(spec, [list(image[0])], expected)


def unsigned_global_average_case(random: Random) -> TypedCase:
    height, width, channels = int(random.integers(1, 6)), int(random.choice([1, 2, 4, 6])), int(random.integers(1, 12))
    image = _int8(random, (height, width, channels))
    plan = GlobalAverage(height * width, -128, 127, True)
    expected = plan.apply_to_sum(image.astype(np.int64).sum(axis=(0, 1)))
    return TypedCase(MeanRowsSpec(width, channels, False, plan), [list(image)], expected)


def cases(seed: int, count: int, profile: Profile) -> list[TypedCase]:
    """`count` cases of every kind."""
    random = np.random.default_rng(seed)
    made: list[TypedCase] = []
    for _ in range(count):
        made += [lookup_case(random, profile), extreme_case(random, True), extreme_case(random, False), prelu_case(random, profile)]
        made += [sub_case(random, profile), sub_case(random, Profile.TFLM, long=True), dequantized_sum_case(random)]
        made += [unsigned_average_case(random), unsigned_global_average_case(random)]
    return made
