"""Cross-layer equalisation and bias correction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from float_models import assert_same_function, make_model, node, prepared, random_constants, run, save

from tinyc.quantize.calibration import Calibration
from tinyc.quantize.correct_bias import correct_biases, rounded_weights
from tinyc.quantize.equalise import equalise, find_pairs, release_clips
from tinyc.quantize.observe import observe
from tinyc.quantize.options import QuantizeOptions, no_progress
from tinyc.quantize.post_training import quantize_arrays

pytest.importorskip("onnxruntime")
SHAPES = {"w1": (4, 4, 1, 1), "c1": (4,), "w2": (4, 1, 3, 3), "c2": (4,), "w3": (4, 4, 1, 1)}


def samples(count: int = 4, shape: tuple[int, ...] = (4, 6, 6)) -> np.ndarray:
    return np.random.RandomState(2).normal(0, 1, (count, *shape)).astype(np.float32)


def uneven() -> dict[str, np.ndarray]:
    """Weights whose channels differ by factors up to a thousand, as batch norm folding can leave them."""
    constants = random_constants(**SHAPES)
    factors = np.array([1, 10, 100, 1000], np.float32)
    constants["w1"] = constants["w1"] * factors.reshape(-1, 1, 1, 1)
    constants["c1"] = constants["c1"] * factors
    return constants


NODES = (
    node("Conv", ["x", "w1", "c1"], ["a"]),
    node("Relu", ["a"], ["r"]),
    node("Conv", ["r", "w2", "c2"], ["b"], group=4, pads=[1, 1, 1, 1]),
    node("Conv", ["b", "w3"], ["y"]),
)


def test_equalisation_leaves_the_function_and_makes_the_ranges_of_both_layers_equal(tmp_path: Path) -> None:
    model = make_model(NODES, uneven())
    graph = prepared(model, tmp_path)
    assert equalise(graph) == 2
    assert_same_function(model, graph)
    for pair in find_pairs(graph):
        before, after = graph.constants[pair.first.input[1]], graph.constants[pair.second.input[1]]
        axis = 0 if after.shape[1] == 1 else 1
        incoming = np.abs(after).max(axis=tuple(other for other in range(4) if other != axis))
        np.testing.assert_allclose(np.abs(before).max(axis=(1, 2, 3)), incoming, rtol=0.02)


def test_equalisation_gives_uneven_channels_a_better_result(tmp_path: Path) -> None:
    path = save(make_model(NODES, uneven()), tmp_path)
    losses = [quantize_arrays(path, {"x": samples()}, QuantizeOptions(equalise=chosen)).loss for chosen in (False, True)]
    plain, equal = ([layer.activation_sqnr for layer in loss.layers if layer.tensor == "r"] for loss in losses if loss is not None)
    assert equal[0] > plain[0] - 1
    ends = [next(layer.activation_sqnr for layer in loss.layers if layer.tensor == "y") for loss in losses if loss is not None]
    assert ends[1] >= ends[0] - 1


@pytest.mark.parametrize(
    "nodes",
    [
        (NODES[0], node("Sigmoid", ["a"], ["r"]), node("Conv", ["r", "w3"], ["y"])),
        (NODES[0], node("Conv", ["a", "w3"], ["z"]), node("Add", ["a", "z"], ["y"])),
    ],
)
def test_layers_are_no_pair_across_another_function_or_with_another_reader(nodes: tuple[object, ...], tmp_path: Path) -> None:
    graph = prepared(make_model(list(nodes), random_constants(**SHAPES)), tmp_path)  # type: ignore[arg-type]
    assert find_pairs(graph) == []


def test_a_clip_becomes_relu_only_where_the_data_never_reaches_its_bound(tmp_path: Path) -> None:
    for bound, released in ((1e6, 1), (0.5, 0)):
        constants = random_constants(**SHAPES) | {"zero": np.array(0, np.float32), "top": np.array(bound, np.float32)}
        nodes = [NODES[0], node("Clip", ["a", "zero", "top"], ["r"]), node("Conv", ["r", "w3"], ["y"])]
        graph = prepared(make_model(nodes, constants), tmp_path)
        assert release_clips(graph, observe(graph, Calibration({"x": samples()}), False, no_progress)) == (released, 1 - released)
        assert len(find_pairs(graph)) == released


def test_bias_correction_takes_out_the_mean_error_of_rounded_weights(tmp_path: Path) -> None:
    # Coarse weights: one large value a row leaves few levels for the others. Inputs with a mean make the error one-sided.
    constants = random_constants(w=(8, 16), c=(8,))
    constants["w"][:, 0] = 40
    model = make_model([node("Gemm", ["x", "w", "c"], ["y"], transB=1)], constants, shape=(1, 16))
    inputs = samples(64, (16,)) + 3
    graph = prepared(model, tmp_path)
    seen = observe(graph, Calibration({"x": inputs}), False, no_progress)

    def mean_error() -> float:
        weights, bias = (graph.constants[name] for name in graph.nodes[0].input[1:])
        found = inputs @ rounded_weights(weights).T + bias
        expected = np.concatenate([run(model, {"x": row[None]})[0] for row in inputs])
        return float(np.abs((found - expected).mean(axis=0)).max())

    before = mean_error()
    assert correct_biases(graph, seen) == 1
    assert mean_error() < 0.01 * before


def test_corrections_take_networks_with_clips_pools_and_constants(tmp_path: Path) -> None:
    constants = random_constants(**SHAPES, k=(1, 4, 6, 6)) | {"zero": np.array(0, np.float32), "six": np.array(6, np.float32)}
    nodes = [
        *NODES[:1],
        node("Clip", ["a", "zero", "six"], ["r"]),
        node("Add", ["r", "k"], ["s"]),
        node("MaxPool", ["s"], ["t"], kernel_shape=[2, 2]),
        node("Conv", ["t", "w3"], ["y"]),
    ]
    path = save(make_model(nodes, constants), tmp_path)
    result = quantize_arrays(path, {"x": samples()}, QuantizeOptions(equalise=True, correct_bias=True))
    assert result.notes[-2:] == ("layers with a corrected bias: 2", "layers with a corrected mean: 1")


def test_bias_correction_of_a_convolution_uses_the_channels_of_each_group(tmp_path: Path) -> None:
    constants = random_constants(w=(4, 2, 1, 1))
    constants["w"][:, 0] = 30
    model = make_model([node("Conv", ["x", "w"], ["y"], group=2)], constants)
    inputs = samples(16) + np.array([1, 2, 3, 4], np.float32).reshape(4, 1, 1)
    graph = prepared(model, tmp_path)
    correct_biases(graph, observe(graph, Calibration({"x": inputs}), False, no_progress))
    constants["w"] = rounded_weights(constants["w"])
    rounded = make_model([node("Conv", ["x", "w"], ["y"], group=2)], constants)
    error = np.mean([run(model, {"x": row[None]})[0] - run(rounded, {"x": row[None]})[0] for row in inputs], axis=(0, 1, 3, 4))
    np.testing.assert_allclose(graph.constants[graph.nodes[0].input[2]], error, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [3, 3, 3, 3]},
        {"pads": [3, 2, 1, 0], "strides": [2, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        {"pads": [6, 4, 6, 4], "dilations": [2, 1]},
        {},
    ],
)
def test_bias_correction_counts_only_taps_inside_the_image(attributes: dict[str, object], tmp_path: Path) -> None:
    constants = random_constants(w=(4, 1, 5, 5))
    constants["w"][:, 0, 0, 0] = 30
    model = make_model([node("Conv", ["x", "w"], ["y"], group=4, **attributes)], constants, shape=(1, 4, 6, 6))
    # One value a channel: then the mean over all windows is exactly that of the channel's mean times what lies inside.
    inputs = np.broadcast_to(np.array([1, 2, 3, 4], np.float32).reshape(4, 1, 1), (2, 4, 6, 6)).copy()
    graph = prepared(model, tmp_path)
    correct_biases(graph, observe(graph, Calibration({"x": inputs}), False, no_progress))
    constants["w"] = rounded_weights(constants["w"])
    rounded = make_model(list(model.graph.node), constants, shape=(1, 4, 6, 6))
    error = np.mean(run(model, {"x": inputs[:1]})[0] - run(rounded, {"x": inputs[:1]})[0], axis=(0, 2, 3))
    np.testing.assert_allclose(graph.constants[graph.nodes[0].input[2]], error, rtol=1e-3, atol=1e-4)


def test_the_mean_error_that_clipping_leaves_in_a_result_is_taken_out(tmp_path: Path) -> None:
    # A percentile that clips a tenth of all values makes the layer behind see a smaller mean.
    constants = random_constants(w=(8, 4, 1, 1), w3=(4, 8, 1, 1), b=(8,))
    path = save(
        make_model([node("Conv", ["x", "w", "b"], ["a"]), node("Relu", ["a"], ["r"]), node("Conv", ["r", "w3"], ["y"])], constants),
        tmp_path,
    )
    inputs = samples(16)

    def mean_error(corrected: bool) -> float:
        model = quantize_arrays(path, {"x": inputs}, QuantizeOptions("percentile", 90.0, correct_bias=corrected, compare=False)).model
        found, expected = (np.concatenate([run(one, {"x": row[None]})[0] for row in inputs]) for one in (model, onnx.load(path)))
        return float(np.abs((found - expected).mean(axis=(0, 2, 3))).max())

    assert mean_error(True) < 0.3 * mean_error(False)
