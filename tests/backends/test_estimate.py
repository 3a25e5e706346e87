"""What schedules are compared by, against profiles: rows of any width of depthwise convolutions, and additions in every place."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdsl.dialects.builtin import ModuleOp

from support.network_builder import NetworkBuilder
from tinyc.backends.cortexm.estimate import call_cost, core_of, seen_rows
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.add import AddSpec
from tinyc.backends.cortexm.kernels.base import KernelSpec
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.kernels.costs import ADDING
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseSpec
from tinyc.backends.cortexm.kernels.output_stage import OutputForm
from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.driver.compile import compile_module
from tinyc.driver.pipeline import CompileOptions, default_pipeline
from tinyc.driver.write import write_build
from tinyc.ir.mcu import CallOp, row_shape
from tinyc.ir.schedule import steps_of
from tinyc.memory.row_access import RowAccess
from tinyc.profile import profile_build
from tinyc.runners import random_inputs, read_description
from tinyc.targets import load_target

CORES = [CoreForm.CORTEX_M4, CoreForm.CORTEX_M7]
needs_profile = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or importlib.util.find_spec("unicorn") is None, reason="needs arm-none-eabi-gcc and unicorn"
)


def measured(module: ModuleOp, core: CoreForm, folder: Path, *left_out: str) -> Iterator[tuple[CallOp, KernelSpec, float, int]]:
    """Every call with its kernel, what it is estimated to cost and what it costs, compiled without streams and some other passes."""
    text = default_pipeline(CompileOptions(core=core.value))
    for name in ("stream-rows", *left_out):
        text = text.replace(f",{name},", ",")
    network = compile_module(module, "network", load_target(core.value), CompileOptions(measure=False, core=core.value, passes=text))
    write_build(network.files, folder)
    layers = profile_build(folder, random_inputs(read_description(folder), 1, 0)).layers[1:]
    assert core_of(network.module) is core
    calls = [call for step in steps_of(network.module) for call in step.calls]
    for call, layer in zip(calls, layers, strict=True):
        cost = layer.instructions if core is CoreForm.CORTEX_M4 else layer.estimated_cycles
        yield call, decode_kernel(call.kernel), call_cost(call, core), cost


@needs_profile
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("in_place", [False, True])
def test_depthwise_rows_of_any_width_cost_what_a_profile_says(core: CoreForm, in_place: bool, tmp_path: Path) -> None:
    builder = NetworkBuilder(1)
    outputs = []
    for width, channels, taps in ((2, 12, 3), (4, 8, 3), (7, 7, 3), (12, 8, 3), (24, 4, 3), (9, 8, 5)):
        image = builder.input((1, 6, width, channels))
        # The input of the network is not there to be overwritten.
        image = builder.conv(image, channels) if in_place else image
        outputs.append(builder.depthwise(image, (taps, taps), pads=(taps // 2,) * 4))
    if not in_place:
        outputs.append(builder.depthwise(builder.input((1, 6, 4, 8)), pads=(1, 0, 1, 0)))
    calls = measured(builder.finish(*outputs), core, tmp_path / "build", *([] if in_place else ["depthwise-in-place"]))
    kind = DepthwiseInPlaceSpec if in_place else DepthwiseSpec
    found = [(spec, estimate, cost) for _, spec, estimate, cost in calls if isinstance(spec, kind)]
    assert len(found) >= 5
    for spec, estimate, cost in found:
        # How many channels have no proof, no kernel knows; in random layers many have none.
        proved = spec.output_stage.form is OutputForm.INTEGER
        assert estimate == pytest.approx(cost, rel=0.12 if proved else 0.25), spec
    assert sum(estimate for _, estimate, _ in found) == pytest.approx(sum(cost for *_, cost in found), rel=0.07)


def additions(clamp: tuple[int, int]) -> ModuleOp:
    """Convolutions of several sizes, each behind an addition's other operand."""
    builder = NetworkBuilder(3)
    outputs = []
    for width, depth, channels, taps in ((8, 16, 16, 1), (12, 32, 16, 1), (16, 16, 8, 3), (7, 8, 24, 3)):
        image, other = builder.input((1, 6, width, depth)), builder.input((1, 6, width, channels))
        own = builder.conv(image, channels, (taps, taps), pads=(taps // 2,) * 4)
        # A round ratio of scales would have ties, and no proof.
        outputs.append(builder.add(own, other, clamp, scale=0.0546))
    return builder.finish(*outputs)


@needs_profile
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("clamp", [(-128, 127), (-100, 100)])
def test_additions_cost_what_profiles_with_and_without_them_say(core: CoreForm, clamp: tuple[int, int], tmp_path: Path) -> None:
    plain_kernels = "widen-weights", "share-code"
    fused = list(measured(additions(clamp), core, tmp_path / "fused", *plain_kernels))
    alone = list(measured(additions(clamp), core, tmp_path / "alone", "fuse-residual", *plain_kernels))
    kinds = [spec for _, spec, _, _ in fused if isinstance(spec, ConvSpec)]
    assert len(kinds) == len(fused)
    assert all(spec.addition is not None for spec in kinds)
    plain = [entry for entry in alone if isinstance(entry[1], ConvSpec)]
    added = [entry[3] - former[3] for entry, former in zip(fused, plain, strict=True)]
    told = [entry[2] - former[2] for entry, former in zip(fused, plain, strict=True)]
    assert sum(told) == pytest.approx(sum(added), rel=0.15)
    costs, apart = ADDING[core], [entry for entry in alone if isinstance(entry[1], AddSpec)]
    value = costs.alone + (0 if clamp == (-128, 127) else costs.bounded)
    sizes = [row_shape(call.output) for call, *_ in apart]
    assert sum(rows * (value * row_bytes + costs.row) for rows, row_bytes in sizes) == pytest.approx(
        sum(cost for *_, cost in apart), rel=0.05
    )


def test_rows_beyond_the_image_are_not_gathered() -> None:
    assert seen_rows(RowAccess(3, 1, 1, 1), 6, 6) == 6 * 3 - 2
    assert seen_rows(RowAccess(3, 2, 1, 0), 3, 7) == 9
    assert seen_rows(RowAccess(3, 1, 2, 2), 4, 4) == 4 + 2 + 2
