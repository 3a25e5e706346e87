"""eliminate-dead-code: unused ops go, with what only they used."""

from __future__ import annotations

from ir_check import check, check_unchanged


def test_removes_an_unused_chain_and_its_constant() -> None:
    check(
        "eliminate-dead-code",
        """func.func @main(%x: T[1x2], %unused: T[1x2]) -> T[1x2] {
             %k = nn.constant <[1, 2], i8, values [1, 2]> : T[1x2]
             %a = nn.add %x, %k {clamp = array<i64: -128, 127>} : (T[1x2], T[1x2]) -> T[1x2]
             %b = nn.clamp %a {clamp = array<i64: 0, 5>} : (T[1x2]) -> T[1x2]
             %c = nn.clamp %x {clamp = array<i64: 0, 9>} : (T[1x2]) -> T[1x2]
             func.return %c : T[1x2]
           }
           // CHECK: @main(%[[x:\\w+]]: T[1x2], %{{\\w+}}: T[1x2])
           // CHECK-NEXT: nn.clamp %[[x]] {clamp = array<i64: 0, 9>}
           // CHECK-NEXT: func.return""",
    )


def test_keeps_what_is_used() -> None:
    check_unchanged(
        "eliminate-dead-code",
        """func.func @main(%x: T[1x2]) -> (T[1x2], T[1x2]) {
             %a = nn.clamp %x {clamp = array<i64: 0, 5>} : (T[1x2]) -> T[1x2]
             %b = nn.clamp %a {clamp = array<i64: 0, 3>} : (T[1x2]) -> T[1x2]
             func.return %a, %b : T[1x2], T[1x2]
           }""",
    )
