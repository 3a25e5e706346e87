"""Random chains as streamed C in Unicorn, which forbids every byte outside the arena, against the interpreter's plain graph.

The arena holds garbage before each run, so a ring row that is read before it is written makes the result wrong.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.batch import run_networks
from support.network_builder import Network, random_inputs
from support.streamed_chains import causal_layers, chains
from tinyc.driver.compile import CompiledNetwork, compile_module
from tinyc.driver.pipeline import CompileOptions, default_pipeline
from tinyc.errors import UnsupportedError
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.mcu import BufferOp
from tinyc.ir.schedule import steps_of
from tinyc.numerics.profile import Profile
from tinyc.targets import load_target

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("arm-none-eabi-gcc", "gcc")), reason="needs arm-none-eabi-gcc and gcc"
)
pytest.importorskip("unicorn")

COUNT = int(os.environ.get("TINYC_STREAMED_CHAINS", "20"))
"""Chains for each way to stream; 1000 for the slow run, see docs/testing.md."""
BATCH = 50
BACKWARDS = "one layer backwards"
STRIPS, FIXED_POINT_STRIPS = "vertical strips", "vertical strips in fixed point"
WAYS = {
    "default": CompileOptions(measure=False),
    "long streams": CompileOptions(
        measure=False, passes=default_pipeline(CompileOptions()).replace(",stream-rows,", ",stream-rows{longest=30},")
    ),
    BACKWARDS: CompileOptions(measure=False),
    STRIPS: CompileOptions(measure=False, patches=True),
    FIXED_POINT_STRIPS: CompileOptions(Profile.TFLM, measure=False, patches=True, recompute=True, core="cortex-m7"),
    "pushed rows": CompileOptions(Profile.TFLM, measure=False, stream_input=True),
}


def drawn(networks: st.SearchStrategy[Network], count: int) -> list[Network]:
    """Up to `count` different ones, always the same."""
    found: dict[str, Network] = {}

    @settings(
        max_examples=3 * count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(networks)
    def draw(network: Network) -> None:
        # Hypothesis draws some networks more than once.
        if len(found) < count:
            found[repr(network)] = network

    draw()
    return list(found.values())


def streams_rows(network: CompiledNetwork) -> bool:
    return any(isinstance(op, BufferOp) and op.kind.data in ("ring", "input_ring") for op in network.module.ops)


def runs_backwards(network: CompiledNetwork) -> bool:
    return any(step.backwards is not None for step in steps_of(network.module))


def runs_in_strips(network: CompiledNetwork) -> bool:
    return any(call.part is not None for step in steps_of(network.module) for call in step.calls)


@pytest.mark.parametrize("way", WAYS)
def test_streamed_chains_compute_what_the_plain_graph_does_and_stay_in_the_arena(way: str, tmp_path: Path) -> None:
    options, compiled, streamed = WAYS[way], 0, 0
    what_counts = {BACKWARDS: runs_backwards, STRIPS: runs_in_strips, FIXED_POINT_STRIPS: runs_in_strips}.get(way, streams_rows)
    cases = drawn(causal_layers() if way == BACKWARDS else chains(most_columns=19, across=True), COUNT)
    for start in range(0, len(cases), BATCH):
        networks, inputs, expected = [], [], []
        for index, chain in enumerate(cases[start : start + BATCH]):
            try:
                network = compile_module(chain.module, f"c{index}", load_target("cortex-m4"), options)
            except UnsupportedError:
                # Not every network can take its input row by row.
                assert options.stream_input
                continue
            networks.append(network)
            image = random_inputs(chain.module, start + index)
            inputs += image
            expected.append(evaluate(chain.module, image, options.numerics))
        outputs = run_networks(networks, inputs, "unicorn", tmp_path)
        for network, wanted, found in zip(networks, expected, outputs, strict=True):
            np.testing.assert_array_equal(found[0], wanted[0], err_msg=f"chain {start} + {network.name}")
        compiled += len(networks)
        streamed += sum(map(what_counts, networks))
    assert len(cases) >= 0.9 * COUNT
    assert streamed >= {BACKWARDS: 0.3, STRIPS: 0.4, FIXED_POINT_STRIPS: 0.4}.get(way, 0.7) * compiled
    assert compiled >= 0.7 * COUNT
