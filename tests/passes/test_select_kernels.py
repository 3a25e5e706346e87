"""select-kernels: every op becomes a call with its buffers and tables, or a diagnostic that says why not."""

from __future__ import annotations

import pytest
from ir_check import check, module_of

from support.network_builder import NetworkBuilder
from tinyc.errors import PassError, UnsupportedError
from tinyc.ir.text import print_module
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes


def test_a_chain_becomes_buffers_and_steps_of_one_call() -> None:
    check(
        "select-kernels",
        """builtin.module attributes {input_names = ["image"], output_names = ["result"]} {
           func.func @main(%x: T[1x4x4x2]) -> T[1x2x2x2] {
             %p = nn.max_pool2d %x {layer = "pool", strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>,
               clamp = array<i64: -128, 127>, kernel = array<i64: 2, 2>} : (T[1x4x4x2]) -> T[1x2x2x2]
             %s = nn.add %p, %p {layer = "sum", clamp = array<i64: -128, 127>} : (T[1x2x2x2], T[1x2x2x2]) -> T[1x2x2x2]
             func.return %s : T[1x2x2x2]
           } }
           // CHECK: numerics = "litert"
           // CHECK-NOT: func.func
           // CHECK: %[[x:\\w+]] = mcu.buffer {input_index = [#builtin.int<0>], kind = "input", layer = "image",
           // CHECK-SAME: rows = 4 : i64, row_bytes = 8 : i64, slots = 4 : i64
           // CHECK-NEXT: %[[p:\\w+]] = mcu.buffer {kind = "tensor", layer = "pool", rows = 2 : i64, row_bytes = 4 : i64
           // CHECK-NEXT: mcu.stream {
           // CHECK-NEXT: mcu.call %[[x]] to %[[p]] {layer = "pool", op = "MAX_POOL_2D", form = "row"
           // CHECK-SAME: in_place = []
           // CHECK-NEXT: }
           // CHECK-NEXT: %[[s:\\w+]] = mcu.buffer {output_index = [#builtin.int<0>], kind = "output", layer = "sum"
           // CHECK-NEXT: mcu.stream {
           // CHECK-NEXT: mcu.call %[[p]], %[[p]] to %[[s]] {layer = "sum"
           // CHECK-SAME: in_place = [#builtin.int<0>, #builtin.int<1>]
           // CHECK-NOT: offset =""",
    )


def test_a_reshape_becomes_a_view_and_moves_nothing() -> None:
    check(
        "select-kernels",
        """func.func @main(%x: T[1x4x4x2]) -> T[1x2x8x2] {
             %r = nn.reshape %x : (T[1x4x4x2]) -> T[1x2x8x2]
             %p = nn.clamp %r {clamp = array<i64: 0, 9>} : (T[1x2x8x2]) -> T[1x2x8x2]
             func.return %p : T[1x2x8x2]
           }
           // CHECK: %[[x:\\w+]] = mcu.buffer
           // CHECK-NEXT: %[[v:\\w+]] = mcu.view %[[x]] {rows = 2 : i64, row_bytes = 16 : i64}
           // CHECK-NEXT: %[[p:\\w+]] = mcu.buffer
           // CHECK: mcu.call %[[v]] to %[[p]]
           // CHECK-NOT: mcu.call""",
    )


def test_an_output_that_is_an_input_is_copied() -> None:
    check(
        "select-kernels",
        """func.func @main(%x: T[1x4]) -> (T[1x4], T[1x4]) {
             func.return %x, %x : T[1x4], T[1x4]
           }
           // CHECK: %[[x:\\w+]] = mcu.buffer {input_index
           // CHECK: %[[a:\\w+]] = mcu.buffer {output_index = [#builtin.int<0>], kind = "output"
           // CHECK: mcu.call %[[x]] to %[[a]] {layer = "output_0", op = "COPY"
           // CHECK: %[[b:\\w+]] = mcu.buffer {output_index = [#builtin.int<1>], kind = "output"
           // CHECK: mcu.call %[[x]] to %[[b]] {layer = "output_1", op = "COPY\"""",
    )


def test_one_value_returned_twice_is_one_buffer_with_two_indices() -> None:
    check(
        "select-kernels",
        """func.func @main(%x: T[1x4]) -> (T[1x4], T[1x4]) {
             %c = nn.clamp %x {clamp = array<i64: 0, 9>} : (T[1x4]) -> T[1x4]
             func.return %c, %c : T[1x4], T[1x4]
           }
           // CHECK: mcu.buffer {output_index = [#builtin.int<0>, #builtin.int<1>], kind = "output"
           // CHECK-NOT: output_index
           // CHECK-NOT: COPY""",
    )


def test_a_tensor_and_its_reshape_as_outputs_are_two_buffers() -> None:
    check(
        "select-kernels",
        """func.func @main(%x: T[1x4]) -> (T[1x4], T[4x1]) {
             %c = nn.clamp %x {clamp = array<i64: 0, 9>} : (T[1x4]) -> T[1x4]
             %r = nn.reshape %c : (T[1x4]) -> T[4x1]
             func.return %c, %r : T[1x4], T[4x1]
           }
           // CHECK: mcu.buffer {output_index = [#builtin.int<0>], kind = "output"
           // CHECK: mcu.buffer {output_index = [#builtin.int<1>], kind = "output"
           // CHECK-SAME: tensor = T[4x1]
           // CHECK: op = "COPY\"""",
    )


def test_a_global_pool_and_a_flattening_layer_take_rows_as_they_come() -> None:
    builder = NetworkBuilder(3)
    image = builder.input((1, 4, 5, 2))
    module = builder.finish(builder.pool(image, True, (4, 5), (1, 1)), builder.fully_connected(image, 3))
    run_passes(module, parse_passes("select-kernels"))
    text = print_module(module)
    assert text.count('form = "reduction"') == 2
    assert text.count('kind = "accumulator"') == 2


@pytest.mark.parametrize("profile", ["litert", "tflm"])
def test_the_profile_is_recorded(profile: str) -> None:
    builder = NetworkBuilder(3)
    module = builder.finish(builder.conv(builder.input((1, 4, 5, 2)), 3))
    run_passes(module, parse_passes(f"select-kernels{{numerics={profile}}}"))
    assert f'numerics = "{profile}"' in print_module(module)


def test_all_ops_without_a_kernel_are_reported_together() -> None:
    module = module_of(
        """func.func @main(%a: T[1x4x1x2], %b: T[1x1x4x2]) -> (T[1x4x4x2], T[1x4x4x2]) {
             %s = nn.add %a, %b {layer = "first", clamp = array<i64: -128, 127>} : (T[1x4x1x2], T[1x1x4x2]) -> T[1x4x4x2]
             %t = nn.mul %a, %b {layer = "second", clamp = array<i64: -128, 127>} : (T[1x4x1x2], T[1x1x4x2]) -> T[1x4x4x2]
             func.return %s, %t : T[1x4x4x2], T[1x4x4x2]
           }"""
    )
    with pytest.raises(UnsupportedError) as caught:
        run_passes(module, parse_passes("select-kernels"))
    assert [(entry.node, entry.op) for entry in caught.value.diagnostics] == [("first", "ADD"), ("second", "MUL")]
    assert "first operand must have the result's shape" in str(caught.value)


def test_weights_that_are_computed_are_refused() -> None:
    module = module_of(
        """func.func @main(%x: T[1x2], %w: !nn.tensor<[3, 2], i8>) -> T[1x3] {
             %f = nn.fully_connected %x, %w {clamp = array<i64: -128, 127>, weight_scales = #nn.dense<[1], f32, sha256 "0">} :
               (T[1x2], !nn.tensor<[3, 2], i8>) -> T[1x3]
             func.return %f : T[1x3]
           }"""
    )
    with pytest.raises(UnsupportedError, match="weights must be constant"):
        run_passes(module, parse_passes("select-kernels"))


def test_needs_a_main_function() -> None:
    with pytest.raises(PassError, match="no function `main`"):
        run_passes(module_of("builtin.module {}"), parse_passes("select-kernels"))
