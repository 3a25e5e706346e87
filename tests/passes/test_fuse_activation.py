"""fuse-activation: a clamp becomes the bounds of the op before it, where nobody else sees that op's result."""

from __future__ import annotations

import pytest
from ir_check import check, check_unchanged


def network(own: str, outer: str, result: str = "%c", types: str = "T[1x2]") -> str:
    return f"""func.func @main(%x: T[1x2]) -> ({types}) {{
             %a = nn.add %x, %x {{layer = "sum", clamp = array<i64: {own}>}} : (T[1x2], T[1x2]) -> T[1x2]
             %c = nn.clamp %a {{layer = "relu", clamp = array<i64: {outer}>}} : (T[1x2]) -> T[1x2]
             func.return {result} : {types}
           }}"""


@pytest.mark.parametrize(
    ("own", "outer", "fused"),
    [
        ("-128, 127", "3, 15", "3, 15"),
        ("0, 10", "-5, 5", "0, 5"),
        ("0, 10", "20, 30", "20, 20"),
        ("0, 10", "-20, -3", "-3, -3"),
        ("5, 5", "-128, 127", "5, 5"),
    ],
)
def test_fuses_to_the_composition_of_both_bounds(own: str, outer: str, fused: str) -> None:
    check(
        "fuse-activation",
        network(own, outer)
        + f"""
           // CHECK: %[[a:\\w+]] = nn.add
           // CHECK-SAME: layer = "sum"
           // CHECK-SAME: clamp = array<i64: {fused}>
           // CHECK-NEXT: func.return %[[a]] """,
    )


def test_fuses_a_chain_of_clamps() -> None:
    check(
        "fuse-activation",
        """func.func @main(%x: T[1x2]) -> T[1x2] {
             %a = nn.clamp %x {clamp = array<i64: -10, 50>} : (T[1x2]) -> T[1x2]
             %b = nn.clamp %a {clamp = array<i64: 0, 100>} : (T[1x2]) -> T[1x2]
             %c = nn.clamp %b {clamp = array<i64: -100, 40>} : (T[1x2]) -> T[1x2]
             func.return %c : T[1x2]
           }
           // CHECK: nn.clamp %{{\\w+}} {clamp = array<i64: 0, 40>}
           // CHECK-NEXT: func.return""",
    )


@pytest.mark.parametrize(("result", "types"), [("%c, %a", "T[1x2], T[1x2]"), ("%a, %c", "T[1x2], T[1x2]")])
def test_keeps_a_clamp_whose_input_is_used_elsewhere(result: str, types: str) -> None:
    check_unchanged("fuse-activation", network("-128, 127", "0, 5", result, types))


def test_keeps_the_clamp_of_an_input_and_of_an_op_without_bounds() -> None:
    check_unchanged(
        "fuse-activation",
        """func.func @main(%x: T[1x2]) -> (T[1x2], T[2x1]) {
             %a = nn.clamp %x {clamp = array<i64: -10, 50>} : (T[1x2]) -> T[1x2]
             %r = nn.reshape %x : (T[1x2]) -> T[2x1]
             %c = nn.clamp %r {clamp = array<i64: 0, 40>} : (T[2x1]) -> T[2x1]
             func.return %a, %c : T[1x2], T[2x1]
           }""",
    )


def test_keeps_bounds_that_await_the_profile() -> None:
    check_unchanged("fuse-activation", network('-128, 127>, activation = "relu6', "0, 5").replace('"relu6>', '"relu6"'))
