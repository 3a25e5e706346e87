"""The catalogue, and networks built from it."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from tinyc.errors import ModelError, UsageError, printable
from tinyc.zoo.builder import NetworkBuilder
from tinyc.zoo.detector import DETECTOR
from tinyc.zoo.inverted_residuals import MOBILENET_V2, family_networks
from tinyc.zoo.mlperf_tiny import AUTOENCODER, DS_CNN, RESNET_8
from tinyc.zoo.mobilenet_v1 import MLPERF_WAKE_WORDS, MOBILENET_V1
from tinyc.zoo.network import Network, Settings
from tinyc.zoo.tally import Tally, tally

_MAX_RESOLUTION = 1024
_MAX_CLASSES = 100_000
_MAX_WIDTH = 4.0


@cache
def networks() -> dict[str, Network]:
    """All networks of the zoo by name, in the order of `tinyc zoo list`."""
    listed = (MOBILENET_V1, MOBILENET_V2, *family_networks(), MLPERF_WAKE_WORDS, DS_CNN, RESNET_8, AUTOENCODER, DETECTOR)
    return {network.name: network for network in listed}


def make_network(
    name: str,
    *,
    width: float | None = None,
    resolution: int | None = None,
    classes: int | None = None,
    seed: int = 0,
    weights: Path | None = None,
) -> onnx.ModelProto:
    """The float ONNX model of the network `name`: opset 17, NCHW, batch 1, input `input`, float32.

    Settings left at None are the published ones. `weights` is an npz archive with every initializer by name; without it they are random,
    the same bytes for the same `seed`. Raises UsageError (name or setting) and ModelError (archive).
    """
    if name not in networks():
        raise UsageError(f"no network {printable(name)} in the zoo; there are {', '.join(networks())}")
    network = networks()[name]
    settings = _settings(network, width, resolution, classes, seed)
    builder = NetworkBuilder(name, network.input_shape(settings), seed, network.epsilon)
    outputs = network.build(builder, settings)
    return builder.finish(outputs, None if weights is None else _read_weights(weights, builder.weights))


def count_network(name: str) -> Tally:
    """Multiply-adds and parameters of the network `name` with its published settings, without drawing weights."""
    network = networks()[name]
    builder = NetworkBuilder(name, network.input_shape(network.defaults), 0, network.epsilon, structure_only=True)
    return tally(builder.finish(network.build(builder, network.defaults)))


def _settings(network: Network, width: float | None, resolution: int | None, classes: int | None, seed: int) -> Settings:
    given = {"width": width, "resolution": resolution, "classes": classes}
    for option, value in given.items():
        if value is not None and option not in network.adjustable:
            raise UsageError(f"{network.name} has no --{option} to choose")
    defaults = network.defaults
    chosen = Settings(
        width if width is not None else defaults.width,
        resolution if resolution is not None else defaults.resolution,
        classes if classes is not None else defaults.classes,
        seed,
    )
    if not 0 < chosen.width <= _MAX_WIDTH:
        raise UsageError(f"width {chosen.width:g}: expected more than 0 and at most {_MAX_WIDTH:g}")
    if resolution is not None and (not 8 <= resolution <= _MAX_RESOLUTION or resolution % network.multiple):
        multiple = f" and a multiple of {network.multiple}" if network.multiple > 1 else ""
        raise UsageError(f"resolution {resolution}: expected 8 to {_MAX_RESOLUTION}{multiple}")
    if classes is not None and not 1 <= classes <= _MAX_CLASSES:
        raise UsageError(f"classes {classes}: expected 1 to {_MAX_CLASSES}")
    if not 0 <= seed < 1 << 32:
        raise UsageError(f"seed {seed}: expected 0 to {(1 << 32) - 1}")
    return chosen


def _read_weights(path: Path, expected: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
    shown = printable(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ModelError(f"{shown}: one array, expected an npz archive with one array for each tensor")
        with loaded as archive:
            given = {name: np.asarray(archive[name]) for name in archive.files}
    except OSError as error:
        raise ModelError(f"{shown}: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ModelError(f"{shown}: not an npz archive of numbers") from error
    # What the architecture fixes (clip bounds, resize factors) may be left out.
    missing = [name for name in expected if name not in given and "." in name]
    unknown = [name for name in given if name not in expected]
    if missing or unknown:
        names = ", ".join(printable(name, 60) for name in (missing or unknown)[:5])
        raise ModelError(f"{shown}: {len(missing)} tensors are missing and {len(unknown)} are unknown, among them {names}")
    for name, values in given.items():
        if values.shape != expected[name].shape or values.dtype.kind != "f":
            found = f"{values.dtype} {list(values.shape)}"
            raise ModelError(f"{shown}: {printable(name)} is {found}, expected float32 {list(expected[name].shape)}")
        if not np.isfinite(values).all():
            raise ModelError(f"{shown}: {printable(name)} holds infinity or NaN")
    return {name: np.asarray(values, np.float32) for name, values in given.items()}
