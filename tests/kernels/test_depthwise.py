"""Depthwise bodies, row by row and in place, against a numpy accumulator and the numerics' requantisation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from support.kernel_harness import Case, check_in_qemu, missing_tools
from support.requantizations import random_requantization
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseSpec, pack
from tinyc.backends.cortexm.kernels.depthwise_tile import plan_tile, weight_layout, weight_words
from tinyc.backends.cortexm.kernels.output_stage import OutputForm, plan_output_stage
from tinyc.numerics.profile import Profile

Int8 = npt.NDArray[np.int8]


def accumulate(
    rows: list[Int8 | None], weights: Int8, multiplier: int, zero_point: int, width: int, stride: int, dilation: int, pad: int
) -> npt.NDArray[np.int64]:
    """Accumulators (width, C) of one output row from the rows under the kernel, None being padding."""
    _, height, kernel_width, channels = weights.shape
    result = np.zeros((width, channels), dtype=np.int64)
    for y in range(height):
        row = rows[y]
        if row is None:
            continue
        for x in range(width):
            for k in range(kernel_width):
                column = x * stride + k * dilation - pad
                if 0 <= column < row.shape[0]:
                    values = np.repeat(row[column].astype(np.int64), multiplier) - zero_point
                    result[x] += weights[0, y, k] * values
    return result


def random_values(random: np.random.Generator, shape: tuple[int, ...], extreme: bool, least: int) -> Int8:
    return random.choice([least, 127] if extreme else list(range(least, 128)), shape).astype(np.int8)


def random_row_case(random: np.random.Generator, profile: Profile) -> Case:
    kernel_height, kernel_width = (int(v) for v in random.choice([1, 2, 3, 3, 4, 5, 7, 9], 2))
    stride, dilation = int(random.choice([1, 1, 2, 2, 3])), int(random.choice([1, 1, 1, 2, 3]))
    channels, multiplier = int(random.choice([1, 2, 3, 4, 5, 7, 8])), int(random.choice([1, 1, 1, 2, 3]))
    pad = int(random.integers(0, (kernel_width - 1) * dilation + 1))
    output_width = int(random.integers(1, 14))
    span = (kernel_width - 1) * dilation + 1
    input_width = max(1, (output_width - 1) * stride + span - pad - int(random.integers(-2, span)))
    zero_point = int(random.choice([-128, 127, 0, int(random.integers(-128, 128))]))
    extreme = random.random() < 0.2
    weights = random_values(random, (1, kernel_height, kernel_width, channels * multiplier), extreme, -127)
    rows: list[Int8 | None] = [
        None if random.random() < 0.2 else random_values(random, (input_width, channels), extreme, -128) for _ in range(kernel_height)
    ]
    bias = random.integers(-3000, 3000, channels * multiplier).astype(np.int32) if random.random() < 0.8 else None
    sums = accumulate(rows, weights, multiplier, zero_point, output_width, stride, dilation, pad) + (0 if bias is None else bias)
    requantization = random_requantization(random, profile, sums, coarse=random.random() < 0.15)
    matrix = weights[0].reshape(-1, channels * multiplier).T
    stage = plan_output_stage(requantization, matrix, bias, zero_point, integer=random.random() < 0.7)
    stage = replace(stage, compact=random.random() < 0.3)
    spec = DepthwiseSpec(
        stage,
        input_width,
        output_width,
        channels,
        multiplier,
        kernel_height,
        kernel_width,
        zero_point,
        stride,
        dilation,
        pad,
        int(random.choice([1, 2, 4, 4])),
    )
    return Case(spec, pack(spec, weights, bias, requantization), rows, requantization.apply(sums))


def random_in_place_case(random: np.random.Generator, profile: Profile) -> Case:
    kernel_height, kernel_width = (int(v) for v in random.choice([1, 2, 3, 3, 5, 7], 2))
    dilation = int(random.choice([1, 1, 1, 2]))
    height, width = (int(v) for v in random.choice([1, 2, 3, 5, 6, 7, 8, 11], 2))
    channels = int(random.choice([1, 2, 3, 4, 5, 7, 8]))
    pad_top, pad_left = int(random.integers(0, kernel_height)), int(random.integers(0, (kernel_width - 1) * dilation + 1))
    zero_point = int(random.choice([-128, 127, 0, int(random.integers(-128, 128))]))
    extreme = random.random() < 0.2
    weights = random_values(random, (1, kernel_height, kernel_width, channels), extreme, -127)
    tensor = random_values(random, (height, width, channels), extreme, -128)
    bias = random.integers(-3000, 3000, channels).astype(np.int32) if random.random() < 0.8 else None
    outputs = []
    for y in range(height):
        under = [tensor[r] if 0 <= r < height else None for r in range(y - pad_top, y - pad_top + kernel_height)]
        outputs.append(accumulate(under, weights, 1, zero_point, width, 1, dilation, pad_left))
    sums = np.stack(outputs) + (0 if bias is None else bias)
    requantization = random_requantization(random, profile, sums, coarse=random.random() < 0.15)
    stage = plan_output_stage(requantization, weights[0].reshape(-1, channels).T, bias, zero_point, integer=random.random() < 0.7)
    spec = DepthwiseInPlaceSpec(
        stage,
        width,
        width,
        channels,
        1,
        kernel_height,
        kernel_width,
        zero_point,
        dilation_width=dilation,
        pad_left=pad_left,
        together=int(random.choice([1, 2, 4, 4])),
        height=height,
        pad_top=pad_top,
    )
    return Case(spec, pack(spec, weights, bias, requantization), tensor, requantization.apply(sums))


def random_cases(seed: int, count: int) -> list[Case]:
    random = np.random.default_rng(seed)
    cases = []
    for index in range(count):
        make = random_row_case if index % 4 < 2 else random_in_place_case
        cases.append(make(random, Profile.LITERT if index % 2 else Profile.TFLM))
    return cases


TOOLS = missing_tools("arm-none-eabi-gcc", "qemu-system-arm")


@pytest.mark.skipif(bool(TOOLS), reason=str(TOOLS))
def test_rows_too_wide_for_the_offset_of_a_double_load_work(tmp_path: Path) -> None:
    random = np.random.default_rng(9)
    weights = random_values(random, (1, 3, 3, 2), False, -127)
    rows: list[Int8 | None] = [random_values(random, (224, 2), False, -128) for _ in range(3)]
    sums = accumulate(rows, weights, 1, 5, 224, 1, 1, 1)
    requantization = random_requantization(random, Profile.LITERT, sums)
    stage = plan_output_stage(requantization, weights[0].reshape(-1, 2).T, None, 5)
    spec = DepthwiseSpec(stage, 224, 224, 2, 1, 3, 3, 5, pad_left=1)
    check_in_qemu([Case(spec, pack(spec, weights, None, requantization), rows, requantization.apply(sums))], tmp_path, "cortex-m4")


def test_random_cases_cover_every_output_form() -> None:
    specs = [case.spec for case in random_cases(0, 60) + random_cases(1, 60)]
    assert {spec.output_stage.form for spec in specs if isinstance(spec, DepthwiseSpec)} == set(OutputForm)
    assert {spec.output_stage.form for spec in specs if isinstance(spec, DepthwiseInPlaceSpec)} == set(OutputForm)


@pytest.mark.parametrize(("kernel_width", "stride", "words"), [(3, 1, 2), (5, 1, 4), (7, 1, 6), (3, 2, 2), (5, 2, 4), (7, 2, 4), (1, 1, 2)])
def test_weight_words_per_kernel_row_are_few(kernel_width: int, stride: int, words: int) -> None:
    assert len(weight_words(kernel_width, stride, 1)) == words


@pytest.mark.parametrize(("kernel_width", "stride", "size"), [(3, 1, 4), (5, 1, 6), (7, 1, 8), (3, 2, 3), (5, 2, 5), (7, 2, 7), (1, 1, 1)])
def test_a_row_of_weights_takes_few_bytes(kernel_width: int, stride: int, size: int) -> None:
    assert len(weight_layout(kernel_width, stride, 1).taps) == size


@pytest.mark.parametrize("kernel_width", range(1, 12))
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_loading_words_where_the_layout_says_gives_its_pairs(kernel_width: int, stride: int, dilation: int) -> None:
    layout = weight_layout(kernel_width, stride, dilation)
    assert len(layout.pairs) == 2 * len(layout.offsets)
    row = [*layout.taps, *layout.taps, *layout.taps, None]
    for number, offset in enumerate(layout.offsets):
        assert offset + 4 <= len(layout.taps) + 3
        for half, pair in enumerate(layout.pairs[2 * number : 2 * number + 2]):
            found = row[offset + half], row[offset + half + 2]
            assert all(wanted is None or wanted == tap for wanted, tap in zip(pair, found, strict=True))


@pytest.mark.parametrize("kernel_width", range(1, 10))
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_a_tile_multiplies_every_tap_of_every_output_once(kernel_width: int, stride: int, dilation: int) -> None:
    words = weight_words(kernel_width, stride, dilation)
    seen = []
    for product in plan_tile(4, kernel_width, stride, dilation).products:
        halves = [(0, 0), (1, 1)] if product.kind == "2" else [("LH".index(product.kind[0]), "LH".index(product.kind[1]))]
        for data, weight in halves:
            tap = words[product.weight][weight]
            assert tap is not None
            assert 2 * product.data + data == product.output * stride + tap * dilation
            seen.append((product.output, tap))
    assert sorted(seen) == [(output, tap) for output in range(4) for tap in range(kernel_width)]


def test_in_place_refuses_a_stride() -> None:
    spec = random_row_case(np.random.default_rng(1), Profile.LITERT).spec
    assert isinstance(spec, DepthwiseSpec)
    with pytest.raises(ValueError, match="stride 1"):
        DepthwiseInPlaceSpec(spec.output_stage, 8, 4, 2, 1, 3, 3, 0, stride_width=2, height=8)
