"""canonicalize: what it removes and rewrites, and what it must leave."""

from __future__ import annotations

import pytest
from ir_check import check, check_unchanged

ADD = "{clamp = array<i64: -128, 127>}"


def test_removes_a_reshape_to_the_same_type() -> None:
    check(
        "canonicalize",
        """func.func @main(%x: T[1x4]) -> T[1x4] {
             %r = nn.reshape %x : (T[1x4]) -> T[1x4]
             func.return %r : T[1x4]
           }
           // CHECK: func.func @main(%[[x:\\w+]]
           // CHECK-NOT: nn.reshape
           // CHECK: func.return %[[x]] """,
    )


def test_merges_reshapes_and_keeps_the_last_name() -> None:
    check(
        "canonicalize,eliminate-dead-code",
        """func.func @main(%x: T[1x2x2x3]) -> T[1x6x2] {
             %a = nn.reshape %x {layer = "first"} : (T[1x2x2x3]) -> T[1x12]
             %b = nn.reshape %a {layer = "second"} : (T[1x12]) -> T[1x6x2]
             func.return %b : T[1x6x2]
           }
           // CHECK-NOT: first
           // CHECK: nn.reshape %{{\\w+}} {layer = "second"} : (T[1x2x2x3]) -> T[1x6x2]
           // CHECK-NEXT: func.return""",
    )


def test_merged_reshapes_back_to_the_start_vanish() -> None:
    check(
        "canonicalize,eliminate-dead-code",
        """func.func @main(%x: T[1x2x2x3]) -> T[1x2x2x3] {
             %a = nn.reshape %x : (T[1x2x2x3]) -> T[1x12]
             %b = nn.reshape %a : (T[1x12]) -> T[1x2x2x3]
             func.return %b : T[1x2x2x3]
           }
           // CHECK: func.func @main(%[[x:\\w+]]
           // CHECK-NEXT: func.return %[[x]] """,
    )


def test_keeps_a_reshape_that_changes_the_quantisation() -> None:
    check_unchanged(
        "canonicalize",
        """func.func @main(%x: T[1x4]) -> T[1x4; 0.25 : 3] {
             %r = nn.reshape %x : (T[1x4]) -> T[1x4; 0.25 : 3]
             func.return %r : T[1x4; 0.25 : 3]
           }""",
    )


def test_a_transpose_of_dimensions_of_size_one_becomes_a_reshape() -> None:
    check(
        "canonicalize",
        """func.func @main(%x: T[1x1x4x3]) -> T[1x4x1x3] {
             %r = nn.transpose %x {permutation = array<i64: 0, 2, 1, 3>} : (T[1x1x4x3]) -> T[1x4x1x3]
             func.return %r : T[1x4x1x3]
           }
           // CHECK-NOT: nn.transpose
           // CHECK: nn.reshape %{{\\w+}} : (T[1x1x4x3]) -> T[1x4x1x3]""",
    )


def test_keeps_a_transpose_that_moves_data() -> None:
    check_unchanged(
        "canonicalize",
        """func.func @main(%x: T[1x2x4x3]) -> T[1x4x2x3] {
             %r = nn.transpose %x {permutation = array<i64: 0, 2, 1, 3>} : (T[1x2x4x3]) -> T[1x4x2x3]
             func.return %r : T[1x4x2x3]
           }""",
    )


FLATTEN = """func.func @main(%x: T[1x2x2x3]) -> T[{batch}x2] {{
             %w = nn.constant <[2, {inputs}], i8, sha256 "0"> : !nn.tensor<[2, {inputs}], i8>
             %a = nn.reshape %x : (T[1x2x2x3]) -> T[{batch}x{inputs}{quantisation}]
             %b = nn.fully_connected %a, %w {{clamp = array<i64: -128, 127>, weight_scales = #nn.dense<[1], f32, sha256 "0">}} :
               (T[{batch}x{inputs}{quantisation}], !nn.tensor<[2, {inputs}], i8>) -> T[{batch}x2]
             func.return %b : T[{batch}x2]
           }}"""


def test_fully_connected_flattens_by_itself() -> None:
    check(
        "canonicalize,eliminate-dead-code",
        FLATTEN.format(batch=1, inputs=12, quantisation="")
        + """
           // CHECK: func.func @main(%[[x:\\w+]]
           // CHECK-NOT: nn.reshape
           // CHECK: nn.fully_connected %[[x]], """,
    )


@pytest.mark.parametrize(("batch", "inputs", "quantisation"), [(2, 6, ""), (1, 12, "; 0.25 : 3"), (1, 12, "; 0.5 : 4")])
def test_fully_connected_keeps_a_reshape_that_means_something(batch: int, inputs: int, quantisation: str) -> None:
    check_unchanged("canonicalize", FLATTEN.format(batch=batch, inputs=inputs, quantisation=quantisation))


def test_removes_a_pad_by_nothing_and_a_clamp_to_all_of_int8() -> None:
    check(
        "canonicalize",
        """func.func @main(%x: T[1x2x2x3]) -> T[1x2x2x3] {
             %a = nn.pad %x {before = array<i64: 0, 0, 0, 0>, after = array<i64: 0, 0, 0, 0>} : (T[1x2x2x3]) -> T[1x2x2x3]
             %b = nn.clamp %a {clamp = array<i64: -128, 127>} : (T[1x2x2x3]) -> T[1x2x2x3]
             func.return %b : T[1x2x2x3]
           }
           // CHECK: func.func @main(%[[x:\\w+]]
           // CHECK-NEXT: func.return %[[x]] """,
    )


def test_keeps_a_pad_and_a_clamp_that_do_something() -> None:
    check_unchanged(
        "canonicalize",
        """func.func @main(%x: T[1x2x2x3]) -> T[1x3x2x3] {
             %a = nn.pad %x {before = array<i64: 0, 1, 0, 0>, after = array<i64: 0, 0, 0, 0>} : (T[1x2x2x3]) -> T[1x3x2x3]
             %b = nn.clamp %a {clamp = array<i64: -128, 126>} : (T[1x3x2x3]) -> T[1x3x2x3]
             func.return %b : T[1x3x2x3]
           }""",
    )


@pytest.mark.parametrize("op", ["add", "mul"])
def test_puts_the_broadcast_operand_second(op: str) -> None:
    check(
        "canonicalize",
        f"""func.func @main(%s: T[3], %x: T[1x2x2x3]) -> T[1x2x2x3] {{
             %r = nn.{op} %s, %x {ADD} : (T[3], T[1x2x2x3]) -> T[1x2x2x3]
             func.return %r : T[1x2x2x3]
           }}
           // CHECK: func.func @main(%[[s:\\w+]]: T[3], %[[x:\\w+]]:
           // CHECK: nn.{op} %[[x]], %[[s]] """,
    )


def test_puts_a_constant_second() -> None:
    check(
        "canonicalize",
        f"""func.func @main(%x: T[1x2]) -> T[1x2] {{
             %c = nn.constant <[1, 2], i8, values [1, 2]> : T[1x2]
             %r = nn.add %c, %x {ADD} : (T[1x2], T[1x2]) -> T[1x2]
             func.return %r : T[1x2]
           }}
           // CHECK: func.func @main(%[[x:\\w+]]
           // CHECK: %[[c:\\w+]] = nn.constant
           // CHECK: nn.add %[[x]], %[[c]] """,
    )


def test_keeps_operands_of_equal_rank_in_order() -> None:
    check_unchanged(
        "canonicalize",
        f"""func.func @main(%x: T[1x2], %y: T[1x2; 0.25 : 0]) -> T[1x2] {{
             %r = nn.add %x, %y {ADD} : (T[1x2], T[1x2; 0.25 : 0]) -> T[1x2]
             func.return %r : T[1x2]
           }}""",
    )
