"""What passes and the verifier do with nn.unary and with bounds that await the numerics profile."""

from __future__ import annotations

import pytest
from xdsl.utils.exceptions import VerifyException

from tinyc.errors import ModelError
from tinyc.ir.nn_elementwise import AddOp, ClampOp
from tinyc.ir.nn_unary import UnaryOp
from tinyc.ir.text import parse_module, print_module
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes
from tinyc.passes.rewriting import main_block

A = "!nn.tensor<[1, 4], i8, 0.5 : 0>"
B = "!nn.tensor<[1, 4], i8, 0.25 : 0>"


def module_text(body: str, result: str = A) -> str:
    """A module of one function of one argument `%x` of type A."""
    return f"builtin.module {{\n  func.func @main(%x: {A}) -> {result} {{\n{body}\n    func.return %y : {result}\n  }}\n}}\n"


def unary(properties: str, result: str = A) -> str:
    return module_text(f"    %y = nn.unary %x {{{properties}}} : ({A}) -> {result}", result)


def test_a_requantization_to_the_same_type_disappears_and_another_stays() -> None:
    same, other = parse_module(unary('function = "requantize"'), "m"), parse_module(unary('function = "requantize"', B), "m")
    for module in (same, other):
        run_passes(module, parse_passes("canonicalize"))
    assert not any(isinstance(op, UnaryOp) for op in main_block(same).ops)
    assert any(isinstance(op, UnaryOp) for op in main_block(other).ops)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ('function = "cosine"', "function must be one of abs, elu"),
        ('function = "leaky_relu"', "leaky_relu has an alpha"),
        ('function = "tanh", alpha = 0.5 : f32', "tanh has no alpha"),
    ],
)
def test_the_verifier_refuses_functions_that_make_no_sense(properties: str, message: str) -> None:
    module = parse_module(unary('function = "tanh"'), "m")
    text = print_module(module).replace('function = "tanh"', properties)
    with pytest.raises((ModelError, VerifyException), match=message):
        parse_module(text, "m").verify()


def test_unary_ops_read_back_as_they_were_printed() -> None:
    text = print_module(parse_module(unary('function = "leaky_relu", alpha = 0.1 : f32, own_kernel'), "m"))
    assert print_module(parse_module(text, "m")) == text
    assert "own_kernel" in text


def _clamped_sum(activation: str) -> str:
    addition = f"    %s = nn.add %x, %x {{clamp = array<i64: 0, 12>{activation}}} : ({A}, {A}) -> {A}"
    return module_text(f"{addition}\n    %y = nn.clamp %s {{clamp = array<i64: -5, 10>}} : ({A}) -> {A}")


def test_a_clamp_is_fused_unless_the_bounds_before_it_await_the_profile() -> None:
    fused, kept = parse_module(_clamped_sum(""), "m"), parse_module(_clamped_sum(', activation = "relu6"'), "m")
    for module in (fused, kept):
        run_passes(module, parse_passes("fuse-activation"))
    (addition,) = [op for op in main_block(fused).ops if isinstance(op, AddOp)]
    assert addition.clamp_pair() == (0, 10)
    assert not any(isinstance(op, ClampOp) for op in main_block(fused).ops)
    assert any(isinstance(op, ClampOp) for op in main_block(kept).ops)
