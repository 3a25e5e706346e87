"""Networks of slices, joins, resizes and their like, compiled and run: the C against LiteRT, and random chains against the interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinyc
from support.host_network import compile_for_host, needs_gcc, run_on_host
from support.kernel_harness import missing_tools
from support.movement_networks import NETWORKS, Graph, random_chain
from support.numeric_cases import RESOLVERS
from tinyc.frontends.tflite import import_tflite
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.nn_base import tensor_of
from tinyc.numerics.profile import Profile
from tinyc.passes.rewriting import main_block

HOST = needs_gcc()
TARGET = missing_tools("arm-none-eabi-gcc", "qemu-system-arm")


@pytest.mark.parametrize("network", NETWORKS)
def test_interpreted_networks_equal_litert(network: str) -> None:
    pytest.importorskip("ai_edge_litert")
    from support.tflite_builder import run_litert

    model = NETWORKS[network](5)
    module = import_tflite(model, network)
    shape = tensor_of(main_block(module).args[0]).shape
    values = np.random.default_rng(6).integers(-128, 128, shape).astype(np.int8)
    for profile, resolver in RESOLVERS.items():
        for output, expected in zip(evaluate(module, [values], profile), run_litert(model, [values], resolver=resolver), strict=True):
            np.testing.assert_array_equal(output, expected, strict=True)
            assert len(np.unique(output)) > 2


@pytest.mark.skipif(TARGET is not None, reason=TARGET or "")
@pytest.mark.parametrize(("network", "target"), [(name, f"cortex-m{4 if index % 2 else 7}") for index, name in enumerate(NETWORKS)])
def test_networks_in_qemu_equal_the_interpreter(network: str, target: str, tmp_path: Path) -> None:
    path = tmp_path / f"{network}.tflite"
    path.write_bytes(NETWORKS[network](8))
    model = tinyc.load(path)
    shape = tensor_of(main_block(model.module).args[0]).shape
    values = np.random.default_rng(6).integers(-128, 128, shape).astype(np.int8)
    for profile in Profile:
        folder = model.compile(target, numerics=profile.value, measure=False).write(tmp_path / profile.value)
        result = tinyc.run(folder, "qemu", {"input_0": values})
        for index, expected in enumerate(evaluate(model.module, [values], profile)):
            np.testing.assert_array_equal(result.outputs[f"output_{index}"], expected, strict=True)


@pytest.mark.skipif(HOST is not None, reason=HOST or "")
@pytest.mark.parametrize("seed", range(20))
def test_random_chains_compile_to_what_the_interpreter_says(seed: int, tmp_path: Path) -> None:
    model, shape = random_chain(seed)
    module = import_tflite(model, f"chain {seed}")
    values = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    profile = list(Profile)[seed % 2]
    (output,) = run_on_host(compile_for_host(module, profile), tmp_path, [values])
    np.testing.assert_array_equal(output, evaluate(module, [values], profile)[0])


@pytest.mark.skipif(HOST is not None, reason=HOST or "")
@pytest.mark.parametrize("network", NETWORKS)
def test_streaming_lowers_the_peak_and_changes_no_output(network: str, tmp_path: Path) -> None:
    module = import_tflite(NETWORKS[network](3), network)
    streamed = compile_for_host(module)
    whole = compile_for_host(
        module, passes="fold-constants,canonicalize,fold-pad,fuse-activation,canonicalize,eliminate-dead-code,select-kernels,plan-memory"
    )
    assert streamed.report.ram.arena_bytes < whole.report.ram.arena_bytes
    shape = tensor_of(main_block(module).args[0]).shape
    values = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
    for folder in ("streamed", "whole"):
        (tmp_path / folder).mkdir()
    outputs = run_on_host(streamed, tmp_path / "streamed", [values])
    for output, expected in zip(outputs, run_on_host(whole, tmp_path / "whole", [values]), strict=True):
        np.testing.assert_array_equal(output, expected)


@pytest.mark.skipif(HOST is not None, reason=HOST or "")
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_an_output_that_the_last_step_reads_is_not_overwritten(dtype: str, tmp_path: Path) -> None:
    graph = Graph(1, (1, 6, 5, 3))
    value = graph.conv(graph.input, 4)
    module = import_tflite(graph.model([graph.arg_max(value, 3, dtype), value]), "two outputs")
    values = np.random.default_rng(2).integers(-128, 128, (1, 6, 5, 3)).astype(np.int8)
    outputs = run_on_host(compile_for_host(module), tmp_path, [values])
    for output, expected in zip(outputs, evaluate(module, [values], Profile.LITERT), strict=True):
        np.testing.assert_array_equal(output, expected, strict=True)


@pytest.mark.skipif(HOST is not None, reason=HOST or "")
def test_a_stream_whose_rows_are_all_the_same_does_without_their_numbers(tmp_path: Path) -> None:
    # An image of one pixel made larger: every row reads the only one and goes to the only slot, and GCC warns of unused variables.
    graph = Graph(4, (1, 1, 1, 6))
    larger = graph.resize(graph.conv(graph.input, 40), 6, bilinear=False, half_pixel_centers=False)
    mean = graph.op("MEAN", [larger, graph._ints([1, 2])], (1, 40), {"KeepDims": 0}, (0.05, 3))
    module = import_tflite(graph.model([mean]), "one pixel")
    network = compile_for_host(module)
    assert "RESIZE_NEAREST_NEIGHBOR, MEAN" in network.files[f"{network.name}.c"]
    values = np.random.default_rng(2).integers(-128, 128, (1, 1, 1, 6)).astype(np.int8)
    (output,) = run_on_host(network, tmp_path, [values])
    np.testing.assert_array_equal(output, evaluate(module, [values], Profile.LITERT)[0])
