"""Kernels whose sizes are arguments give what specialised ones give, over the same random layers, and stay inside their buffers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from kernels import test_conv, test_depthwise, test_fully_connected
from support.kernel_harness import Case
from tinyc.backends.cortexm.kernels import conv
from tinyc.backends.cortexm.kernels.base import KernelSpec, Table
from tinyc.backends.cortexm.kernels.compact import (
    CompactConvSpec,
    CompactDepthwiseSpec,
    CompactFullyConnectedSpec,
    compact_channels,
    pack_conv,
)
from tinyc.backends.cortexm.kernels.conv import ConvSpec
from tinyc.backends.cortexm.kernels.depthwise import DepthwiseInPlaceSpec, DepthwiseSpec
from tinyc.backends.cortexm.kernels.fully_connected import FullyConnectedReductionSpec, FullyConnectedSpec
from tinyc.backends.cortexm.kernels.output_stage import OutputForm, OutputStage


def narrow(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Int8 weights from a table of int16 ones: what `widen` was given."""
    pairs = values.astype("<u4").view("<i2").reshape(-1, 2, 2).swapaxes(1, 2).astype(np.int8)
    return np.ascontiguousarray(pairs).reshape(-1).view("<u4").astype(np.uint32)


def compact_case(case: Case, fixed_point: bool) -> Case:
    spec = case.spec
    weights, channels = case.tables
    stage: OutputStage = spec.output_stage  # type: ignore[attr-defined]
    changed: KernelSpec
    if isinstance(spec, ConvSpec):
        packed = narrow(weights.values) if spec.weights_are_wide else weights.values
        if spec.tile_channels == 4:
            packed = np.ascontiguousarray(packed.reshape(-1, len(spec.pairs), 2).swapaxes(1, 2)).reshape(-1)
        plain = replace(spec, columns=4, weights_are_wide=False, shares_code=False, tile_channels=2)
        changed = CompactConvSpec(fixed_point, plain)
        weights = Table("weights", "uint32_t", pack_conv(changed, conv.unpack(plain, packed)))
    elif isinstance(spec, (DepthwiseSpec, DepthwiseInPlaceSpec)):
        changed = CompactDepthwiseSpec(fixed_point, replace(spec, together=4))
    else:
        assert isinstance(spec, (FullyConnectedSpec, FullyConnectedReductionSpec))
        changed = CompactFullyConnectedSpec(fixed_point, spec)
    return replace(case, spec=changed, tables=(weights, compact_channels(stage, channels)))


def random_cases(seed: int, count: int) -> list[Case]:
    """Layers of all kinds; tflm and litert take turns."""
    found = [
        *test_conv.random_cases(seed, count),
        *test_depthwise.random_cases(seed, count),
        *test_fully_connected.random_cases(seed, count),
    ]
    return [compact_case(case, index % 2 == 0) for index, case in enumerate(found)]


def test_random_cases_cover_every_output_form_and_every_kernel() -> None:
    specs = [case.spec for seed in range(2) for case in random_cases(seed, 24)]
    stages = {spec.stage.form for spec in specs if isinstance(spec, (CompactConvSpec, CompactDepthwiseSpec, CompactFullyConnectedSpec))}
    assert stages == set(OutputForm)
    assert {spec.direct for spec in specs if isinstance(spec, CompactConvSpec)} == {False, True}
    assert {spec.in_place for spec in specs if isinstance(spec, CompactDepthwiseSpec)} == {False, True}
    assert {spec.reduction for spec in specs if isinstance(spec, CompactFullyConnectedSpec)} == {False, True}


def test_sizes_that_the_structs_cannot_hold_are_refused() -> None:
    stage = OutputStage(OutputForm.FLOAT, 0, -128, 127)
    with pytest.raises(ValueError, match="sizes beyond 32767"):
        CompactConvSpec(False, ConvSpec(stage, 65539, 3, 65539, 8, 1, 1, 0))
