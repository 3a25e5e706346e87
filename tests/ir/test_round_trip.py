"""IR as text reads back to equal IR, and damaged text is refused cleanly."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass

from support.network_builder import FULL, NetworkBuilder, random_inputs
from tinyc.driver.pipeline import CompileOptions, default_pipeline
from tinyc.errors import ModelError
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import NNOp, set_layer
from tinyc.ir.tensor_type import ELEMENT_BYTES, Tensor, TensorType, float32_text
from tinyc.ir.text import parse_module, print_module
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes
from tinyc.passes.rewriting import main_block

HOSTILE_NAMES = [
    'quo"te',
    "back\\slash",
    "new\nline",
    "carriage\rreturn",
    "tab\t",
    "\x00\x01\x1f\x7f",
    "é 漢字 🎉",
    'é\n"mixed"\\',
    "\x85\u2028\ufeff",
    "*/ // } %0",
    "",
]


def every_op() -> ModuleOp:
    """A network in which each op of the dialect occurs."""
    builder = NetworkBuilder(1)
    image = builder.quantize(builder.float_input((1, 8, 6, 3)))
    stem = builder.conv(builder.pad(image, (1, 1, 1, 1)), 4, (3, 3), (2, 2))
    wide = builder.clamp(builder.conv(stem, 8), (0, 100))
    block = builder.add(builder.conv(builder.depthwise(wide), 4, bias=False), stem)
    pooled = builder.pool(builder.pool(block, False, (2, 2), (1, 1)), True, (2, 1), (1, 1))
    scaled = builder.mul(pooled, builder.constant(np.arange(4, dtype=np.int8), 0.02, 1))
    turned = builder.transpose(builder.reshape(scaled, (1, 4, 2, 2)) if scaled.type.data.elements == 16 else scaled, (0, 2, 1, 3))  # type: ignore[attr-defined]
    flat = builder.mean(turned, (1, 2))
    result = builder.softmax(builder.fully_connected(flat, 3))
    return builder.finish(builder.dequantize(result), flat)


def assert_same_text_and_structure(module: ModuleOp) -> None:
    for print_weights in (False, True):
        text = print_module(module, print_weights)
        again = parse_module(text)
        assert print_module(again, print_weights) == text
        assert again.is_structurally_equivalent(module)


def test_the_nn_level_reads_back_equal() -> None:
    assert_same_text_and_structure(every_op())


@pytest.mark.parametrize("profile", list(Profile))
@pytest.mark.parametrize("keep_float_io", [False, True])
def test_the_ir_after_each_pass_reads_back_equal(profile: Profile, keep_float_io: bool) -> None:
    module = every_op()
    seen = []

    def check(current: ModulePass, module: ModuleOp) -> None:
        seen.append(current.name)
        assert_same_text_and_structure(module)

    for current in parse_passes(default_pipeline(CompileOptions(profile, keep_float_io=keep_float_io))):
        run_passes(module, [current])
        check(current, module)
    assert seen[-1] == "plan-memory"


def test_a_module_with_printed_weights_computes_the_same() -> None:
    module = every_op()
    inputs = random_inputs(module)
    again = parse_module(print_module(module, print_weights=True))
    for expected, actual in zip(evaluate(module, inputs, Profile.LITERT), evaluate(again, inputs, Profile.LITERT), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_a_module_read_without_its_weights_says_so_when_they_are_needed() -> None:
    module = parse_module(print_module(every_op()))
    with pytest.raises(ModelError, match="printed without its weights"):
        evaluate(module, random_inputs(module), Profile.LITERT)
    with pytest.raises(ModelError, match="print-weights"):
        run_passes(module, parse_passes("fold-constants,select-kernels"))


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_any_layer_name_reads_back_as_it_was(name: str) -> None:
    module = every_op()
    ops = [op for op in main_block(module).ops if isinstance(op, NNOp)]
    set_layer(ops[3], name)
    module.attributes["input_names"] = StringAttr(name)
    text = print_module(module)
    assert text.isascii()
    again = parse_module(text)
    assert [op.layer for op in main_block(again).ops if isinstance(op, NNOp)][3] == name
    assert again.attributes["input_names"] == StringAttr(name)
    assert print_module(again) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_text_attribute_reads_back_as_it_was(text: str) -> None:
    module = ModuleOp([])
    module.attributes["text"] = StringAttr(text)
    assert parse_module(print_module(module)).attributes["text"] == StringAttr(text)


finite_float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(finite_float32)
def test_any_float32_has_a_text_that_reads_back_as_the_same_float32(value: float) -> None:
    text = float32_text(value)
    assert "." in text
    assert np.float32(float(text)).tobytes() == np.float32(value).tobytes()


@pytest.mark.parametrize("value", [1e-45, 1.1754942e-38, 1.1754944e-38, 3.4028235e38, 16777216.0, 1e7, 1e-5, 0.1, 1 / 3, 1.0, 0.0])
def test_extreme_scales_read_back_exactly(value: float) -> None:
    kind = TensorType(Tensor((1, 2), "i8", float(np.float32(value)), -128))
    module = ModuleOp([])
    module.attributes["kind"] = kind
    assert parse_module(print_module(module)).attributes["kind"] == kind


@given(
    st.lists(st.integers(0, 10**6), max_size=6),
    st.sampled_from(sorted(ELEMENT_BYTES)),
    st.one_of(st.none(), st.tuples(finite_float32, st.integers(-(2**31), 2**31))),
)
def test_any_tensor_type_reads_back_equal(shape: list[int], element: str, quantisation: tuple[float, int] | None) -> None:
    kind = TensorType(Tensor(tuple(shape), element, *(quantisation or ())))
    module = ModuleOp([])
    module.attributes["kind"] = kind
    assert parse_module(print_module(module)).attributes["kind"] == kind


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=20), st.booleans())
def test_constants_are_equal_by_content_in_every_printed_form(values: list[int], print_weights: bool) -> None:
    constant = DenseAttr.of(np.array(values, np.int32))
    module = ModuleOp([])
    module.attributes["value"] = constant
    again = parse_module(print_module(module, print_weights)).attributes["value"]
    assert isinstance(again, DenseAttr)
    assert again == constant
    assert again.data.digest == constant.data.digest
    if print_weights or len(values) <= 8:
        np.testing.assert_array_equal(again.array, values)
    else:
        with pytest.raises(ModelError):
            _ = again.array


def test_constants_of_other_content_shape_or_type_differ() -> None:
    base = DenseAttr.of(np.array([1, 2], np.int8))
    others: list[npt.NDArray[Any]] = [
        np.array([1, 3], np.int8),
        np.array([[1, 2]], np.int8),
        np.array([1, 2], np.int16),
        np.array([513], np.int16),
    ]
    assert all(DenseAttr.of(other) != base for other in others)


def test_constant_data_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        DenseAttr.of(np.zeros(3, np.int8)).array[0] = 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("[2], i9, values [1, 2]", "element type must be one of"),
        ("[2], i8, values [1]", "do not fill the shape"),
        ("[2], i8, values [1, 300]", "does not fit i8"),
        ('[2], i8, base64 "A"', "bad base64"),
        ('[2], i8, base64 "AAAA"', "3 bytes of data do not fill"),
        ('[2], i8, hex "00"', "expected `values`, `base64` or `sha256`"),
        ('[-2], i8, sha256 "00"', "xpected"),
    ],
)
def test_damaged_constants_are_refused(body: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        parse_module(f"builtin.module attributes {{a = #nn.dense<{body}>}} {{}}")


@pytest.mark.parametrize("body", ["[1], i9", "[1, i8", "[-1], i8", "[1], i8, 0.1", "[1], i8, 0.1 : x", "[1], i8 : 3", "[true], i8"])
def test_damaged_tensor_types_are_refused(body: str) -> None:
    with pytest.raises(ModelError):
        parse_module(f"builtin.module attributes {{a = !nn.tensor<{body}>}} {{}}")


def test_a_string_without_an_end_is_refused_at_once() -> None:
    with pytest.raises(ModelError, match="string literal"):
        parse_module('builtin.module attributes {a = "' + "x" * 100_000 + "} {}")


def test_damaged_text_is_refused_with_a_model_error_or_read() -> None:
    builder = NetworkBuilder(2)
    module = builder.finish(builder.fully_connected(builder.depthwise(builder.input((1, 4, 4, 2)), clamp=FULL), 2))
    texts = [print_module(module)]
    run_passes(module, parse_passes("select-kernels,stream-rows,plan-memory"))
    texts.append(print_module(module))
    generator = random.Random(1)
    outcomes = {"read": 0, "refused": 0}
    for text in texts:
        words = text.split(" ")
        for _ in range(200):
            position = generator.randrange(len(text))
            damaged = [
                text[:position] + generator.choice('0129-"<>[](){},:%#!ab \x00é') + text[position + 1 :],
                text[:position] + text[position + generator.randrange(1, 30) :],
                text[:position],
                " ".join(words[generator.randrange(len(words))] if word is words[position % len(words)] else word for word in words),
            ][generator.randrange(4)]
            try:
                parse_module(damaged)
                outcomes["read"] += 1
            except ModelError:
                outcomes["refused"] += 1
    assert outcomes["refused"] > 200
    assert outcomes["read"] > 0
