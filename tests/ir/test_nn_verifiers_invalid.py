"""One test for every message of the verifiers of the `nn` level; each damaged op is a valid one with a single change."""

from __future__ import annotations

import pytest

from tinyc.errors import ModelError
from tinyc.ir.text import parse_module

I8 = "i8, 0.5 : 0"
SCALES = '#nn.dense<[1], f32, sha256 "00">'


def tensor(shape: str, kind: str = I8) -> str:
    return f"!nn.tensor<[{shape}], {kind}>"


IMAGE = tensor("1, 6, 6, 4")
WINDOW = "strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, clamp = array<i64: -128, 127>"
CONV = (
    f"%r = nn.conv2d %x, %w, %b {{{WINDOW}, dilations = array<i64: 1, 1>, weight_scales = {SCALES}}} : "
    f"({IMAGE}, {tensor('8, 3, 3, 4', 'i8')}, {tensor('8', 'i32')}) -> {tensor('1, 4, 4, 8')}"
)
DEPTHWISE = (
    f"%r = nn.depthwise_conv2d %x, %w {{{WINDOW}, dilations = array<i64: 1, 1>, weight_scales = {SCALES}}} : "
    f"({IMAGE}, {tensor('1, 3, 3, 8', 'i8')}) -> {tensor('1, 4, 4, 8')}"
)
POOL = f"%r = nn.max_pool2d %x {{{WINDOW}, kernel = array<i64: 2, 2>}} : ({IMAGE}) -> {tensor('1, 5, 5, 4')}"
DENSE = (
    f"%r = nn.fully_connected %x, %w, %b {{clamp = array<i64: -128, 127>, weight_scales = {SCALES}}} : "
    f"({tensor('2, 6')}, {tensor('3, 6', 'i8')}, {tensor('3', 'i32')}) -> {tensor('2, 3')}"
)
MEAN = f"%r = nn.mean %x {{axes = array<i64: 1, 2>, keep_dims = false}} : ({IMAGE}) -> {tensor('1, 4')}"
PAD = f"%r = nn.pad %x {{before = array<i64: 0, 1, 1, 0>, after = array<i64: 0, 0, 0, 0>}} : ({IMAGE}) -> {tensor('1, 7, 7, 4')}"
RESHAPE = f"%r = nn.reshape %x : ({IMAGE}) -> {tensor('1, 144')}"
TRANSPOSE = f"%r = nn.transpose %x {{permutation = array<i64: 0, 2, 1, 3>}} : ({tensor('1, 2, 3, 4')}) -> {tensor('1, 3, 2, 4')}"
ADD = f"%r = nn.add %x, %y {{clamp = array<i64: -128, 127>}} : ({IMAGE}, {IMAGE}) -> {IMAGE}"
CLAMP = f"%r = nn.clamp %x {{clamp = array<i64: 0, 1>}} : ({IMAGE}) -> {IMAGE}"
SOFTMAX = f"%r = nn.softmax %x {{beta = 1.0 : f32}} : ({tensor('1, 4')}) -> {tensor('1, 4')}"
QUANTIZE = f"%r = nn.quantize %x : ({tensor('4', 'f32')}) -> {tensor('4')}"
DEQUANTIZE = f"%r = nn.dequantize %x : ({tensor('4')}) -> {tensor('4', 'f32')}"
CONSTANT = f"%r = nn.constant <[2], i8, values [1, 2]> : {tensor('2')}"

CASES = {
    "conv batch": (CONV, "[1, 6, 6, 4]", "[2, 6, 6, 4]", "expects an image of shape"),
    "conv rank": (CONV, "[1, 6, 6, 4]", "[6, 6, 4]", "expects an image of shape"),
    "stride zero": (CONV, "strides = array<i64: 1, 1>", "strides = array<i64: 0, 1>", "strides must be two positive integers"),
    "one stride": (CONV, "strides = array<i64: 1, 1>", "strides = array<i64: 1>", "strides must be two positive integers"),
    "negative pad": (CONV, "0, 0, 0, 0>", "0, -1, 0, 0>", "pads must be four integers, none negative"),
    "three pads": (CONV, "0, 0, 0, 0>", "0, 0, 0>", "pads must be four integers, none negative"),
    "dilation": (CONV, "dilations = array<i64: 1, 1>", "dilations = array<i64: 1, 0>", "dilations must be positive"),
    "empty window": (CONV, "[8, 3, 3, 4]", "[8, 0, 3, 4]", "at least one tap each way"),
    "window too large": (CONV, "[8, 3, 3, 4]", "[8, 7, 3, 4]", "a window of 7x3 does not fit an image of 6x6"),
    "conv result": (CONV, "[1, 4, 4, 8]", "[1, 4, 5, 8]", r"result has shape \[1, 4, 5, 8\], but .* give \[1, 4, 4, 8\]"),
    "conv channels": (CONV, "[8, 3, 3, 4]", "[8, 3, 3, 3]", "input has 4 channels, weights expect 3"),
    "weight rank": (CONV, "[8, 3, 3, 4]", "[8, 3, 12]", "weights must have four dimensions"),
    "weight type": (CONV, "[8, 3, 3, 4], i8", "[8, 3, 3, 4], i32", "weights must be i8"),
    "bias type": (CONV, "[8], i32", "[8], i8", "bias must be i32 with 8 elements"),
    "bias length": (CONV, "[8], i32", "[7], i32", "bias must be i32 with 8 elements"),
    "scale count": (CONV, "[1], f32", "[2], f32", "weight_scales must be 1 or 8 f32 values"),
    "scale type": (CONV, "[1], f32", "[1], i32", "weight_scales must be 1 or 8 f32 values"),
    "clamp order": (CONV, "-128, 127>", "5, 4>", "clamp must be two int8 bounds"),
    "clamp range": (CONV, "-128, 127>", "-129, 127>", "clamp must be two int8 bounds"),
    "clamp count": (CONV, "-128, 127>", "-128>", "clamp must be two int8 bounds"),
    "float input": (CONV, "[1, 6, 6, 4], i8, 0.5 : 0", "[1, 6, 6, 4], f32", "input must be a quantised i8 tensor"),
    "result not quantised": (CONV, "[1, 4, 4, 8], i8, 0.5 : 0", "[1, 4, 4, 8], i8", "result must be a quantised i8 tensor"),
    "depthwise weights": (DEPTHWISE, "[1, 3, 3, 8], i8", "[1, 3, 3, 7], i8", "do not fit an input with 4 channels"),
    "depthwise first dimension": (DEPTHWISE, "[1, 3, 3, 8], i8", "[2, 3, 3, 8], i8", "do not fit an input with 4 channels"),
    "pool kernel": (POOL, "kernel = array<i64: 2, 2>", "kernel = array<i64: 2>", "kernel must be two integers"),
    "dense rank": (DENSE, "[3, 6], i8", "[3, 3, 2], i8", "weights must have two dimensions"),
    "dense elements": (DENSE, "[3, 6], i8", "[3, 5], i8", "an input of 12 elements is no multiple of 5"),
    "dense last dimension": (DENSE, "-> !nn.tensor<[2, 3]", "-> !nn.tensor<[3, 2]", "the last dimension of the result must be 3"),
    "dense elements of the result": (DENSE, "-> !nn.tensor<[2, 3]", "-> !nn.tensor<[1, 3]", "result must hold 2 x 3 elements"),
    "axes order": (MEAN, "axes = array<i64: 1, 2>", "axes = array<i64: 2, 1>", "axes must be sorted, without repeats"),
    "axes repeated": (MEAN, "axes = array<i64: 1, 2>", "axes = array<i64: 1, 1>", "axes must be sorted, without repeats"),
    "no axes": (MEAN, "axes = array<i64: 1, 2>", "axes = array<i64>", "axes must be sorted, without repeats"),
    "axis range": (MEAN, "axes = array<i64: 1, 2>", "axes = array<i64: 1, 4>", "are not axes of"),
    "negative axis": (MEAN, "axes = array<i64: 1, 2>", "axes = array<i64: -1, 2>", "are not axes of"),
    "mean dimensions": (MEAN, "keep_dims = false", "keep_dims = true", "result has shape"),
    "pad counts": (PAD, "before = array<i64: 0, 1, 1, 0>", "before = array<i64: 0, 1, 1>", "before and after need 4 values each"),
    "pad sign": (PAD, "0, 0, 0, 0>", "0, -1, 0, 0>", "paddings must not be negative"),
    "pad quantisation": (PAD, "[1, 7, 7, 4], i8, 0.5 : 0", "[1, 7, 7, 4], i8, 0.5 : 1", "pad keeps the scale and zero point of its input"),
    "pad type": (PAD, "[1, 6, 6, 4], i8, 0.5 : 0", "[1, 6, 6, 4], i32", "input must be a quantised i8 tensor"),
    "reshape count": (RESHAPE, "[1, 144]", "[1, 145]", "144 elements do not fill"),
    "reshape type": (RESHAPE, "[1, 144], i8, 0.5 : 0", "[1, 144], f32", "reshape keeps the element type"),
    "permutation": (TRANSPOSE, "0, 2, 1, 3>", "0, 2, 2, 3>", "does not permute 4 dimensions"),
    "permutation length": (TRANSPOSE, "0, 2, 1, 3>", "0, 2, 1>", "does not permute 4 dimensions"),
    "broadcast": (ADD, f"({IMAGE}, {IMAGE})", f"({IMAGE}, {tensor('1, 6, 5, 4')})", "do not broadcast"),
    "add type": (ADD, f", {IMAGE})", f", {tensor('1, 6, 6, 4', 'i32')})", "second operand must be a quantised i8 tensor"),
    "add clamp": (ADD, "-128, 127>", "-128, 128>", "clamp must be two int8 bounds"),
    "clamp type": (CLAMP, f"-> {IMAGE}", f"-> {tensor('1, 6, 6, 4', 'i8, 0.25 : 0')}", "clamp keeps the type of its input"),
    "softmax type": (SOFTMAX, f"-> {tensor('1, 4')}", f"-> {tensor('1, 4', 'f32')}", "result must be a quantised i8 tensor"),
    "softmax beta": (SOFTMAX, "1.0 : f32", "1.0 : f64", "f32"),
    "quantize input": (QUANTIZE, tensor("4", "f32"), tensor("4", "i32"), "input must be f32"),
    "quantize result": (QUANTIZE, f"-> {tensor('4')}", f"-> {tensor('4', 'i8')}", "result must be a quantised i8 tensor"),
    "dequantize result": (DEQUANTIZE, f"-> {tensor('4', 'f32')}", f"-> {tensor('4')}", "result must be f32"),
    "dequantize input": (DEQUANTIZE, f"({tensor('4')})", f"({tensor('4', 'i8')})", "input must be a quantised i8 tensor"),
    "constant type": (CONSTANT, f": {tensor('2')}", f": {tensor('2', 'i32')}", "data is i8, the type says i32"),
    "constant shape": (CONSTANT, f": {tensor('2')}", f": {tensor('3')}", "result has shape"),
}


def module_of(op: str) -> str:
    """A module in which the operands of `op` are arguments."""
    signature = op.rpartition(" : (")[2]
    types = (
        [] if "nn.constant" in op else [f"!nn.{part}" for part in signature.rpartition(") -> ")[0].replace("!nn.", "\0").split("\0")[1:]]
    )
    arguments = ", ".join(f"%{name}: {kind.rstrip(', ')}" for name, kind in zip(_operands(op), types, strict=True))
    return f"builtin.module {{ func.func @main({arguments}) {{ {op}\n func.return }} }}"


def _operands(op: str) -> list[str]:
    words = op.partition("= ")[2].partition(" : (")[0].partition("{")[0].replace(",", " ").split()
    return [word[1:] for word in words if word.startswith("%")]


VALID = [CONV, DEPTHWISE, POOL, DENSE, MEAN, PAD, RESHAPE, TRANSPOSE, ADD, CLAMP, SOFTMAX, QUANTIZE, DEQUANTIZE, CONSTANT]


@pytest.mark.parametrize("op", VALID, ids=lambda op: op.split()[2])
def test_the_undamaged_op_verifies(op: str) -> None:
    parse_module(module_of(op))


@pytest.mark.parametrize("case", CASES)
def test_is_invalid(case: str) -> None:
    op, old, new, message = CASES[case]
    damaged = op.replace(old, new)
    assert damaged != op
    with pytest.raises(ModelError, match=message):
        parse_module(module_of(damaged))
