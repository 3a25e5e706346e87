"""compact-code: layers whose sizes are arguments compute what the interpreter does, also by the rules of fixed point in another profile."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from support.host_network import compile_for_host, needs_gcc, run_on_host
from support.network_builder import NetworkBuilder, random_inputs
from tinyc.backends.cortexm import lower_window
from tinyc.backends.cortexm.kernels.output_stage import plan_output_stage
from tinyc.driver.pipeline import CompileOptions, default_pipeline
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.dense import DenseAttr
from tinyc.numerics.profile import Profile
from tinyc.passes.rewriting import main_block

HOST = needs_gcc()
COMPACT = default_pipeline(CompileOptions(compact=True))


def network(negative: bool) -> ModuleOp:
    """All kinds of layers that have compact code; XNNPACK takes none whose weights have `negative` scales."""
    builder = NetworkBuilder(11)
    value = builder.conv(builder.input((1, 9, 7, 3)), 6, (3, 3), pads=(1, 1, 1, 1))
    value = builder.depthwise(value, clamp=(-20, 90))
    module = builder.finish(builder.fully_connected(builder.conv(value, 5), 4))
    for op in main_block(module).ops if negative else ():
        scales = op.properties.get("weight_scales")
        if isinstance(scales, DenseAttr):
            op.properties["weight_scales"] = DenseAttr.of(-scales.array)
    return module


@pytest.mark.skipif(HOST is not None, reason=HOST or "")
@pytest.mark.parametrize("proved", [True, False])
@pytest.mark.parametrize("negative", [False, True])
def test_compact_code_computes_what_the_interpreter_does(
    negative: bool, proved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lower_window, "plan_output_stage", partial(plan_output_stage, integer=proved))
    module = network(negative)
    compiled = compile_for_host(module, passes=COMPACT)
    text = compiled.files[f"{compiled.name}.c"]
    assert negative or "tinyc_store_fixed" not in text
    assert proved or not negative or "tinyc_store_fixed" in text
    (image,) = random_inputs(module)
    (found,) = run_on_host(compiled, tmp_path, [image])
    np.testing.assert_array_equal(found, evaluate(module, [image], Profile.LITERT)[0])
