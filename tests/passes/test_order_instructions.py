"""order-instructions: every kernel that has a form for a core gets it, and only where it is asked for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from xdsl.dialects.builtin import ModuleOp

from support.network_builder import NetworkBuilder
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.driver.pipeline import CompileOptions, core_form, default_pipeline
from tinyc.errors import UsageError
from tinyc.ir.schedule import steps_of
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes
from tinyc.targets import load_target


def network() -> ModuleOp:
    builder = NetworkBuilder(5)
    image = builder.input((1, 12, 12, 4))
    hidden = builder.conv(image, 8, (3, 3), (1, 1), pads=(1, 1, 1, 1))
    return builder.finish(builder.pool(builder.conv(hidden, 6, (1, 1), (1, 1), pads=(0, 0, 0, 0)), False, (2, 2), (2, 2)))


def forms(passes: str) -> list[CoreForm | None]:
    module = network()
    run_passes(module, parse_passes(passes))
    module.verify()
    specs: list[Any] = [decode_kernel(call.kernel) for step in steps_of(module) for call in step.calls]
    return [spec.core if any(field.name == "core" for field in dataclasses.fields(spec)) else None for spec in specs]


def test_all_kernels_that_have_a_form_get_it_and_others_stay() -> None:
    assert forms("select-kernels,order-instructions{core=cortex-m7}") == [CoreForm.CORTEX_M7, CoreForm.CORTEX_M7, None]
    assert forms("select-kernels,order-instructions{core=cortex-m7},order-instructions") == [CoreForm.CORTEX_M4, CoreForm.CORTEX_M4, None]


def test_the_form_survives_the_passes_behind_it() -> None:
    pipeline = default_pipeline(CompileOptions(core="cortex-m7"))
    assert set(forms(pipeline[pipeline.index("select-kernels") :])) == {CoreForm.CORTEX_M7, None}


@pytest.mark.parametrize(
    ("target", "core"), [("cortex-m4", "cortex-m4"), ("stm32f412", "cortex-m4"), ("stm32h743", "cortex-m7"), ("host", "cortex-m4")]
)
def test_the_core_of_the_target_decides(target: str, core: str) -> None:
    assert core_form(load_target(target)) == core
    assert ("order-instructions" in default_pipeline(CompileOptions(core=core))) == (core == "cortex-m7")


def test_a_core_without_a_form_is_refused() -> None:
    with pytest.raises(UsageError, match="core must be one of cortex-m4, cortex-m7, got cortex-a8"):
        forms("select-kernels,order-instructions{core=cortex-a8}")
