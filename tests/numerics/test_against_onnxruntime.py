"""The profile `onnxruntime` against ONNX Runtime itself: random one-op models, every output equal."""

from __future__ import annotations

import numpy as np
import pytest

from support.onnx_builder import as_int8, run_onnxruntime
from support.onnx_cases import CASES, Draw
from tinyc.frontends.onnx import import_onnx
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.addition import AdditionPlan, addition_plan, equivalent_shifted_addition
from tinyc.numerics.multiplication import MultiplicationPlan, multiplication_plan
from tinyc.numerics.profile import Profile
from tinyc.passes.channels_last import ChannelsLast
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes

MODELS = 14
SIMPLIFY = "canonicalize,fold-constants{numerics=onnxruntime},fold-pad,fuse-activation,canonicalize,eliminate-dead-code"


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("op", CASES)
def test_outputs_of_random_models_equal_onnx_runtime(op: str, dtype: type) -> None:
    pytest.importorskip("onnxruntime")
    draw = Draw(np.random.default_rng([len(op), *op.encode()]), dtype)
    for _ in range(MODELS):
        model, feeds = CASES[op](draw)
        (expected,) = run_onnxruntime(model, feeds)
        module = import_onnx(model.SerializeToString(), "model.onnx")
        run_passes(module, [ChannelsLast("nchw"), *parse_passes(SIMPLIFY)])
        (found,) = evaluate(module, [as_int8(values) for values in feeds.values()], Profile.ONNXRUNTIME)
        np.testing.assert_array_equal(found, expected, err_msg=str(model.graph.node))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("op", ["Add", "Mul", "Sub"])
def test_sums_and_products_of_all_operand_pairs_equal_onnx_runtime(op: str, dtype: type) -> None:
    pytest.importorskip("onnxruntime")
    from support.onnx_builder import one_op

    random, low = np.random.default_rng(5), -128 if dtype is np.int8 else 0
    offset = 0 if dtype is np.int8 else 128
    first, second = (array.astype(dtype) for array in np.divmod(np.arange(65536), 256))
    first, second = ((np.arange(65536) // 256 + low).astype(dtype), (np.arange(65536) % 256 + low).astype(dtype))
    for index in range(12):
        scales = np.round(np.exp(random.uniform(-5, -1, 2)), 3 if index % 2 else 8).astype(np.float32) + np.float32(0.001)
        out = float(np.float32(scales.prod() * 60 if op == "Mul" else scales.sum() * 0.8))
        zeros = [int(value) for value in random.integers(low, low + 256, 3)]
        shape = [1, 65536]
        model = one_op(op, [((float(scales[0]), zeros[0]), shape), ((float(scales[1]), zeros[1]), shape)], (out, zeros[2]), dtype)
        (expected,) = run_onnxruntime(model, {"x0": first.reshape(shape), "x1": second.reshape(shape)})
        shifted = [zero - offset for zero in zeros]
        scale_pair = (float(scales[0]), float(scales[1]))
        arguments = (Profile.ONNXRUNTIME, scale_pair, (shifted[0], shifted[1]), out, shifted[2], -128, 127)
        plan: AdditionPlan | MultiplicationPlan
        if op == "Sub":
            plan = addition_plan(*arguments, (1, -1), dequantized=True)
        else:
            plan = (addition_plan if op == "Add" else multiplication_plan)(*arguments, unsigned=dtype is np.uint8)
        np.testing.assert_array_equal(plan.apply(as_int8(first), as_int8(second)), expected.ravel())


def test_most_float_sums_have_an_equal_shifted_addition() -> None:
    random, found = np.random.default_rng(3), 0
    for _ in range(30):
        scales, zeros = 0.1 * 2.0 ** random.uniform(-3, 1, 2), random.integers(-128, 128, 3)
        pair = (float(scales[0]), float(scales[1]))
        plan = addition_plan(Profile.ONNXRUNTIME, pair, (int(zeros[0]), int(zeros[1])), 0.1, int(zeros[2]), -128, 127)
        found += equivalent_shifted_addition(plan) is not None
    assert found >= 20
