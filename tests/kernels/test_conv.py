"""Convolution bodies against a numpy accumulator and the numerics' requantisation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from support.kernel_harness import CORES, Case, check_in_qemu, check_on_host, missing_tools
from support.requantizations import random_requantization
from tinyc.backends.cortexm.kernels.conv import FEW_COLUMNS, ConvSpec, pack
from tinyc.backends.cortexm.kernels.output_stage import OutputForm, plan_output_stage
from tinyc.numerics.profile import Profile


def accumulate(
    rows: list[npt.NDArray[np.int8] | None],
    weights: npt.NDArray[np.int8],
    zero_point: int,
    width: int,
    stride: int,
    dilation: int,
    pad: int,
) -> npt.NDArray[np.int64]:
    """Accumulators (width, O) of one output row from the rows under the kernel, None being padding."""
    channels, _, kernel_width, _ = weights.shape
    result = np.zeros((width, channels), dtype=np.int64)
    for y, row in enumerate(rows):
        if row is None:
            continue
        for x in range(width):
            for k in range(kernel_width):
                column = x * stride + k * dilation - pad
                if 0 <= column < row.shape[0]:
                    result[x] += weights[:, y, k].astype(np.int64) @ (row[column].astype(np.int64) - zero_point)
    return result


def random_case(random: np.random.Generator, profile: Profile) -> Case:
    kernel_height, kernel_width = (int(v) for v in random.choice([1, 1, 2, 3, 3, 4, 5], 2))
    stride, dilation = int(random.choice([1, 1, 2, 3])), int(random.choice([1, 1, 1, 2, 3]))
    depth, channels = int(random.choice([1, 2, 3, 4, 5, 7, 8, 11, 16, 30])), int(random.choice([1, 2, 3, 4, 7, 8, 12]))
    pad = int(random.integers(0, kernel_width * dilation))
    output_width = int(random.choice([*range(1, 10), 11, 13, 16, 18, 24, 25]))
    span = (kernel_width - 1) * dilation + 1
    # Anything from an input narrower than the kernel to one with columns that no output needs.
    input_width = max(1, (output_width - 1) * stride + span - pad - int(random.integers(-2, span)))
    if random.random() < 0.25:
        kernel_height = kernel_width = stride = dilation = 1
        pad, input_width = 0, output_width
    zero_point = int(random.choice([-128, 127, 0, int(random.integers(-128, 128))]))
    extreme = random.random() < 0.2
    values = [-128, 127] if extreme else list(range(-128, 128))
    weights = random.choice([-127, 127] if extreme else list(range(-127, 128)), (channels, kernel_height, kernel_width, depth)).astype(
        np.int8
    )
    rows: list[npt.NDArray[np.int8] | None] = [random.choice(values, (input_width, depth)).astype(np.int8) for _ in range(kernel_height)]
    direct = kernel_height == kernel_width == stride == 1 and pad == 0 and input_width == output_width
    for y in range(kernel_height):
        if not direct and random.random() < 0.2:
            rows[y] = None
    bias = random.integers(-3000, 3000, channels).astype(np.int32) if random.random() < 0.8 else None
    accumulators = accumulate(rows, weights, zero_point, output_width, stride, dilation, pad) + (0 if bias is None else bias)
    requantization = random_requantization(random, profile, accumulators, coarse=random.random() < 0.15)
    stage = plan_output_stage(requantization, weights.reshape(channels, -1), bias, zero_point, integer=random.random() < 0.7)
    stage = replace(stage, compact=random.random() < 0.3)
    spec = ConvSpec(
        stage,
        input_width,
        depth,
        output_width,
        channels,
        kernel_height,
        kernel_width,
        zero_point,
        stride,
        dilation,
        pad,
        int(random.choice([1, 2, 3, 4, 8, 8, 12, output_width])),
        weights_are_wide=random.random() < 0.3,
    )
    assert spec.direct == direct
    if channels % 4 == 0 and spec.columns <= FEW_COLUMNS and random.random() < 0.9:
        spec = replace(spec, tile_channels=4)
    if spec.hoisted and random.random() < 0.5:
        spec = replace(spec, shares_code=True)
    inputs = rows[0] if direct else rows
    assert inputs is not None
    return Case(spec, pack(spec, weights, bias, requantization), inputs, requantization.apply(accumulators))


def random_cases(seed: int, count: int) -> list[Case]:
    random = np.random.default_rng(seed)
    return [random_case(random, Profile.LITERT if index % 2 else Profile.TFLM) for index in range(count)]


TOOLS = missing_tools("arm-none-eabi-gcc", "qemu-system-arm")


def test_random_cases_cover_every_output_form_and_both_variants() -> None:
    cases = random_cases(0, 60) + random_cases(1, 60)
    specs = [case.spec for case in cases if isinstance(case.spec, ConvSpec)]
    assert {spec.output_stage.form for spec in specs} == set(OutputForm)
    assert {spec.direct for spec in specs} == {False, True}
    assert {(spec.hoisted, spec.weights_are_wide) for spec in specs} == {(False, False), (True, False), (False, True)}
    assert {sum(times for times, _ in spec.passes) for spec in specs if spec.hoisted} >= {1, 2, 3}


def test_random_cases_cover_tiles_of_four_channels() -> None:
    specs = [case.spec for case in random_cases(0, 60) + random_cases(1, 60) if isinstance(case.spec, ConvSpec)]
    found = {(spec.tile_columns, spec.weights_are_wide) for spec in specs if spec.tile_channels == 4}
    assert found == {(1, False), (1, True), (2, False), (2, True)}


def mixed_case(shares_code: bool, compact: bool, channels: int) -> Case:
    """A pointwise convolution of which some channels have no proof."""
    random = np.random.default_rng(12)
    weights = random.integers(-127, 128, (channels, 1, 1, 300)).astype(np.int8)
    row = random.integers(-128, 128, (19, 300)).astype(np.int8)
    accumulators = accumulate([row], weights, 7, 19, 1, 1, 0)
    requantization = random_requantization(random, Profile.LITERT, accumulators)
    stage = plan_output_stage(requantization, weights.reshape(channels, -1), None, 7)
    assert stage.form is OutputForm.MIXED
    spec = ConvSpec(replace(stage, compact=compact), 19, 300, 19, channels, 1, 1, 7, columns=8, shares_code=shares_code)
    return Case(spec, pack(spec, weights, None, requantization), row, requantization.apply(accumulators))


MIXED = [mixed_case(shares_code, compact, channels) for shares_code in (False, True) for compact in (False, True) for channels in (90, 91)]


@pytest.mark.skipif(bool(missing_tools("gcc")), reason=str(missing_tools("gcc")))
@pytest.mark.parametrize("core", CORES)
def test_channels_without_a_proof_are_exact_in_every_form_of_plain_c(core: str, tmp_path: Path) -> None:
    check_on_host(MIXED, tmp_path, core=core)


@pytest.mark.skipif(bool(TOOLS), reason=str(TOOLS))
@pytest.mark.parametrize("core", CORES)
def test_channels_without_a_proof_are_exact_in_every_form_of_dsp_code(core: str, tmp_path: Path) -> None:
    check_in_qemu(MIXED, tmp_path, core)


def test_random_cases_cover_shared_code() -> None:
    specs = [case.spec for case in random_cases(0, 60) + random_cases(1, 60) if isinstance(case.spec, ConvSpec)]
    assert {spec.direct for spec in specs if spec.shares_code} == {False, True}


def test_code_for_tiles_one_by_one_cannot_be_shared() -> None:
    spec = next(case.spec for case in random_cases(0, 60) if isinstance(case.spec, ConvSpec) and not case.spec.hoisted)
    with pytest.raises(ValueError, match="share"):
        replace(spec, shares_code=True)


def test_scratch_grows_with_columns_and_covers_the_patches() -> None:
    random = np.random.default_rng(3)
    stage = random_case(random, Profile.LITERT).spec
    assert isinstance(stage, ConvSpec)
    sizes = [ConvSpec(stage.output_stage, 16, 8, 16, 8, 3, 3, 0, pad_left=1, columns=columns).scratch_bytes for columns in (1, 2, 3, 4)]
    assert sizes == [2 * 72 * columns + 24 for columns in (1, 2, 3, 4)]


def test_weights_of_another_shape_are_refused() -> None:
    case = random_case(np.random.default_rng(4), Profile.LITERT)
    requantization = random_requantization(np.random.default_rng(5), Profile.LITERT, np.ones((1, 3)))
    assert isinstance(case.spec, ConvSpec)
    with pytest.raises(ValueError, match="shape"):
        pack(case.spec, np.zeros((3, 9, 9, 3), np.int8), None, requantization)


@pytest.mark.skipif(bool(missing_tools("gcc")), reason=str(missing_tools("gcc")))
@pytest.mark.parametrize(("width", "columns"), [(16, 8), (24, 8), (25, 8), (27, 12), (26, 26)])
def test_every_division_of_a_row_into_passes_and_tiles_gives_the_same_outputs(width: int, columns: int, tmp_path: Path) -> None:
    random = np.random.default_rng(width * columns)
    weights = random.integers(-127, 128, (3, 3, 3, 5)).astype(np.int8)
    rows: list[npt.NDArray[np.int8] | None] = [random.integers(-128, 128, (width, 5)).astype(np.int8) for _ in range(3)]
    accumulators = accumulate(rows, weights, 3, width, 1, 1, 1)
    requantization = random_requantization(random, Profile.LITERT, accumulators)
    stage = plan_output_stage(requantization, weights.reshape(3, -1), None, 3)
    spec = ConvSpec(stage, width, 5, width, 3, 3, 3, 3, pad_left=1, columns=columns)
    assert spec.hoisted
    check_on_host([Case(spec, pack(spec, weights, None, requantization), rows, requantization.apply(accumulators))], tmp_path)


def test_columns_that_leave_tiles_half_filled_in_the_middle_of_a_row_are_refused() -> None:
    stage = random_case(np.random.default_rng(6), Profile.LITERT).spec
    assert isinstance(stage, ConvSpec)
    with pytest.raises(ValueError, match="columns"):
        ConvSpec(stage.output_stage, 16, 8, 16, 8, 3, 3, 0, pad_left=1, columns=6)
