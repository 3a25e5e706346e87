"""order-operators: the order with the least peak of live results, checked against every topological order."""

from __future__ import annotations

import itertools

import numpy as np
from ir_check import check, check_unchanged
from xdsl.dialects.builtin import ModuleOp

from support.network_builder import NetworkBuilder, random_inputs
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.nn_base import NNOp
from tinyc.ir.nn_shape import ConstantOp
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes
from tinyc.passes.rewriting import main_block


def two_branches() -> ModuleOp:
    """Two branches that widen and shrink again; drawn side by side, both wide tensors live at once."""
    builder = NetworkBuilder(4)
    image = builder.input((1, 4, 4, 2))
    stem = builder.conv(image, 2)
    wide = [builder.conv(stem, 16), builder.conv(stem, 20)]
    first, second = (builder.conv(value, 2) for value in wide)
    return builder.finish(builder.add(first, second))


def ops_of(module: ModuleOp) -> list[NNOp]:
    return [op for op in main_block(module).ops if isinstance(op, NNOp) and not isinstance(op, ConstantOp)]


def peak(ops: list[NNOp], order: tuple[int, ...]) -> int | None:
    """Most bytes of results live at once in `order`, or None where an op comes before what it reads."""
    live: set[NNOp] = set()
    most = 0
    for place, index in enumerate(order):
        op = ops[index]
        reads = {value.owner for value in op.operands if value.owner in ops}
        if not reads <= live:
            return None
        live.add(op)
        most = max(most, sum(entry.out.size_bytes for entry in live))
        later = {value.owner for other in order[place + 1 :] for value in ops[other].operands}
        live = {entry for entry in live if entry in later}
    return most


def test_finds_the_best_of_all_orders() -> None:
    module = two_branches()
    inputs = random_inputs(module)
    expected = evaluate(module, inputs, Profile.LITERT)
    ops = ops_of(module)
    peaks = [found for order in itertools.permutations(range(len(ops))) if (found := peak(ops, order)) is not None]
    before = peak(ops, tuple(range(len(ops))))
    run_passes(module, parse_passes("order-operators"))
    after = ops_of(module)
    found = peak(after, tuple(range(len(after))))
    assert found == min(peaks)
    assert before is not None
    assert found < before
    np.testing.assert_array_equal(evaluate(module, inputs, Profile.LITERT)[0], expected[0])


def test_runs_one_branch_to_its_end_before_the_other() -> None:
    text = """func.func @main(%x: T[1x2]) -> T[1x2] {
             %a = nn.fully_connected %x, %w {WIDE} : (T[1x2], !nn.tensor<[90, 2], i8>) -> T[1x90]
             %b = nn.fully_connected %x, %w {WIDE} : (T[1x2], !nn.tensor<[90, 2], i8>) -> T[1x90]
             %c = nn.fully_connected %a, %v {NARROW} : (T[1x90], !nn.tensor<[2, 90], i8>) -> T[1x2]
             %d = nn.fully_connected %b, %v {NARROW} : (T[1x90], !nn.tensor<[2, 90], i8>) -> T[1x2]
             %s = nn.add %c, %d {clamp = array<i64: -128, 127>} : (T[1x2], T[1x2]) -> T[1x2]
             func.return %s : T[1x2]
           }
           // CHECK: %[[a:\\w+]] = nn.fully_connected %[[x:\\w+]], %[[w:\\w+]] {{.*}}"wide"
           // CHECK-NEXT: %[[c:\\w+]] = nn.fully_connected %[[a]], {{.*}}"narrow"
           // CHECK-NEXT: %[[b:\\w+]] = nn.fully_connected %[[x]], {{.*}}"wide"
           // CHECK-NEXT: %[[d:\\w+]] = nn.fully_connected %[[b]], {{.*}}"narrow"
           // CHECK-NEXT: nn.add %[[c]], %[[d]]"""
    for name in ("wide", "narrow"):
        scales = '{layer = "%s", clamp = array<i64: -128, 127>, weight_scales = #nn.dense<[1], f32, sha256 "0">}' % name  # noqa: UP031
        text = text.replace("{" + name.upper() + "}", scales)
    constants = """
             %w = nn.constant <[90, 2], i8, sha256 "0"> : !nn.tensor<[90, 2], i8>
             %v = nn.constant <[2, 90], i8, sha256 "0"> : !nn.tensor<[2, 90], i8>"""
    check("order-operators", text.replace("-> T[1x2] {\n", f"-> T[1x2] {{{constants}\n", 1))


def test_keeps_a_chain_and_an_order_that_is_already_best() -> None:
    check_unchanged(
        "order-operators",
        """func.func @main(%x: T[1x2]) -> (T[1x2], T[1x2]) {
             %a = nn.clamp %x {clamp = array<i64: 0, 5>} : (T[1x2]) -> T[1x2]
             %b = nn.clamp %a {clamp = array<i64: 0, 4>} : (T[1x2]) -> T[1x2]
             %c = nn.clamp %b {clamp = array<i64: 0, 3>} : (T[1x2]) -> T[1x2]
             func.return %c, %a : T[1x2], T[1x2]
           }""",
    )


def test_keeps_the_order_where_the_search_would_be_too_long() -> None:
    module = two_branches()
    before = [op.layer for op in ops_of(module)]
    run_passes(module, parse_passes("order-operators{max-states=1}"))
    assert [op.layer for op in ops_of(module)] == before
