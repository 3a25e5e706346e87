"""recompute-gates: squeeze and excite without the whole tensor where nothing else keeps a budget; results stay, the report tells."""

from __future__ import annotations

import importlib.util
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from support.network_builder import Network, NetworkBuilder, networks, random_inputs
from tinyc.api import Compiled, Model, limited
from tinyc.driver.pipeline import CompileOptions, pipeline
from tinyc.errors import DoesNotFitError, PassError
from tinyc.interpreter.evaluate import evaluate
from tinyc.interpreter.streams import evaluate_schedule
from tinyc.ir.mcu import BufferOp, CallOp, buffer_of
from tinyc.ir.nn_base import tensor_of
from tinyc.ir.schedule import build_schedule, steps_of
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes
from tinyc.passes.recompute_gates import gates
from tinyc.passes.registry import parse_passes
from tinyc.report.text import report_text
from tinyc.runners import run_build
from tinyc.targets import load_target

needs_unicorn = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or importlib.util.find_spec("unicorn") is None, reason="needs arm-none-eabi-gcc and unicorn"
)
SELECT = "fold-constants,canonicalize,eliminate-dead-code,select-kernels"
STREAMED = "stream-rows,depthwise-in-place,merge-rows,plane-rings,size-im2col,plan-memory"


def gated_block(builder: NetworkBuilder, value: SSAValue, width: int, kernel: int = 3, skip: bool = True) -> SSAValue:
    """Expand, depthwise, squeeze and excite, project."""
    depth = tensor_of(value).shape[3]
    pad = kernel // 2
    wide = builder.depthwise(builder.conv(value, width, clamp=(0, 127)), (kernel, kernel), pads=(pad, pad, pad, pad))
    squeezed = builder.conv(builder.conv(builder.mean(wide, (1, 2), True), 4, clamp=(0, 127)), width, clamp=(0, 127))
    narrow = builder.conv(builder.mul(wide, squeezed), depth)
    return builder.add(narrow, value) if skip else narrow


@cache
def network(blocks: int = 1) -> ModuleOp:
    builder = NetworkBuilder(7)
    value = builder.input((1, 20, 20, 4))
    for _ in range(blocks):
        value = gated_block(builder, value, 24)
    return builder.finish(builder.conv(value, 2, (20, 20)))


def after(module: ModuleOp, passes: str) -> ModuleOp:
    changed = module.clone()
    run_passes(changed, parse_passes(passes))
    return changed


def arena(module: ModuleOp) -> int:
    return max(build_schedule(module).step_bounds)


def calls_again(module: ModuleOp) -> list[CallOp]:
    return [call for step in steps_of(module) for call in step.calls if buffer_of(call.output).again]


def test_the_tensor_between_mean_and_multiplication_is_no_longer_kept() -> None:
    without, with_it = (after(network(), f"{SELECT}{middle},{STREAMED}") for middle in ("", ",recompute-gates"))
    assert arena(without) > 20 * 20 * 24 > arena(with_it)
    assert [call.op.data for call in calls_again(with_it)] == ["CONV_2D", "DEPTHWISE_CONV_2D"]
    wide = [op for op in with_it.ops if isinstance(op, BufferOp) and op.row_bytes.value.data >= 20 * 24]
    assert wide
    assert all(op.slots.value.data <= 4 for op in wide)


def test_tables_are_not_doubled() -> None:
    def tables(module: ModuleOp) -> int:
        return sum(op.name == "mcu.table" for op in module.ops)

    selected, changed = after(network(2), SELECT), after(network(2), f"{SELECT},recompute-gates")
    assert len(calls_again(changed)) == 4
    assert tables(changed) == tables(selected)


def test_what_does_not_lower_the_peak_is_not_computed_again() -> None:
    builder = NetworkBuilder(3)
    value = gated_block(builder, builder.input((1, 20, 20, 4)), 24)
    small = gated_block(builder, builder.pool(value, False, (4, 4), (4, 4)), 24)
    module = builder.finish(small)
    assert len(gates(build_schedule(after(module, SELECT)))) == 2
    assert len(calls_again(after(module, f"{SELECT},recompute-gates"))) == 2


@pytest.mark.parametrize(
    "describe",
    [
        lambda builder, value: builder.add(value, builder.conv(builder.depthwise(builder.conv(value, 24)), 4)),
        lambda builder, value: builder.mean(builder.conv(value, 24), (1, 2), True),
        lambda builder, value: builder.mul(builder.conv(value, 24), builder.conv(builder.mean(value, (1, 2), True), 24)),
    ],
    ids=["skip connection", "mean alone", "gate from another tensor"],
)
def test_networks_without_such_a_place_stay_as_they_are(describe: object) -> None:
    builder = NetworkBuilder(2)
    assert callable(describe)
    module = builder.finish(describe(builder, builder.input((1, 12, 12, 4))))
    selected = after(module, SELECT)
    assert gates(build_schedule(selected)) == []
    assert str(after(module, f"{SELECT},recompute-gates")) == str(selected)


def test_nothing_starts_again_from_an_input_that_is_pushed() -> None:
    schedule = build_schedule(after(network(), SELECT))
    assert len(gates(schedule)) == 1
    assert gates(schedule, pushed_input=True) == []


@st.composite
def gated_networks(draw: st.DrawFn) -> Network:
    builder = NetworkBuilder(draw(st.integers(0, 1000)))
    value = builder.input((1, draw(st.integers(7, 16)), draw(st.integers(3, 9)), draw(st.integers(1, 4))))
    for _ in range(draw(st.integers(1, 2))):
        value = gated_block(builder, value, draw(st.integers(10, 24)), draw(st.sampled_from([1, 3, 5])), draw(st.booleans()))
    return Network(builder.finish(value))


@pytest.mark.parametrize("profile", [Profile.LITERT, Profile.TFLM])
def test_random_gated_networks_compute_what_the_plain_graph_does(profile: Profile) -> None:
    again = []

    @settings(max_examples=8, deadline=None, database=None, derandomize=True)
    @given(gated_networks())
    def check(case: Network) -> None:
        passes = parse_passes(
            f"{SELECT},recompute-gates,{STREAMED}".replace("select-kernels", f"select-kernels{{numerics={profile.value}}}")
        )
        first = [entry.name for entry in passes].index("select-kernels")
        graph = case.module.clone()
        run_passes(graph, passes[:first])
        schedule = graph.clone()
        run_passes(schedule, passes[first:])
        inputs = random_inputs(case.module)
        expected = evaluate(case.module, inputs, profile)
        for wanted, found in zip(expected, evaluate_schedule(graph, schedule, inputs, profile), strict=True):
            np.testing.assert_array_equal(found, wanted)
        again.append(bool(calls_again(schedule)))

    check()
    assert sum(again) >= 4


@settings(max_examples=20, deadline=None)
@given(networks())
def test_the_pass_never_raises_the_peak(case: Network) -> None:
    without, with_it = (after(case.module, f"{SELECT}{middle},stream-rows") for middle in ("", ",recompute-gates"))
    assert arena(with_it) <= arena(without)


@cache
def compiled(ram_bytes: int | None, banks: str | None = None) -> Compiled:
    target = limited(load_target("stm32f412"), ram_bytes, None)
    return Model("gated", network()).compile(target, measure=False, banks=banks)


def test_only_a_budget_that_nothing_else_keeps_makes_it_compute_twice() -> None:
    roomy = compiled(None).report
    least = Model("gated", network()).compile("stm32f412", optimize="ram", measure=False).report
    assert roomy.recomputed_macs == least.recomputed_macs == compiled(least.ram.arena_bytes).report.recomputed_macs == 0
    small = compiled(least.ram.arena_bytes * 3 // 4).report
    assert small.ram.arena_bytes < least.ram.arena_bytes * 3 // 4
    assert small.recomputed_macs == 20 * 20 * 24 * (4 + 9)
    assert small.macs == least.macs + small.recomputed_macs
    assert f"{small.recomputed_macs:,} of them for what is computed again instead of kept" in report_text(small)
    assert "computed again" not in report_text(least)
    assert [call["again"] for layer in small.to_json()["layers"] for call in layer["calls"] if "again" in call] == [True, True]
    assert "again" not in str(least.to_json())


def test_streams_that_are_formed_already_are_refused() -> None:
    builder = NetworkBuilder(1)
    streamed = builder.finish(builder.conv(builder.depthwise(builder.conv(builder.input((1, 20, 20, 4)), 24)), 4))
    with pytest.raises(PassError, match="stands before stream-rows"):
        after(streamed, f"{SELECT},stream-rows,recompute-gates")


def test_a_budget_below_even_that_is_refused() -> None:
    with pytest.raises(DoesNotFitError, match="too many"):
        compiled(1500)


@needs_unicorn
@pytest.mark.parametrize("banks", [None, "sram1=6K"])
def test_the_c_of_a_network_that_computes_twice_is_exact_on_an_emulated_part(tmp_path: Path, banks: str | None) -> None:
    network_in_c = compiled(6 << 10) if banks is None else compiled(None, banks)
    assert network_in_c.report.recomputed_macs > 0
    module = after(network(), "canonicalize")
    samples = [random_inputs(module, seed)[0] for seed in range(3)]
    found = run_build(network_in_c.write(tmp_path / "build"), "unicorn", {"input_0": np.stack(samples)}).outputs["output_0"]
    for sample, output in zip(samples, found, strict=True):
        (wanted,) = evaluate(module, [sample], Profile.LITERT)
        np.testing.assert_array_equal(output, wanted)


def test_the_pipeline_has_the_pass_before_streams_are_formed() -> None:
    names = [entry.name for entry in pipeline(CompileOptions(recompute=True, stream_input=True))]
    assert names.index("fuse-residual") + 1 == names.index("recompute-gates") == names.index("stream-rows") - 1
    assert "recompute-gates" not in [entry.name for entry in pipeline(CompileOptions())]
