"""strip-io-quantization: int8 at the boundary, but only where that is the same bytes for every user."""

from __future__ import annotations

from ir_check import check, check_unchanged

F32 = "!nn.tensor<[1, 4], f32>"


def test_strips_both_ends() -> None:
    check(
        "strip-io-quantization",
        f"""func.func @main(%x: {F32}) -> {F32} {{
             %q = nn.quantize %x : ({F32}) -> T[1x4]
             %c = nn.clamp %q {{clamp = array<i64: 0, 5>}} : (T[1x4]) -> T[1x4]
             %d = nn.dequantize %c : (T[1x4]) -> {F32}
             func.return %d : {F32}
           }}
           // CHECK: func.func @main(%[[x:\\w+]]: T[1x4]) -> T[1x4] {{
           // CHECK-NEXT: %[[c:\\w+]] = nn.clamp %[[x]]
           // CHECK-NEXT: func.return %[[c]] : T[1x4]
           // CHECK-NOT: f32""",
    )


def test_strips_equal_quantisations_of_one_input() -> None:
    check(
        "strip-io-quantization",
        f"""func.func @main(%x: {F32}) -> T[1x4] {{
             %q = nn.quantize %x : ({F32}) -> T[1x4]
             %p = nn.quantize %x : ({F32}) -> T[1x4]
             %s = nn.add %q, %p {{clamp = array<i64: -128, 127>}} : (T[1x4], T[1x4]) -> T[1x4]
             func.return %s : T[1x4]
           }}
           // CHECK: @main(%[[x:\\w+]]: T[1x4])
           // CHECK-NEXT: nn.add %[[x]], %[[x]]""",
    )


def test_strips_one_value_returned_twice() -> None:
    check(
        "strip-io-quantization",
        f"""func.func @main(%x: T[1x4]) -> ({F32}, {F32}) {{
             %d = nn.dequantize %x : (T[1x4]) -> {F32}
             func.return %d, %d : {F32}, {F32}
           }}
           // CHECK: @main(%[[x:\\w+]]: T[1x4]) -> (T[1x4], T[1x4])
           // CHECK-NEXT: func.return %[[x]], %[[x]] :""",
    )


def test_keeps_an_input_quantised_in_two_ways() -> None:
    check_unchanged(
        "strip-io-quantization",
        f"""func.func @main(%x: {F32}) -> T[1x4] {{
             %q = nn.quantize %x : ({F32}) -> T[1x4]
             %p = nn.quantize %x : ({F32}) -> T[1x4; 0.25 : 0]
             %s = nn.add %q, %p {{clamp = array<i64: -128, 127>}} : (T[1x4], T[1x4; 0.25 : 0]) -> T[1x4]
             func.return %s : T[1x4]
           }}""",
    )


def test_keeps_a_float_input_that_is_also_an_output() -> None:
    check_unchanged(
        "strip-io-quantization",
        f"""func.func @main(%x: {F32}) -> ({F32}, T[1x4]) {{
             %q = nn.quantize %x : ({F32}) -> T[1x4]
             func.return %x, %q : {F32}, T[1x4]
           }}""",
    )


def test_keeps_conversions_inside_the_network() -> None:
    check_unchanged(
        "strip-io-quantization",
        f"""func.func @main(%x: T[1x4]) -> T[1x4; 0.25 : 0] {{
             %d = nn.dequantize %x : (T[1x4]) -> {F32}
             %q = nn.quantize %d : ({F32}) -> T[1x4; 0.25 : 0]
             func.return %q : T[1x4; 0.25 : 0]
           }}""",
    )
