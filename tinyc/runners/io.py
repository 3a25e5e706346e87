"""Inputs and outputs of a run: npz archives, checks against the network's inputs, and the raw bytes that the harness reads and writes.

Archives hold one array per input, called `input_0`, `input_1`, ...; outputs are written as `output_0`, ... An array has the C's shape, or
that shape with one extra leading axis: then it holds several samples.
"""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyc.errors import ModelError, ToolError, printable
from tinyc.numerics.quantization import quantization_plan
from tinyc.runners.base import DTYPES, Array
from tinyc.runners.description import BuildDescription, TensorRegion


@dataclass(frozen=True)
class Samples:
    """Checked inputs: per input an array of shape (count, *C shape) in the C's dtype. `has_axis`: the caller gave a sample axis."""

    count: int
    has_axis: bool
    arrays: tuple[Array, ...]

    def encode(self) -> bytes:
        """The harness's input file: sample after sample, in each all inputs in order."""
        return b"".join(array[index].tobytes() for index in range(self.count) for array in self.arrays)


def load_inputs(path: Path) -> dict[str, Array]:
    """Arrays of the npz archive `path` by name. Raises ModelError where it is missing, is no npz archive or holds Python objects."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read input archive {printable(path)}: {error.strerror}") from error
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise ModelError(f"{printable(path)} is not an npz archive; write one with numpy.savez(path, input_0=array)")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        problem = "is damaged or holds something other than plain arrays"
        raise ModelError(f"{printable(path)} {problem}: {printable(error)}") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy gives members that are no .npy files as bytes
            raise ModelError(f"{printable(path)} holds {printable(repr(name))}, which is no array")
    return arrays


def prepare_inputs(description: BuildDescription, arrays: Mapping[str, Array]) -> Samples:
    """`arrays` as the C wants them; float32 for an int8 input is quantised by the rule of the build's numeric profile.

    Raises ModelError, saying what was expected, for a missing or unknown name, a wrong shape or dtype, and numbers that are not finite.
    """
    expected = {f"input_{index}": region for index, region in enumerate(description.inputs)}
    wanted = "; ".join(f"{name}: {region.dtype} of shape {region.shape}" for name, region in expected.items())
    for name in arrays:
        if name not in expected:
            raise ModelError(f"unknown input {printable(repr(name))}; expected {wanted}")
    for name in expected:
        if name not in arrays:
            raise ModelError(f"{name} is missing; expected {wanted}")
    counts = {name: _sample_count(name, np.asarray(arrays[name]), region) for name, region in expected.items()}
    first = next(iter(counts))
    for name, count in counts.items():
        if count != counts[first]:
            raise ModelError(f"{first} has {_count_text(counts[first])}, but {name} has {_count_text(count)}")
    axis_count = counts[first]
    count = 1 if axis_count is None else axis_count
    prepared = tuple(
        np.ascontiguousarray(_in_c_dtype(name, np.asarray(arrays[name]), region, description).reshape(count, *region.shape))
        for name, region in expected.items()
    )
    return Samples(count, axis_count is not None, prepared)


def random_inputs(description: BuildDescription, count: int, seed: int) -> dict[str, Array]:
    """`count` samples with a leading sample axis, the same for the same `seed`: every integer value is equally likely; floating-point
    values are spread over what the input's quantisation can express, or from -1 to 1 where it has none."""
    generator = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for index, region in enumerate(description.inputs):
        dtype, shape = DTYPES[region.dtype], (count, *region.shape)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            arrays[f"input_{index}"] = generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
            continue
        low, high = -1.0, 1.0
        if region.scale is not None:
            low, high = ((bound - (region.zero_point or 0)) * region.scale for bound in (-128, 127))
        arrays[f"input_{index}"] = generator.uniform(low, high, shape).astype(dtype)
    return arrays


def decode_outputs(description: BuildDescription, data: bytes, samples: Samples) -> dict[str, Array]:
    """Output arrays from the harness's output file; raises ToolError where its length is not that of `samples.count` samples."""
    per_sample = sum(region.bytes for region in description.outputs)
    if len(data) != per_sample * samples.count:
        raise ToolError(f"the run wrote {len(data)} bytes of outputs instead of {per_sample * samples.count}")
    rows = np.frombuffer(data, dtype=np.uint8).reshape(samples.count, per_sample)
    outputs: dict[str, Array] = {}
    start = 0
    for index, region in enumerate(description.outputs):
        raw = np.ascontiguousarray(rows[:, start : start + region.bytes])
        values = raw.view(DTYPES[region.dtype]).reshape(samples.count, *region.shape)
        outputs[f"output_{index}"] = values if samples.has_axis else values[0]
        start += region.bytes
    return outputs


def save_outputs(path: Path, outputs: Mapping[str, Array]) -> None:
    """Writes an npz archive that is either complete or not there. Raises ToolError where the place cannot be written."""
    arrays: dict[str, Any] = dict(outputs)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
            os.chmod(temporary, 0o644)  # mkstemp lets nobody else read it
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ToolError(f"cannot write {printable(path)}: {error.strerror}") from error


def _sample_count(name: str, array: Array, region: TensorRegion) -> int | None:
    """Length of the leading sample axis, None where there is none; raises ModelError for every other shape."""
    if array.shape == region.shape:
        return None
    if array.shape[1:] == region.shape and array.ndim == len(region.shape) + 1 and array.shape[0] > 0:
        return int(array.shape[0])
    several = ("N", *(str(size) for size in region.shape))
    raise ModelError(f"{name} has shape {array.shape}; expected {region.shape}, or ({', '.join(several)}) for N samples")


def _count_text(count: int | None) -> str:
    return "no sample axis" if count is None else f"{count} sample{'s' if count != 1 else ''}"


def _in_c_dtype(name: str, array: Array, region: TensorRegion, description: BuildDescription) -> Array:
    dtype = DTYPES[region.dtype]
    if array.dtype == dtype:
        return array.astype(dtype, copy=False)
    scale, zero_point = (region.scale, region.zero_point) if region.dtype == "int8" else (None, None)
    if scale is None or zero_point is None:
        alternative = ""
    elif array.dtype != np.float32:
        alternative = " (or float32, which is quantised)"
    else:
        if not np.isfinite(array).all():
            raise ModelError(f"{name} holds values that are not finite and cannot be quantised")
        return quantization_plan(description.profile, scale, zero_point).apply(array)
    raise ModelError(f"{name} has dtype {printable(array.dtype)}; expected {region.dtype}{alternative} of shape {region.shape}")
