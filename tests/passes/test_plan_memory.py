"""plan-memory: offsets for all buffers, arena and lower bound on the module."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from ir_check import module_of
from xdsl.dialects.builtin import IntegerAttr, ModuleOp

from support.network_builder import Network, NetworkBuilder, networks
from tinyc.errors import PassError, UsageError
from tinyc.ir.schedule import build_schedule
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes

WHOLE = "canonicalize,eliminate-dead-code,fold-constants,select-kernels,stream-rows,depthwise-in-place,size-im2col,plan-memory"


def number_on(module: ModuleOp, name: str) -> int:
    attribute = module.attributes[name]
    assert isinstance(attribute, IntegerAttr)
    return int(attribute.value.data)


def planned(module: ModuleOp, passes: str = WHOLE) -> ModuleOp:
    run_passes(module, parse_passes(passes))
    return module


@settings(max_examples=40, deadline=None)
@given(networks())
def test_plans_of_random_networks_hold(network: Network) -> None:
    module = planned(network.module.clone())
    schedule = build_schedule(module)
    known = {(overlap.result, overlap.source): overlap for overlap in schedule.overlaps}

    def overlap_is_safe(result: int, source: int) -> bool:
        if (result, source) not in known:
            return False
        overlap, written, read = known[result, source], schedule.buffers[result], schedule.buffers[source]
        if overlap.backwards:
            return written.start + written.size_bytes >= read.start + read.size_bytes + overlap.gap
        return written.start <= read.start - overlap.gap

    arena = number_on(module, "arena_bytes")
    assert number_on(module, "lower_bound_bytes") <= arena
    for i, (buffer, life) in enumerate(zip(schedule.buffers, schedule.lives, strict=True)):
        assert buffer.start % buffer.alignment.value.data == 0
        assert buffer.start + buffer.size_bytes <= arena
        for j in range(i):
            other, other_life = schedule.buffers[j], schedule.lives[j]
            together = life.first <= other_life.last and other_life.first <= life.last
            disjoint = buffer.start + buffer.size_bytes <= other.start or other.start + other.size_bytes <= buffer.start
            assert not together or disjoint or overlap_is_safe(i, j) or overlap_is_safe(j, i)


def single_layer() -> ModuleOp:
    builder = NetworkBuilder(10)
    return builder.finish(builder.clamp(builder.input((1, 8, 8, 4)), (0, 10)))


def test_an_elementwise_layer_overlaps_its_input_unless_that_is_switched_off() -> None:
    module = planned(single_layer(), "select-kernels,plan-memory")
    assert number_on(module, "arena_bytes") < 2 * 256
    module = planned(single_layer(), "select-kernels,plan-memory{overlap=false}")
    assert number_on(module, "arena_bytes") == 2 * 256


def test_outputs_live_to_the_end_and_inputs_from_the_beginning() -> None:
    builder = NetworkBuilder(10)
    first, second = builder.input((1, 8)), builder.input((1, 8))
    early = builder.clamp(first, (0, 10))
    module = planned(builder.finish(early, builder.clamp(builder.add(early, second), (0, 5))), "select-kernels,plan-memory")
    schedule = build_schedule(module)
    for buffer, life in zip(schedule.buffers, schedule.lives, strict=True):
        if buffer.kind.data == "input":
            assert life.first == -1
        if buffer.kind.data == "output":
            assert life.last == len(schedule.steps) - 1


def test_a_module_without_steps_is_refused() -> None:
    with pytest.raises(PassError, match="run select-kernels first"):
        planned(module_of("func.func @main(%x: T[1x4]) -> T[1x4] { func.return %x : T[1x4] }"), "plan-memory")


def test_the_exact_solver_needs_no_more_and_proves_a_bound_that_holds() -> None:
    pytest.importorskip("ortools", reason="OR-Tools (tinyc[exact]) is not installed")
    for kernel in (1, 3, 5):
        builder = NetworkBuilder(kernel)
        value = builder.conv(builder.input((1, 9, 9, 3)), 7, (kernel, kernel), (1, 1))
        module = builder.finish(builder.conv(value, 5, (3, 3), (2, 2)), builder.pool(value, False, (3, 3), (2, 2)))
        greedy, exact = planned(module.clone()), planned(module.clone(), WHOLE.replace("plan-memory", "plan-memory{solver=exact}"))
        assert number_on(exact, "arena_bytes") <= number_on(greedy, "arena_bytes")
        assert number_on(greedy, "lower_bound_bytes") <= number_on(exact, "lower_bound_bytes") <= number_on(exact, "arena_bytes")


def test_an_unknown_solver_is_refused() -> None:
    with pytest.raises(UsageError, match="greedy or exact"):
        parse_passes("plan-memory{solver=lucky}")
