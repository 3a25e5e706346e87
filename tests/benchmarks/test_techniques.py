"""The switches of benchmarks/ablation.py switch something, and nothing that changes results."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from support.network_builder import NetworkBuilder
from tinyc.api import Model
from tinyc.driver.pipeline import CompileOptions, default_pipeline
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.nn_elementwise import ClampOp
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def techniques() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("techniques")


def network() -> Model:
    """Two convolutions and a depthwise one with bounds tighter than int8's."""
    builder = NetworkBuilder(seed=4)
    value = builder.input((1, 24, 24, 4))
    value = builder.conv(value, 8, (3, 3), pads=(1, 1, 1, 1), clamp=(3, 100))
    value = builder.depthwise(value, clamp=(-20, 90))
    return Model("clamped", builder.finish(builder.conv(value, 6)))


def test_every_switch_changes_the_c(techniques: ModuleType) -> None:
    default = default_pipeline(CompileOptions())
    plain = network().compile("cortex-m4", measure=False).files
    unchanged = []
    for technique in techniques.TECHNIQUES:
        with technique.applied():
            files = network().compile("cortex-m4", measure=False, passes=technique.pipeline(default), insertions=technique.insertions).files
        if files == plain:
            unchanged.append(technique.title)
    # A chain of operators has one order, and a network this small leaves nothing to merge or to overlap.
    assert set(unchanged) <= {"order of operators", "several rows a call", "overlap", "in-place depthwise", "wide weights"}


def test_split_activations_keeps_results_and_leaves_bounds_to_ops_of_their_own(techniques: ModuleType) -> None:
    image = np.random.default_rng(1).integers(-128, 128, (1, 24, 24, 4)).astype(np.int8)
    module = network().module
    expected = evaluate(module, [image], Profile.LITERT)
    run_passes(module, [techniques.SplitActivations()])
    assert sum(isinstance(operation, ClampOp) for operation in module.walk()) == 2
    np.testing.assert_array_equal(evaluate(module, [image], Profile.LITERT)[0], expected[0])


def test_a_switch_for_a_pass_that_is_gone_is_an_error(techniques: ModuleType) -> None:
    with pytest.raises(KeyError, match="size-im2col"):
        techniques.Technique("x", "y", {"size-im2col": ""}).pipeline("select-kernels,plan-memory")
