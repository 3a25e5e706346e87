"""plan-banks: a bank and an offset for every buffer, within the sizes, and schedules that still compute the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_check import module_of
from test_plan_memory import WHOLE, number_on, planned
from xdsl.dialects.builtin import ModuleOp

from support.network_builder import Network, NetworkBuilder, networks, random_inputs
from support.placements import assert_nothing_collides
from tinyc.backends.cortexm.accesses import counted_accesses
from tinyc.errors import PassError, UsageError
from tinyc.interpreter.evaluate import evaluate
from tinyc.interpreter.streams import evaluate_schedule
from tinyc.ir.arenas import Arena, arenas_of
from tinyc.ir.mcu import BufferOp
from tinyc.ir.schedule import build_schedule
from tinyc.ir.text import parse_module, print_module
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes


def plan_banks(*sizes: int) -> str:
    names = ",".join(f'"bank{number}"' for number in range(len(sizes)))
    return f"plan-banks{{banks={names} sizes={','.join(map(str, sizes))}}}"


def banked(*sizes: int) -> str:
    return WHOLE.replace("plan-memory", plan_banks(*sizes))


def bottleneck() -> ModuleOp:
    builder = NetworkBuilder(3)
    value = builder.input((1, 12, 12, 8))
    return builder.finish(builder.conv(builder.depthwise(builder.conv(value, 24)), 8))


@settings(max_examples=15, deadline=None)
@given(networks(), st.integers(1, 8))
def test_random_networks_in_two_banks_keep_to_both(network: Network, eighths: int) -> None:
    whole = number_on(planned(network.module.clone()), "arena_bytes")
    fast = max(4, whole * eighths // 8)
    module = planned(network.module.clone(), banked(fast, whole))
    assert number_on(module, "arena_bytes") == sum(arena.bytes for arena in arenas_of(module))
    for arena in arenas_of(module):
        assert arena.limit_bytes is not None
        assert 0 < arena.bytes <= arena.limit_bytes
    schedule = build_schedule(module)
    offsets, banks = [buffer.start for buffer in schedule.buffers], [buffer.bank_name for buffer in schedule.buffers]
    assert_nothing_collides(schedule.lives, schedule.overlaps, offsets, banks)
    sizes = {arena.bank if len(arenas_of(module)) > 1 else "": arena.bytes for arena in arenas_of(module)}
    for buffer in schedule.buffers:
        assert buffer.start + buffer.size_bytes <= sizes[buffer.bank_name]


def test_random_networks_compute_the_same_in_two_banks() -> None:
    several = []

    @settings(max_examples=15, deadline=None, database=None, derandomize=True)
    @given(networks(), st.integers(1, 6))
    def check(network: Network, eighths: int) -> None:
        whole = number_on(planned(network.module.clone()), "arena_bytes")
        passes = parse_passes(banked(max(4, whole * eighths // 8), whole))
        first = [entry.name for entry in passes].index("select-kernels")
        graph = network.module.clone()
        run_passes(graph, passes[:first])
        schedule = graph.clone()
        run_passes(schedule, passes[first:])
        inputs = random_inputs(network.module)
        expected = evaluate(network.module, inputs, Profile.LITERT)
        for wanted, found in zip(expected, evaluate_schedule(graph, schedule, inputs, Profile.LITERT), strict=True):
            np.testing.assert_array_equal(found, wanted)
        several.append(len(arenas_of(schedule)) > 1)

    check()
    assert sum(several) >= 6


def test_what_is_accessed_most_lies_in_the_first_bank() -> None:
    module = planned(bottleneck(), banked(1024, 1 << 16))
    accesses = counted_accesses(module)
    where = {buffer.kind.data: buffer.bank_name for buffer in accesses}
    assert where["scratch"] == "bank0"
    assert where["input"] == "bank1"
    fast = sum(count for buffer, count in accesses.items() if buffer.bank_name == "bank0")
    size = sum(buffer.size_bytes for buffer in accesses if buffer.bank_name == "bank0")
    assert fast / sum(accesses.values()) > 2 * size / sum(buffer.size_bytes for buffer in accesses)


def test_a_bank_without_buffers_is_left_out_and_one_bank_alone_is_a_plain_arena() -> None:
    builder = NetworkBuilder(1)
    network = builder.finish(builder.clamp(builder.input((1, 8, 8, 4)), (0, 10)))
    arena = number_on(planned(network.clone(), "select-kernels,plan-memory"), "arena_bytes")
    module = planned(network, f"select-kernels,{plan_banks(1 << 16, 1 << 16)}")
    assert arenas_of(module) == (Arena("bank0", arena, 1 << 16),)
    assert all(op.bank is None for op in module.ops if isinstance(op, BufferOp))


def test_a_planned_module_reads_back() -> None:
    module = planned(bottleneck(), banked(1024, 1 << 16))
    text = print_module(module, print_weights=True)
    again = parse_module(text, "again")
    assert arenas_of(again) == arenas_of(module)
    assert len(arenas_of(module)) == 2
    assert print_module(again, print_weights=True) == text


def test_a_module_without_steps_is_refused() -> None:
    with pytest.raises(PassError, match="run select-kernels first"):
        planned(module_of("func.func @main(%x: T[1x4]) -> T[1x4] { func.return %x : T[1x4] }"), plan_banks(8))


@pytest.mark.parametrize("options", ["", 'banks="a"', 'banks="a","b" sizes=1', 'banks="a" sizes=0'])
def test_names_and_sizes_must_go_together(options: str) -> None:
    with pytest.raises(UsageError, match="names and sizes"):
        parse_passes(f"plan-banks{{{options}}}" if options else "plan-banks")
