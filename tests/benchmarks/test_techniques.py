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


def dense() -> Model:
    """Convolutions of 3x3 and of 1x1 over an image of a few channels."""
    builder = NetworkBuilder(seed=4)
    value = builder.input((1, 16, 16, 16))
    for _ in range(2):
        value = builder.conv(value, 16, (3, 3), pads=(1, 1, 1, 1))
    return Model("dense", builder.finish(builder.conv(builder.conv(value, 32), 32)))


def blocks(pooled: bool, deep: tuple[int, ...]) -> Model:
    """Two inverted bottlenecks, then 1x1 convolutions, behind a pool over a few pixels."""
    builder = NetworkBuilder(seed=4)
    value = builder.input((1, 40, 40, 8))
    for wide in (48, 64):
        inside = builder.depthwise(builder.conv(value, wide, clamp=(0, 127)))
        value = builder.add(builder.conv(inside, 8), value)
    value = builder.pool(value, True, (8, 8), (8, 8)) if pooled else value
    for channels in deep:
        value = builder.conv(value, channels)
    return Model("blocks", builder.finish(value))


def test_every_switch_changes_the_c_of_some_network(techniques: ModuleType) -> None:
    default = default_pipeline(CompileOptions())
    unchanged = {technique.title for technique in techniques.TECHNIQUES}
    for model in (network(), dense(), blocks(False, (24, 40, 56)), blocks(True, (48, 64, 80, 96, 112, 128))):
        plain = model.compile("cortex-m4", measure=False).files
        for technique in techniques.TECHNIQUES:
            if technique.title in unchanged:
                with technique.applied():
                    passes = technique.pipeline(default)
                    files = model.compile("cortex-m4", measure=False, passes=passes, insertions=technique.insertions).files
                if files != plain:
                    unchanged.remove(technique.title)
    # A chain of operators has one order, and what streams leave whole here is not depthwise.
    assert unchanged <= {"order of operators", "in-place depthwise"}


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
