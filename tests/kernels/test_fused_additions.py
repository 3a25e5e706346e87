"""Convolutions that add another tensor to their outputs: against the convolution's outputs and the numerics' addition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kernels import test_conv, test_winograd
from support.kernel_harness import Case
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.kernels.output_stage import OutputForm
from tinyc.backends.cortexm.kernels.residual import USUAL_SHIFT, FusedAddition, fused_addition
from tinyc.backends.cortexm.kernels.winograd import WinogradSpec
from tinyc.numerics.addition import AdditionPlan, addition_plan
from tinyc.numerics.profile import Profile

BOUNDS = ((-128, 127), (-128, 127), (-20, 127), (-128, 60))


def random_plan(random: np.random.Generator, profile: Profile) -> AdditionPlan:
    scales = [float(np.float32(2.0 ** random.uniform(-6, -3))) for _ in range(3)]
    zero_points = [int(random.integers(-128, 128)) for _ in range(3)]
    signs = (1, 1) if random.random() < 0.8 else (1, -1)
    bounds = BOUNDS[int(random.integers(len(BOUNDS)))]
    return addition_plan(profile, (scales[0], scales[1]), (zero_points[0], zero_points[1]), scales[2], zero_points[2], *bounds, signs)


def with_addition(random: np.random.Generator, profile: Profile, case: Case) -> Case:
    """`case` with a random addition to its outputs, of which a proof exists."""
    while True:
        plan, first = random_plan(random, profile), bool(random.random() < 0.5)
        fused = fused_addition(plan, first)
        if fused is not None:
            break
    addition, table = fused
    residual = random.integers(-128, 128, case.expected.shape).astype(np.int8)
    own = case.expected.astype(np.int8)
    expected = plan.apply(own, residual) if first else plan.apply(residual, own)
    spec: Any = replace(case.spec, addition=addition)  # type: ignore[type-var]
    if isinstance(spec, ConvSpec) and addition.clamped_by_saturation and random.random() < (0.8 if spec.shares_code else 0.4):
        spec = replace(spec, adds_apart=True)
    return Case(spec, (*case.tables, table), case.inputs, expected, residual=residual, coinciding=bool(random.random() < 0.5))


def random_cases(seed: int, count: int) -> list[Case]:
    random = np.random.default_rng(seed)
    profiles = (Profile.LITERT, Profile.TFLM)
    makers = (test_conv.random_case, test_conv.random_case, test_winograd.random_case)
    cases = []
    for index in range(count):
        profile = profiles[index % 2]
        # Proofs are rare for the rules of `tflm`; which rule the sum follows does not matter to the kernel.
        cases.append(with_addition(random, Profile.LITERT, makers[index % 3](random, profile)))
    return cases


def test_random_cases_cover_every_form() -> None:
    cases = [case for seed, count in ((0, 60), (1, 60), (104, 80), (107, 80)) for case in random_cases(seed, count)]
    specs: list[Any] = [case.spec for case in cases]
    convolutions = [spec for spec in specs if isinstance(spec, ConvSpec)]
    assert {spec.output_stage.form for spec in convolutions} == set(OutputForm)
    assert {(spec.hoisted, spec.adds_apart) for spec in convolutions} == {(left, right) for left in (0, 1) for right in (0, 1)}
    assert {(spec.shares_code, spec.adds_apart) for spec in convolutions} == {(left, right) for left in (0, 1) for right in (0, 1)}
    assert {spec.output_rows for spec in specs if isinstance(spec, WinogradSpec)} == {1, 2}
    assert {spec.addition.clamped_by_saturation for spec in specs} == {False, True}
    assert {case.coinciding for case in cases} == {False, True}
    assert any(spec.output_channels % 2 for spec in convolutions)
    assert {spec.tile_channels for spec in convolutions} == {2, 4}


@pytest.mark.parametrize("profile", [Profile.LITERT, Profile.TFLM])
def test_the_constants_give_the_plan_on_all_pairs(profile: Profile) -> None:
    random = np.random.default_rng(5)
    values = np.arange(-128, 128)
    own, other = values[:, None], values[None, :]
    shifts = []
    for _ in range(12):
        plan = random_plan(random, profile)
        for first in (True, False):
            fused = fused_addition(plan, first)
            if fused is None:
                continue
            addition, table = fused
            entry = table.values[0]
            sums = (entry["bias"].astype(np.int64) + own * int(entry["own"]) + other * int(entry["other"])) >> addition.shift
            expected = plan.apply(own, other) if first else plan.apply(other, own)
            assert np.array_equal(np.clip(sums, addition.minimum, addition.maximum), expected)
            assert entry["shift"] == addition.shift
            shifts.append(addition.shift)
    assert profile is Profile.TFLM or shifts.count(USUAL_SHIFT) > len(shifts) // 2


def test_outputs_in_planes_have_no_addition() -> None:
    spec = next(case.spec for case in random_cases(0, 6) if isinstance(case.spec, ConvSpec) and not case.spec.shares_code)
    pitch = spec.output_width // 2 + 1
    with pytest.raises(ValueError, match="planes"):
        replace(spec, plane_words=3 * pitch, plane_pitch=pitch, adds_apart=False)


def test_an_addition_with_bounds_of_its_own_is_not_made_apart() -> None:
    spec = next(case.spec for case in random_cases(0, 6) if isinstance(case.spec, ConvSpec))
    with pytest.raises(ValueError, match="apart"):
        replace(spec, addition=FusedAddition(20, -5, 127), adds_apart=True)
