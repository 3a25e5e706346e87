"""fold-pad: spatial padding goes into convolutions, and nowhere else."""

from __future__ import annotations

import pytest
from ir_check import check, check_unchanged

SCALES = 'weight_scales = #nn.dense<[1], f32, sha256 "0">'


def network(op: str, before: str, after: str, padded: str, output: str, pads: str = "0, 0, 0, 0", value: str = "") -> str:
    weights = {"conv2d": "[2, 3, 3, 2]", "depthwise_conv2d": "[1, 3, 3, 2]"}[op]
    return f"""func.func @main(%x: T[1x4x4x2]) -> T[{output}] {{
             %w = nn.constant <{weights}, i8, sha256 "0"> : !nn.tensor<{weights}, i8>
             %p = nn.pad %x {{before = array<i64: {before}>, after = array<i64: {after}>{value}}} : (T[1x4x4x2]) -> T[{padded}]
             %r = nn.{op} %p, %w {{layer = "conv", strides = array<i64: 1, 1>, pads = array<i64: {pads}>, clamp = array<i64: -128, 127>,
               dilations = array<i64: 1, 1>, {SCALES}}} : (T[{padded}], !nn.tensor<{weights}, i8>) -> T[{output}]
             func.return %r : T[{output}]
           }}"""


@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d"])
def test_folds_into_a_convolution_and_adds_to_its_own_padding(op: str) -> None:
    check(
        "fold-pad,eliminate-dead-code",
        network(op, "0, 1, 2, 0", "0, 0, 1, 0", "1x5x7x2", "1x5x7x2", "1, 1, 1, 1")
        + f"""
           // CHECK: @main(%[[x:\\w+]]:
           // CHECK-NOT: nn.pad
           // CHECK: nn.{op} %[[x]], %{{{{\\w+}}}} {{layer = "conv",
           // CHECK-SAME: pads = array<i64: 2, 3, 1, 2>
           // CHECK-SAME: (T[1x4x4x2], """,
    )


def test_keeps_padding_of_channels() -> None:
    text = network("depthwise_conv2d", "0, 1, 1, 0", "0, 1, 1, 0", "1x6x6x2", "1x4x4x2")
    check("fold-pad,eliminate-dead-code", text + "\n// CHECK-NOT: nn.pad")
    padded = text.replace("0, 1, 1, 0", "0, 1, 1, 1").replace("1x6x6x2", "1x6x6x4").replace("[1, 3, 3, 2]", "[1, 3, 3, 4]")
    check_unchanged("fold-pad", padded.replace("1x4x4x2] {", "1x4x4x4] {").replace("-> T[1x4x4x2]\n", "-> T[1x4x4x4]\n").replace(
        "func.return %r : T[1x4x4x2]", "func.return %r : T[1x4x4x4]"
    ))  # fmt: skip


def test_keeps_padding_with_another_value() -> None:
    check_unchanged("fold-pad", network("conv2d", "0, 1, 1, 0", "0, 1, 1, 0", "1x6x6x2", "1x4x4x2", value=", value = 4 : i64"))


def test_keeps_the_pad_of_a_pool() -> None:
    check_unchanged(
        "fold-pad",
        """func.func @main(%x: T[1x4x4x2]) -> T[1x3x3x2] {
             %p = nn.pad %x {before = array<i64: 0, 1, 1, 0>, after = array<i64: 0, 1, 1, 0>} : (T[1x4x4x2]) -> T[1x6x6x2]
             %r = nn.max_pool2d %p {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, clamp = array<i64: -128, 127>,
               kernel = array<i64: 2, 2>} : (T[1x6x6x2]) -> T[1x3x3x2]
             func.return %r : T[1x3x3x2]
           }""",
    )


def test_a_pad_with_another_user_stays_for_that_user() -> None:
    text = network("conv2d", "0, 1, 1, 0", "0, 1, 1, 0", "1x6x6x2", "1x4x4x2")
    text = text.replace("-> T[1x4x4x2] {", "-> (T[1x4x4x2], T[1x6x6x2]) {").replace(
        "func.return %r : T[1x4x4x2]", "func.return %r, %p : T[1x4x4x2], T[1x6x6x2]"
    )
    check(
        "fold-pad,eliminate-dead-code",
        text
        + """
           // CHECK: @main(%[[x:\\w+]]:
           // CHECK: %[[p:\\w+]] = nn.pad %[[x]]
           // CHECK: nn.conv2d %[[x]], {{.*}}pads = array<i64: 1, 1, 1, 1>
           // CHECK: func.return %{{\\w+}}, %[[p]] """,
    )
