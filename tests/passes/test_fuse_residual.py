"""fuse-residual: a convolution and the addition behind it become one call, where nobody else sees the convolution's output."""

from __future__ import annotations

import numpy as np
import pytest
from ir_check import check
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from support.network_builder import NetworkBuilder, random_inputs
from tinyc.backends.cortexm.fuse_residual import residuals
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.kernels.winograd import WinogradSpec
from tinyc.driver.compile import compile_module
from tinyc.driver.pipeline import CompileOptions, default_pipeline
from tinyc.errors import PassError
from tinyc.interpreter.evaluate import evaluate
from tinyc.interpreter.streams import evaluate_schedule
from tinyc.ir.mcu import CallOp, buffer_of
from tinyc.ir.schedule import build_schedule, steps_of
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes
from tinyc.passes.pins import attach_pins, layer_names, parse_pins
from tinyc.passes.registry import parse_passes
from tinyc.targets import load_target

WHOLE = "select-kernels,fuse-residual,merge-rows,size-im2col,plan-memory"


def block(same: bool = True, clamp: tuple[int, int] = (-128, 127), kernel: int = 1, size: int = 8) -> tuple[NetworkBuilder, SSAValue]:
    """An inverted residual without its depthwise: wide, narrow again, and the sum with what it began with, in either order."""
    builder = NetworkBuilder(4)
    image = builder.conv(builder.input((1, size, size, 3)), 8)
    wide = builder.conv(image, 24)
    narrow = builder.conv(wide, 8, (kernel, kernel), pads=(kernel // 2,) * 4)
    return builder, builder.add(*((image, narrow) if same else (narrow, image)), clamp)


def calls(module: ModuleOp) -> list[CallOp]:
    return [call for step in steps_of(module) for call in step.calls]


def ops(module: ModuleOp) -> list[str]:
    return [call.ops_text for call in calls(module)]


def passed(module: ModuleOp, passes: str) -> ModuleOp:
    changed = module.clone()
    run_passes(changed, parse_passes(passes))
    changed.verify()
    return changed


def test_the_call_has_both_inputs_the_constants_and_the_names_of_both() -> None:
    builder = NetworkBuilder(1)
    image = builder.input((1, 4, 4, 2), scale=0.05, zero_point=3)
    text = builder.finish(builder.add(builder.conv(image, 2), image))
    changed = passed(text, "select-kernels,fuse-residual")
    (call,) = calls(changed)
    assert [value is call.inputs[0] for value in call.inputs] == [True, True]
    assert call.ops == (("layer2", "CONV_2D"), ("layer3", "ADD"))
    assert [table.owner.suffix.data for table in call.tables] == ["weights", "channels", "addition"]  # type: ignore[union-attr]
    assert buffer_of(call.output).kind.data == "output"
    assert not any(op.name == "mcu.buffer" and op.kind.data == "tensor" for op in changed.ops)  # type: ignore[attr-defined]


def test_the_text_of_the_ir_says_what_is_fused_and_comes_back() -> None:
    check(
        "select-kernels,fuse-residual",
        """
        func.func @main(%image: T[1x4x4x2; 0.05 : 3]) -> T[1x4x4x2; 0.07 : -5] {
          %weights = nn.constant <[2, 1, 1, 2], i8, values [1, 2, 3, 4]> : !nn.tensor<[2, 1, 1, 2], i8>
          %own = nn.conv2d %image, %weights {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, clamp = array<i64: -128, 127>, dilations = array<i64: 1, 1>, weight_scales = #nn.dense<[1], f32, base64 "AACAPg==">} : (T[1x4x4x2; 0.05 : 3], !nn.tensor<[2, 1, 1, 2], i8>) -> T[1x4x4x2; 0.06 : 1]
          %sum = nn.add %own, %image {clamp = array<i64: -128, 127>} : (T[1x4x4x2; 0.06 : 1], T[1x4x4x2; 0.05 : 3]) -> T[1x4x4x2; 0.07 : -5]
          func.return %sum : T[1x4x4x2; 0.07 : -5]
        }
        // CHECK: c_type = "tinyc_addition"
        // CHECK: mcu.stream
        // CHECK: addition = {class = "FusedAddition"
        // CHECK-SAME: in_place = [#builtin.int<1>]
        // CHECK-SAME: exactly
        // CHECK-SAME: fused = ["nn.add", "ADD"]
        // CHECK-NOT: mcu.stream
        """,  # noqa: E501
    )


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("clamp", [(-128, 127), (-5, 127)])
@pytest.mark.parametrize("passes", [WHOLE, default_pipeline(CompileOptions(slack=100, gain=0)).partition("order-operators,")[2]])
def test_fused_schedules_compute_what_the_graph_does(same: bool, clamp: tuple[int, int], passes: str) -> None:
    builder, value = block(same, clamp, 3)
    module = builder.finish(builder.conv(value, 4))
    changed = passed(module, passes)
    assert "CONV_2D + ADD" in ops(changed)
    inputs = random_inputs(module)
    assert np.array_equal(evaluate_schedule(module, changed, inputs, Profile.LITERT)[0], evaluate(module, inputs, Profile.LITERT)[0])


def test_the_sum_lies_exactly_where_the_other_operand_lay() -> None:
    builder, value = block()
    changed = passed(builder.finish(builder.conv(value, 40)), WHOLE)
    call = next(call for call in calls(changed) if call.fused is not None)
    residual, result = buffer_of(call.inputs[1]), buffer_of(call.output)
    assert residual.start == result.start
    assert residual is not result


def test_a_row_is_not_computed_from_left_to_right_so_a_few_bytes_apart_will_not_do() -> None:
    builder, value = block()
    module = builder.finish(builder.conv(value, 40))
    changed = passed(module, "select-kernels,fuse-residual")
    schedule = build_schedule(changed)
    number = next(number for number, step in enumerate(schedule.steps) if step.calls[0].fused is not None)
    call = schedule.steps[number].calls[0]
    ids = {buffer: index for index, buffer in enumerate(schedule.buffers)}
    (overlap,) = [entry for entry in schedule.overlaps if entry.source == ids[buffer_of(call.inputs[1])]]
    assert overlap.coinciding
    assert overlap.gap == 8 * 8


def test_what_another_layer_reads_is_stored() -> None:
    builder = NetworkBuilder(2)
    image = builder.input((1, 6, 6, 4))
    narrow = builder.conv(image, 4)
    both = builder.add(builder.add(narrow, image), narrow)
    assert ops(passed(builder.finish(both), "select-kernels,fuse-residual")) == ["CONV_2D", "ADD", "ADD"]


def test_an_output_of_the_network_is_stored() -> None:
    builder = NetworkBuilder(2)
    image = builder.input((1, 6, 6, 4))
    narrow = builder.conv(image, 4)
    module = builder.finish(narrow, builder.add(narrow, image))
    assert ops(passed(module, "select-kernels,fuse-residual")) == ["CONV_2D", "ADD"]


def test_twice_the_same_and_what_is_broadcast_or_constant_stay_apart() -> None:
    builder = NetworkBuilder(2)
    image = builder.input((1, 6, 6, 4))
    own = builder.conv(image, 4)
    value = builder.add(own, own)
    value = builder.add(builder.conv(value, 4), builder.mean(image, (1, 2)))
    value = builder.add(builder.conv(value, 4), builder.constant(np.ones((1, 6, 6, 4), np.int8), 0.05))
    changed = passed(builder.finish(value), "select-kernels,fuse-residual")
    assert not any(call.fused for call in calls(changed))


def test_only_the_convolution_right_before_the_addition_is_fused() -> None:
    builder = NetworkBuilder(2)
    image = builder.input((1, 6, 6, 4))
    value = builder.add(builder.conv(image, 4), builder.pool(image, True, (3, 3), (1, 1), (1, 1, 1, 1)))
    assert ops(passed(builder.finish(value), "select-kernels,fuse-residual")) == ["CONV_2D", "AVERAGE_POOL_2D", "ADD"]


def shortcut() -> ModuleOp:
    """Two convolutions, and beside them a third one with stride 2, whose input the other path of a stream reads far ahead."""
    builder = NetworkBuilder(3)
    image = builder.conv(builder.input((1, 32, 32, 3)), 16, (3, 3), pads=(1, 1, 1, 1))
    value = builder.conv(image, 16, (3, 3), (2, 2), (1, 1, 1, 1))
    value = builder.conv(value, 16, (3, 3), pads=(1, 1, 1, 1))
    # The order of the operands is the order in which a stream asks for their rows.
    value = builder.add(builder.conv(image, 16, stride=(2, 2)), value)
    return builder.finish(builder.mean(value, (1, 2)))


def test_a_shortcut_whose_input_would_have_to_be_kept_for_longer_stays_apart() -> None:
    module = shortcut()
    peaks = {}
    for passes in ("stream-rows", "fuse-residual,stream-rows"):
        changed = passed(module, f"select-kernels,{passes}")
        peaks[passes] = max(build_schedule(changed).step_bounds)
    assert peaks["fuse-residual,stream-rows"] <= peaks["stream-rows"]
    forced = module.clone()
    attach_pins(forced, parse_pins(["conv2d_4:residual=on"]))
    assert max(build_schedule(passed(forced, "select-kernels,fuse-residual,stream-rows")).step_bounds) > peaks["stream-rows"]


def test_pins_decide_and_other_layers_refuse_them() -> None:
    builder, value = block()
    module = builder.finish(value)
    for pin, expected in (("off", ["CONV_2D"] * 3 + ["ADD"]), ("on", ["CONV_2D"] * 2 + ["CONV_2D + ADD"])):
        changed = module.clone()
        attach_pins(changed, parse_pins([f"conv2d_3:residual={pin}"]))
        assert ops(passed(changed, "select-kernels,fuse-residual")) == expected
    changed = module.clone()
    attach_pins(changed, parse_pins(["add_4:winograd=off"]))
    assert ops(passed(changed, "select-kernels,fuse-residual")) == ["CONV_2D"] * 3 + ["ADD"]
    attach_pins(module, parse_pins(["conv2d_1:residual=on"]))
    with pytest.raises(PassError, match="right before the one addition"):
        passed(module, "select-kernels,fuse-residual")


def test_layers_behind_keep_their_names() -> None:
    builder, value = block()
    module = builder.finish(builder.conv(value, 4))
    names = [list(layer_names(passed(module, passes)).values()) for passes in ("select-kernels", "select-kernels,fuse-residual")]
    assert names == [["conv2d_1", "conv2d_2", "conv2d_3", "add_4", "conv2d_5"], ["conv2d_1", "conv2d_2", "conv2d_3", "conv2d_5"]]


def test_it_stands_before_streams() -> None:
    builder, value = block(size=32)
    with pytest.raises(PassError, match="before stream-rows"):
        passed(builder.finish(value), "select-kernels,stream-rows,fuse-residual")


def test_the_report_and_the_explanation_name_both_ops() -> None:
    builder, value = block()
    compiled = compile_module(builder.finish(builder.conv(value, 4)), "net", load_target("cortex-m4"), CompileOptions(measure=False))
    assert '"op": "CONV_2D + ADD"' in compiled.files["report.json"]
    assert "CONV_2D + ADD" in compiled.files["net.c"]
    (choice,) = [choice for choice in compiled.explanation.choices if choice.decision == "residual"]
    assert choice.taken.value == "on"
    assert [call.name for layer in compiled.report.layers for call in layer.calls if call.op == "CONV_2D + ADD"] == ["layer8 + layer9"]


def test_winograd_takes_the_addition_along() -> None:
    builder, value = block(kernel=3, size=16)
    module = builder.finish(value)
    changed = passed(module, "select-kernels,fuse-residual,size-im2col{slack=100},widen-weights{gain=0 growth=400 slack=200},plan-memory")
    kernels = [decode_kernel(call.kernel) for call in calls(changed) if call.fused is not None]
    assert [type(spec) for spec in kernels] == [WinogradSpec]
    inputs = random_inputs(module)
    assert np.array_equal(evaluate_schedule(module, changed, inputs, Profile.LITERT)[0], evaluate(module, inputs, Profile.LITERT)[0])


def test_nothing_is_found_twice() -> None:
    builder, value = block()
    changed = passed(builder.finish(value), "select-kernels,fuse-residual")
    assert list(residuals(changed)) == []
    assert all(spec.addition is None or call.fused for call in calls(changed) if isinstance(spec := decode_kernel(call.kernel), ConvSpec))
