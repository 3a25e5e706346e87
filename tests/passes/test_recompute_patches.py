"""recompute-patches: streams in vertical strips where nothing else keeps a budget; results stay, the report tells."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from test_recompute_gates import gated_block
from xdsl.dialects.builtin import ModuleOp

from support.host_network import compile_for_host, needs_gcc, run_on_host
from support.network_builder import Network, NetworkBuilder, networks, random_inputs
from support.streamed_chains import chains
from tinyc.api import Compiled, Model, limited
from tinyc.driver.pipeline import CompileOptions, default_pipeline, pipeline
from tinyc.driver.schedules import Kernels, explore_recomputed
from tinyc.errors import DoesNotFitError, PassError
from tinyc.interpreter.evaluate import evaluate
from tinyc.interpreter.streams import evaluate_schedule
from tinyc.ir.mcu import BufferOp, CallOp, ColumnsOp, buffer_of, number, row_shape
from tinyc.ir.schedule import build_schedule, steps_of
from tinyc.ir.text import parse_module, print_module
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes
from tinyc.report.text import report_text
from tinyc.runners import run_build
from tinyc.targets import load_target

needs_unicorn = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or importlib.util.find_spec("unicorn") is None, reason="needs arm-none-eabi-gcc and unicorn"
)
SELECT = "fold-constants,canonicalize,eliminate-dead-code,select-kernels"
STREAMED = "stream-rows,depthwise-in-place,merge-rows,plane-rings,size-im2col,plan-memory"


@cache
def network() -> ModuleOp:
    """A bottleneck with wide rings and a skip behind a narrow image, then a small tensor."""
    builder = NetworkBuilder(11)
    image = builder.input((1, 17, 21, 2))
    wide = builder.depthwise(builder.conv(image, 20), (5, 5), pads=(2, 2, 2, 2))
    value = builder.add(builder.conv(wide, 2), image)
    return builder.finish(builder.conv(builder.conv(value, 2, (3, 3), (3, 3)), 2, (5, 7)))


def after(module: ModuleOp, passes: str) -> ModuleOp:
    changed = module.clone()
    run_passes(changed, parse_passes(passes))
    return changed


def peak(module: ModuleOp) -> int:
    return max(build_schedule(module).step_bounds)


def strip_calls(module: ModuleOp) -> list[CallOp]:
    return [call for step in steps_of(module) for call in step.calls if call.part is not None]


def test_strips_have_narrower_rings_and_lower_the_peak() -> None:
    without, with_it = (after(network(), f"{SELECT}{middle},{STREAMED}") for middle in ("", ",recompute-patches"))
    assert peak(with_it) < 0.8 * peak(without)
    assert strip_calls(with_it)
    widest = [max(op.row_bytes.value.data for op in module.ops if isinstance(op, BufferOp)) for module in (without, with_it)]
    assert widest[1] < widest[0]


def test_tables_are_not_doubled() -> None:
    selected, changed = after(network(), SELECT), after(network(), f"{SELECT},recompute-patches")
    tables = [sum(op.name == "mcu.table" for op in module.ops) for module in (selected, changed)]
    assert tables[0] == tables[1]


def test_multiply_adds_are_those_of_the_columns_that_each_strip_computes() -> None:
    selected, changed = after(network(), SELECT), after(network(), f"{SELECT},recompute-patches")
    whole = {call.layer.data: int(call.macs.value.data) for step in steps_of(selected) for call in step.calls}
    again = 0
    for layer in {call.layer.data for call in strip_calls(changed)}:
        parts = [call for call in strip_calls(changed) if call.layer.data == layer]
        assert [call.part.number.data for call in parts if call.part is not None] == list(range(len(parts)))
        assert sum(int(call.macs.value.data) - call.again_macs for call in parts) == whole[layer]
        again += sum(call.again_macs for call in parts)
    assert again > 0


def test_the_text_of_the_ir_reads_back() -> None:
    text = print_module(after(network(), f"{SELECT},recompute-patches,stream-rows,plan-memory"), print_weights=True)
    assert "mcu.columns" in text
    assert "#mcu.part" in text
    assert print_module(parse_module(text), print_weights=True) == text


def test_a_budget_that_streams_keep_leaves_the_network_as_it_is() -> None:
    enough = peak(after(network(), f"{SELECT},stream-rows"))
    assert str(after(network(), f"{SELECT},recompute-patches{{budget={enough}}}")) == str(after(network(), SELECT))
    assert strip_calls(after(network(), f"{SELECT},recompute-patches{{budget={enough - 1}}}"))


def test_a_larger_budget_takes_no_more_multiply_adds() -> None:
    least, most = (peak(after(network(), f"{SELECT}{middle},stream-rows")) for middle in (",recompute-patches", ""))
    counts = []
    for budget in range(least, most, max(1, (most - least) // 5)):
        module = after(network(), f"{SELECT},recompute-patches{{budget={budget}}},stream-rows{{budget={budget}}}")
        assert peak(module) <= budget
        counts.append(sum(call.again_macs for call in strip_calls(module)))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_streams_that_are_formed_already_are_refused() -> None:
    with pytest.raises(PassError, match="stands before stream-rows"):
        after(network(), f"{SELECT},stream-rows,recompute-patches")


def test_an_input_that_is_pushed_is_read_by_no_strip() -> None:
    assert any(
        buffer_of(value).kind.data == "input"
        for call in strip_calls(after(network(), f"{SELECT},recompute-patches"))
        for value in call.inputs
    )
    for step in steps_of(after(network(), f"{SELECT},recompute-patches{{input=true}},stream-rows{{input=true}}")):
        assert step.pushed_input is None or all(call.part is None for call in step.calls)


def as_schedule(module: ModuleOp, profile: Profile, middle: str) -> tuple[ModuleOp, ModuleOp]:
    passes = parse_passes(f"{SELECT},{middle},{STREAMED}".replace("select-kernels", f"select-kernels{{numerics={profile.value}}}"))
    first = [entry.name for entry in passes].index("select-kernels")
    graph = module.clone()
    run_passes(graph, passes[:first])
    schedule = graph.clone()
    run_passes(schedule, passes[first:])
    return graph, schedule


def assert_computes_the_same(module: ModuleOp, profile: Profile, middle: str) -> bool:
    """Whether the schedule has strips; fails where it computes something else than the plain graph."""
    graph, schedule = as_schedule(module, profile, middle)
    inputs = random_inputs(module)
    for wanted, found in zip(evaluate(module, inputs, profile), evaluate_schedule(graph, schedule, inputs, profile), strict=True):
        np.testing.assert_array_equal(found, wanted)
    return bool(strip_calls(schedule))


DRAWN = settings(
    max_examples=12, deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("profile", [Profile.LITERT, Profile.TFLM])
def test_random_chains_in_strips_compute_what_the_plain_graph_does(profile: Profile) -> None:
    divided = []

    @DRAWN
    @given(chains(most_columns=15, across=True))
    def check(case: Network) -> None:
        divided.append(assert_computes_the_same(case.module, profile, "recompute-patches{parts=4}"))

    check()
    assert sum(divided) >= 4


def test_the_second_pass_of_a_gate_can_run_in_strips() -> None:
    builder = NetworkBuilder(5)
    value = builder.conv(builder.input((1, 17, 19, 2)), 3, (3, 3), (1, 1), (1, 1, 1, 1))
    module = builder.finish(builder.conv(gated_block(builder, value, 24), 2, (5, 5), (6, 6)))
    assert assert_computes_the_same(module, Profile.LITERT, "recompute-gates,recompute-patches")
    _, schedule = as_schedule(module, Profile.LITERT, "recompute-gates,recompute-patches")
    gated = [call for call in strip_calls(schedule) if buffer_of(call.output).again]
    assert any(call.op.data == "MUL" for call in strip_calls(schedule))
    assert gated


def test_strips_that_read_other_columns_are_found_out() -> None:
    wrong = []
    inputs = random_inputs(network())
    (wanted,) = evaluate(network(), inputs, Profile.LITERT)
    for moved in (-4, -2, 2, 4):
        graph, schedule = as_schedule(network(), Profile.LITERT, "recompute-patches")
        for op in schedule.ops:
            if isinstance(op, ColumnsOp) and buffer_of(op.source).kind.data == "input":
                most = row_shape(op.source)[1] - row_shape(op.result)[1]
                op.properties["first"] = number(min(max(0, op.start + moved), most))
        try:
            (found,) = evaluate_schedule(graph, schedule, inputs, Profile.LITERT)
        except PassError:
            # Rows that were written over, now that other columns of them are read.
            wrong.append(True)
            continue
        wrong.append(bool((found != wanted).any()))
    assert wrong.count(True) >= 3


@settings(max_examples=20, deadline=None)
@given(networks())
def test_the_pass_never_raises_the_peak(case: Network) -> None:
    without, with_it = (after(case.module, f"{SELECT}{middle},stream-rows") for middle in ("", ",recompute-patches"))
    assert peak(with_it) <= peak(without)


@pytest.mark.skipif(needs_gcc() is not None, reason="needs gcc")
def test_strips_as_c_under_sanitizers_compute_what_the_interpreter_does() -> None:
    divided = []
    passes = default_pipeline(CompileOptions(patches=True)).replace("recompute-patches", "recompute-patches{parts=3}")

    @settings(DRAWN, max_examples=5)
    @given(chains(most_columns=19, across=True))
    def check(case: Network) -> None:
        compiled = compile_for_host(case.module, Profile.LITERT, passes)
        inputs = random_inputs(case.module)
        with tempfile.TemporaryDirectory() as folder:
            found = run_on_host(compiled, Path(folder), inputs)
        np.testing.assert_array_equal(found[0], evaluate(case.module, inputs, Profile.LITERT)[0])
        divided.append(bool(strip_calls(compiled.module)))

    check()
    assert any(divided)


@cache
def compiled(ram_bytes: int | None, banks: str | None = None, optimize: str = "balanced") -> Compiled:
    target = limited(load_target("stm32f412"), ram_bytes, None)
    return Model("strips", network()).compile(target, measure=False, banks=banks, optimize=optimize)


def test_only_a_budget_that_nothing_else_keeps_takes_strips_and_the_report_names_them() -> None:
    least = compiled(None, optimize="ram").report
    assert compiled(None).report.recomputed_macs == least.recomputed_macs == compiled(least.ram.arena_bytes).report.recomputed_macs == 0
    small = compiled(least.ram.arena_bytes - 1).report
    assert small.ram.arena_bytes < least.ram.arena_bytes
    assert small.macs == least.macs + small.recomputed_macs > least.macs
    assert f"{small.recomputed_macs:,} of them at the borders of" in report_text(small)
    assert "vertical strips" not in report_text(least)
    calls = [call for layer in small.to_json()["layers"] for call in layer["calls"]]
    assert sum(call.get("again_macs", 0) for call in calls) == small.recomputed_macs
    assert {call["parts"] for call in calls if "part" in call} == {max(call["part"] for call in calls if "part" in call)}
    assert "part" not in str([call for layer in least.to_json()["layers"] for call in layer["calls"]])


def test_less_ram_costs_more_and_the_fastest_that_fits_is_compiled() -> None:
    least = compiled(None, optimize="ram").report.ram.arena_bytes
    trials = explore_recomputed(Kernels.of(network(), CompileOptions(measure=False)), lambda *_: None)
    assert [trial.arena_bytes for trial in trials] == sorted({trial.arena_bytes for trial in trials})
    assert [trial.cost for trial in trials] == sorted({trial.cost for trial in trials}, reverse=True)
    assert len(trials) >= 2
    assert trials[-1].arena_bytes < least
    reports = [compiled(trial.arena_bytes).report for trial in (trials[0], trials[-1])]
    assert [report.ram.arena_bytes for report in reports] == [trials[0].arena_bytes, trials[-1].arena_bytes]
    assert reports[0].recomputed_macs > reports[1].recomputed_macs > 0
    with pytest.raises(DoesNotFitError, match="too many"):
        compiled(trials[0].arena_bytes - 4)


@needs_unicorn
@pytest.mark.parametrize("in_banks", [False, True])
def test_the_c_of_a_network_in_strips_is_exact_on_an_emulated_part(tmp_path: Path, in_banks: bool) -> None:
    budget = compiled(None, optimize="ram").report.ram.arena_bytes - 1
    found = compiled(None, f"sram1={budget}") if in_banks else compiled(budget)
    assert found.report.recomputed_macs > 0
    samples = [random_inputs(network(), seed)[0] for seed in range(3)]
    outputs = run_build(found.write(tmp_path / "build"), "unicorn", {"input_0": np.stack(samples)}).outputs["output_0"]
    for sample, output in zip(samples, outputs, strict=True):
        (wanted,) = evaluate(network(), [sample], Profile.LITERT)
        np.testing.assert_array_equal(output, wanted)


def test_the_pipeline_has_the_pass_between_second_passes_and_streams() -> None:
    options = CompileOptions(recompute=True, patches=True, stream_input=True, stream_budget=5000)
    names = [entry.name for entry in pipeline(options)]
    assert names.index("recompute-gates") + 1 == names.index("recompute-patches") == names.index("stream-rows") - 1
    assert "recompute-patches{budget=5000 input=true}" in default_pipeline(options)
    assert "recompute-patches" not in [entry.name for entry in pipeline(CompileOptions())]
