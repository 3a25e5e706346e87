"""fold-constants: computes what depends on constants alone, under the profile that it is given."""

from __future__ import annotations

import pytest
from ir_check import check, check_unchanged, module_of

from tinyc.errors import ModelError, UsageError
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes

PASSES = "fold-constants,eliminate-dead-code"


def test_folds_a_chain() -> None:
    check(
        PASSES,
        """func.func @main(%x: T[1x4]) -> T[1x4] {
             %c = nn.constant <[4], i8, values [-5, 0, 5, 9]> : T[4]
             %r = nn.reshape %c : (T[4]) -> T[1x4]
             %k = nn.clamp %r {layer = "bounds", clamp = array<i64: 0, 7>} : (T[1x4]) -> T[1x4]
             %s = nn.add %x, %k {clamp = array<i64: -128, 127>} : (T[1x4], T[1x4]) -> T[1x4]
             func.return %s : T[1x4]
           }
           // CHECK: @main(%[[x:\\w+]]:
           // CHECK-NEXT: %[[c:\\w+]] = nn.constant <[1, 4], i8, values [0, 0, 5, 7]>
           // CHECK-SAME: "bounds"
           // CHECK-NEXT: nn.add %[[x]], %[[c]]""",
    )


def test_folds_a_transpose_and_a_quantisation() -> None:
    check(
        PASSES,
        """func.func @main(%x: T[2x2]) -> (T[2x2], T[2x2]) {
             %c = nn.constant <[2, 2], i8, values [1, 2, 3, 4]> : T[2x2]
             %t = nn.transpose %c {permutation = array<i64: 1, 0>} : (T[2x2]) -> T[2x2]
             %d = nn.dequantize %c : (T[2x2]) -> !nn.tensor<[2, 2], f32>
             %q = nn.quantize %d : (!nn.tensor<[2, 2], f32>) -> T[2x2]
             func.return %t, %q : T[2x2], T[2x2]
           }
           // CHECK: nn.constant <[2, 2], i8, values [1, 3, 2, 4]>
           // CHECK-NEXT: nn.constant <[2, 2], i8, values [1, 2, 3, 4]>
           // CHECK-NEXT: func.return""",
    )


def test_keeps_what_depends_on_an_input() -> None:
    check_unchanged(
        PASSES,
        """func.func @main(%x: T[1x4]) -> T[1x4] {
             %c = nn.constant <[1, 4], i8, values [1, 2, 3, 4]> : T[1x4]
             %s = nn.add %x, %c {clamp = array<i64: -128, 127>} : (T[1x4], T[1x4]) -> T[1x4]
             func.return %s : T[1x4]
           }""",
    )


def test_the_profile_decides_how_a_mean_is_folded() -> None:
    text = """func.func @main(%x: T[1x2]) -> T[1x2; 0.7 : 3] {
             %c = nn.constant <[1, 3, 2], i8, values [1, -7, 9, 22, -3, 8]> : T[1x3x2]
             %m = nn.mean %c {axes = array<i64: 1>, keep_dims = false} : (T[1x3x2]) -> T[1x2; 0.7 : 3]
             func.return %m : T[1x2; 0.7 : 3]
           }
           // CHECK: nn.constant <[1, 2], i8, values ["""
    for profile in ("litert", "tflm"):
        check(f"fold-constants{{numerics={profile}}}", text)
    with pytest.raises(UsageError, match="numerics must be one of litert, tflm"):
        run_passes(module_of(text), parse_passes("fold-constants{numerics=tflite}"))


def test_says_when_the_weights_are_missing() -> None:
    module = module_of(
        """func.func @main() -> T[1x4] {
             %c = nn.constant <[4], i8, sha256 "00"> : T[4]
             %r = nn.reshape %c : (T[4]) -> T[1x4]
             func.return %r : T[1x4]
           }"""
    )
    with pytest.raises(ModelError, match="printed without its weights"):
        run_passes(module, parse_passes("fold-constants"))
