"""Networks of the zoo as files: valid, deterministic, alive, and with weights of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tinyc.errors import ModelError, UsageError
from tinyc.zoo import make_network, networks, synthetic_inputs

SMALL = ("mcunet-in0", "mcunet-vww1", "mobilenet-v1-vww", "ds-cnn", "resnet-8", "autoencoder", "yolo-fpn")


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("name", list(networks()))
def test_every_network_is_a_valid_model_with_one_static_float_input(name: str) -> None:
    small = {"resolution": 64} if "resolution" in networks()[name].adjustable else {}
    model = make_network(name, **small)  # type: ignore[arg-type]
    onnx.checker.check_model(model, full_check=True)
    (value,) = model.graph.input
    assert value.name == "input"
    assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert all(dimension.dim_value > 0 for dimension in value.type.tensor_type.shape.dim)


@pytest.mark.parametrize("name", ["ds-cnn", "mcunet-in0", "yolo-fpn"])
def test_the_same_arguments_give_the_same_bytes_and_another_seed_gives_others(name: str) -> None:
    first, again, other = (make_network(name, seed=seed).SerializeToString(deterministic=True) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", SMALL)
def test_activations_of_random_networks_neither_die_nor_explode(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = make_network(name)
    shape = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    layers = [node.output[0] for node in model.graph.node if node.op_type in ("Relu", "Clip", "BatchNormalization", "Add")]
    model.graph.output.extend(onnx.ValueInfoProto(name=layer) for layer in layers)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    samples = [session.run(layers, {"input": sample[None]}) for sample in synthetic_inputs(shape[1:], 4, 99)]
    for index, layer in enumerate(layers):
        values = np.concatenate([sample[index] for sample in samples])
        assert 0.05 < values.std() < 10, layer
        # Another input gives another activation: nothing hangs on biases alone.
        assert values.std(axis=0).mean() > 0.02, layer


def test_weights_from_an_archive_are_those_in_the_file(tmp_path: Path) -> None:
    other = weights_of(make_network("ds-cnn", seed=7))
    np.savez(tmp_path / "weights.npz", **other)  # type: ignore[arg-type]
    model = make_network("ds-cnn", weights=tmp_path / "weights.npz")
    assert model == make_network("ds-cnn", seed=7)
    assert model != make_network("ds-cnn")


def test_archives_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    weights = weights_of(make_network("ds-cnn"))
    path = tmp_path / "weights.npz"

    def refused(match: str, **changed: np.ndarray) -> None:
        np.savez(path, **changed)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match=match):
            make_network("ds-cnn", weights=path)

    refused("1 tensors are missing", **{name: values for name, values in weights.items() if name != "stem.weight"})
    refused("1 are unknown.*extra", **weights, extra=np.zeros(1, np.float32))
    refused(r"stem.weight is float32 \[2\], expected", **(weights | {"stem.weight": np.zeros(2, np.float32)}))
    refused("stem.weight holds infinity or NaN", **(weights | {"stem.weight": np.full_like(weights["stem.weight"], np.nan)}))
    path.write_bytes(b"no archive")
    with pytest.raises(ModelError, match="not an npz archive"):
        make_network("ds-cnn", weights=path)
    np.save(tmp_path / "one.npy", np.zeros(3, np.float32))
    with pytest.raises(ModelError, match="one array, expected an npz archive"):
        make_network("ds-cnn", weights=tmp_path / "one.npy")
    with pytest.raises(ModelError, match="No such file"):
        make_network("ds-cnn", weights=tmp_path / "no.npz")


@pytest.mark.parametrize(
    ("name", "settings", "match"),
    [
        ("lenet", {}, "no network lenet"),
        ("mcunet-in0", {"width": 0.5}, "no --width"),
        ("ds-cnn", {"resolution": 64}, "no --resolution"),
        ("autoencoder", {"classes": 3}, "no --classes"),
        ("mobilenet-v1", {"width": 0.0}, "width 0"),
        ("mobilenet-v1", {"width": float("nan")}, "width nan"),
        ("mobilenet-v1", {"resolution": 4}, "resolution 4"),
        ("yolo-fpn", {"resolution": 100}, "multiple of 32"),
        ("mobilenet-v1", {"classes": 0}, "classes 0"),
        ("ds-cnn", {"seed": -1}, "seed -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, settings: dict[str, float], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        make_network(name, **settings)  # type: ignore[arg-type]


def test_synthetic_images_are_smooth_bounded_and_the_same_for_the_same_seed() -> None:
    images = synthetic_inputs((3, 32, 32), 4, 5)
    assert images.shape == (4, 3, 32, 32)
    assert images.dtype == np.float32
    assert np.abs(images).max() <= 1
    assert images.std() > 0.2
    # Neighbours differ less than pixels far apart.
    assert np.abs(np.diff(images, axis=3)).mean() < 0.5 * np.abs(images[..., :16] - images[..., 16:]).mean()
    assert np.array_equal(images, synthetic_inputs((3, 32, 32), 4, 5))
    assert not np.array_equal(images, synthetic_inputs((3, 32, 32), 4, 6))
