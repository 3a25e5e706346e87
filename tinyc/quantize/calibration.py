"""Calibration data: an npz archive with samples for every input of a model, or an npy file where there is one input."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinyc.errors import ModelError, UsageError, printable
from tinyc.quantize.graph import Graph

Samples = Mapping[str, NDArray[np.float32]]

FEW_SAMPLES = 8
"""With fewer samples the user is told."""


@dataclass(frozen=True)
class Calibration:
    """`arrays` holds for each input all samples, float32, with one sample a row of the first axis.

    `integers` names the inputs whose samples were no float numbers, and their type.
    """

    arrays: Samples
    integers: Mapping[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of samples."""
        return min((len(array) for array in self.arrays.values()), default=0)

    def notes(self) -> tuple[str, ...]:
        """What a user should know about the samples."""
        found = []
        if self.count < FEW_SAMPLES:
            found.append(f"{self.count} calibration samples: ranges hold for them alone; about 100 are better")
        for name, kind in self.integers.items():
            array = self.arrays[name]
            found.append(f"{printable(name)} was {kind} and is taken as it is, from {array.min():g} to {array.max():g}")
        return tuple(found)

    def feeds(self) -> Iterator[dict[str, NDArray[np.float32]]]:
        """One sample at a time, with the batch axis that the model has."""
        for index in range(self.count):
            yield {name: array[index : index + 1] for name, array in self.arrays.items()}


def read_calibration(path: Path | None, graph: Graph, model: str) -> Calibration:
    """Samples from the npz archive (or npy file) at `path` for the inputs of `graph`.

    With one input the name of the array does not matter. Raises UsageError without a path, and ModelError for an unreadable archive, a
    wrong shape, no sample, or values that are no finite numbers.
    """
    inputs = {value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim] for value in graph.inputs}
    if path is None:
        wanted = " and ".join(f"'{printable(name)}' of shape (N, {', '.join(map(str, shape[1:]))})" for name, shape in inputs.items())
        raise UsageError(
            f"{printable(model)} has float weights: give --calibration DATA.npz with typical inputs (float32 array {wanted}; "
            "about 100 samples, prepared exactly as for the network's training)"
        )
    arrays = _read(path)
    shown = printable(path)
    if len(inputs) == 1 and len(arrays) == 1:
        arrays = {next(iter(inputs)): next(iter(arrays.values()))}
    missing = [name for name in inputs if name not in arrays]
    if missing:
        held = ", ".join(printable(name, 40) for name in arrays) or "nothing"
        raise ModelError(f"{shown}: no array {printable(missing[0])}; the archive holds {held}")
    return check_calibration({name: arrays[name] for name in inputs}, graph, str(path))


def check_calibration(arrays: Mapping[str, NDArray[np.generic]], graph: Graph, source: str) -> Calibration:
    """`arrays` as calibration data for `graph`; `source` names them in errors. Raises ModelError."""
    shown = printable(source)
    checked = dict[str, NDArray[np.float32]]()
    for value in graph.inputs:
        shape = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        if value.name not in arrays:
            raise ModelError(f"{shown}: no array {printable(value.name)}")
        array = np.asarray(arrays[value.name])
        expected = f"(N, {', '.join(map(str, shape[1:]))})"
        if array.dtype.kind not in "fiu":
            raise ModelError(f"{shown}: {printable(value.name)} holds {array.dtype}, expected float32")
        if list(array.shape[1:]) != shape[1:]:
            raise ModelError(f"{shown}: {printable(value.name)} has shape {array.shape}, expected {expected}{_layout_hint(array, shape)}")
        if len(array) == 0:
            raise ModelError(f"{shown}: {printable(value.name)} holds no sample")
        if not np.isfinite(array).all():
            raise ModelError(f"{shown}: {printable(value.name)} holds infinity or NaN")
        checked[value.name] = np.asarray(array, np.float32)
    counts = {len(array) for array in checked.values()}
    if len(counts) > 1:
        raise ModelError(f"{shown}: the inputs have different numbers of samples ({', '.join(map(str, sorted(counts)))})")
    return Calibration(
        checked, {name: str(np.asarray(arrays[name]).dtype) for name in checked if np.asarray(arrays[name]).dtype.kind != "f"}
    )


def _layout_hint(array: NDArray[np.generic], shape: list[int]) -> str:
    if array.ndim == 4 and len(shape) == 4 and list(array.shape[1:]) == [shape[2], shape[3], shape[1]]:
        return "; the data is NHWC, the model NCHW: use array.transpose(0, 3, 1, 2)"
    if list(array.shape) == shape[1:]:
        return "; add a first axis for the samples: array[None]"
    return ""


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    shown = printable(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return {path.stem: np.asarray(loaded)}
        with loaded as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except OSError as error:
        raise ModelError(f"{shown}: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ModelError(f"{shown}: not an npz archive of numbers") from error
