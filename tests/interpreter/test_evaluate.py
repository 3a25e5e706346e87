"""What the interpreter does around the ops: inputs, observers, errors."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from support.network_builder import NetworkBuilder, random_inputs
from tinyc.errors import ModelError
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.text import parse_module
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes


def network() -> ModuleOp:
    builder = NetworkBuilder(12)
    first, second = builder.input((1, 4)), builder.input((1, 4))
    return builder.finish(builder.add(first, second), first)


def test_an_input_that_is_an_output_comes_back() -> None:
    module = network()
    inputs = random_inputs(module)
    _, same = evaluate(module, inputs, Profile.LITERT)
    np.testing.assert_array_equal(same, inputs[0])


def test_inputs_are_not_changed() -> None:
    module = network()
    inputs = random_inputs(module)
    copies = [values.copy() for values in inputs]
    evaluate(module, inputs, Profile.LITERT)
    for values, copy in zip(inputs, copies, strict=True):
        np.testing.assert_array_equal(values, copy)


def test_an_observer_sees_every_op_in_order_with_its_result() -> None:
    module = network()
    seen = []
    (total, _) = evaluate(module, random_inputs(module), Profile.LITERT, lambda op, result: seen.append((op.name, result)))
    assert [name for name, _ in seen] == ["nn.add"]
    np.testing.assert_array_equal(seen[0][1], total)


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([], "has 2 inputs, 0 were given"),
        ([np.zeros((1, 4), np.int8)] * 3, "has 2 inputs, 3 were given"),
        ([np.zeros((1, 4), np.int8), np.zeros((4,), np.int8)], r"input 1 must be int8 \[1, 4\], got int8 \[4\]"),
        ([np.zeros((1, 4), np.float32), np.zeros((1, 4), np.int8)], r"input 0 must be int8 \[1, 4\], got float32"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: list[np.ndarray], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        evaluate(network(), inputs, Profile.LITERT)


def test_ir_without_main_or_below_the_nn_level_is_refused() -> None:
    with pytest.raises(ModelError, match="no function `main`"):
        evaluate(parse_module("builtin.module {}"), [], Profile.LITERT)
    module = network()
    run_passes(module, parse_passes("select-kernels"))
    with pytest.raises(ModelError, match="no function `main`"):
        evaluate(module, [], Profile.LITERT)
    foreign = parse_module('builtin.module { func.func @main() { "builtin.unrealized_conversion_cast"() : () -> i32\n func.return } }')
    with pytest.raises(ModelError, match="the interpreter runs the nn level"):
        evaluate(foreign, [], Profile.LITERT)
    empty = parse_module("builtin.module { func.func @main() { func.return } }")
    assert evaluate(empty, [], Profile.LITERT) == []


def test_a_convolution_by_hand() -> None:
    module = parse_module(
        """builtin.module { func.func @main(%x: !nn.tensor<[1, 2, 2, 1], i8, 1.0 : 1>) -> !nn.tensor<[1, 2, 2, 1], i8, 1.0 : -1> {
             %w = nn.constant <[1, 2, 2, 1], i8, values [1, 2, 3, 4]> : !nn.tensor<[1, 2, 2, 1], i8>
             %b = nn.constant <[1], i32, values [10]> : !nn.tensor<[1], i32>
             %r = nn.conv2d %x, %w, %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 1, 1>, clamp = array<i64: -128, 60>,
               dilations = array<i64: 1, 1>, weight_scales = #nn.dense<[1], f32, base64 "AACAPw==">} :
               (!nn.tensor<[1, 2, 2, 1], i8, 1.0 : 1>, !nn.tensor<[1, 2, 2, 1], i8>, !nn.tensor<[1], i32>)
               -> !nn.tensor<[1, 2, 2, 1], i8, 1.0 : -1>
             func.return %r : !nn.tensor<[1, 2, 2, 1], i8, 1.0 : -1>
           } }"""
    )
    image = np.array([[[[2], [4]], [[6], [8]]]], np.int8)
    # Without the zero point: 1 3 / 5 7, zero beyond; sums 50, 24, 19, 7; plus bias 10, minus 1, at most 60.
    (result,) = evaluate(module, [image], Profile.LITERT)
    assert result.ravel().tolist() == [59, 33, 28, 16]
