"""Archives and arrays: what is taken, what is refused, and that nothing half-written is left."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyc.errors import ModelError, ToolError
from tinyc.numerics.profile import Profile
from tinyc.runners import BuildDescription, TensorRegion, load_inputs, random_inputs, save_outputs
from tinyc.runners.base import Array
from tinyc.runners.description import ArenaRegion
from tinyc.runners.io import decode_outputs, prepare_inputs

Build = Callable[..., Path]


def region(dtype: str = "int8", shape: tuple[int, ...] = (3, 4), **changes: Any) -> TensorRegion:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    values: dict[str, Any] = {"name": "t", "dtype": dtype, "shape": shape, "offset": 0, "bytes": size, "scale": 0.5, "zero_point": -3}
    return TensorRegion(**(values | changes))


def description(*inputs: TensorRegion, profile: Profile = Profile.TFLM, outputs: tuple[TensorRegion, ...] = ()) -> BuildDescription:
    arenas = (ArenaRegion("", "", 1024, 16),)
    return BuildDescription(Path(), "net", profile, "host", "host", (), (), arenas, inputs, outputs or (region(),))


def test_samples_are_encoded_one_after_the_other_with_all_inputs_in_order() -> None:
    both = description(region(shape=(2,)), region("float32", (1,)))
    bytes_of = prepare_inputs(
        both, {"input_0": np.array([[1, 2], [3, 4]], np.int8), "input_1": np.array([[0.5], [2]], np.float32)}
    ).encode()
    assert bytes_of == b"\x01\x02" + np.float32(0.5).tobytes() + b"\x03\x04" + np.float32(2).tobytes()


def test_arrays_that_are_not_contiguous_keep_their_values() -> None:
    array = np.arange(12, dtype=np.int8).reshape(4, 3).T
    assert prepare_inputs(description(region()), {"input_0": array}).encode() == array.tobytes()


@pytest.mark.parametrize(
    ("profile", "expected"), [(Profile.TFLM, [-3, -2, -4, -1, 127, -128]), (Profile.LITERT, [-3, -3, -3, -1, 127, -128])]
)
def test_float_for_an_int8_input_is_quantised_by_the_rule_of_the_profile(profile: Profile, expected: list[int]) -> None:
    values = np.array([0, 0.25, -0.25, 1, 1e30, -1e30], np.float32)
    samples = prepare_inputs(description(region(shape=(6,)), profile=profile), {"input_0": values})
    assert samples.arrays[0].dtype == np.int8
    assert samples.arrays[0].tolist() == [expected]


def test_float_for_a_float_input_reaches_c_unchanged() -> None:
    values = np.array([0.1, np.nan, np.inf, -0.0], np.float32)
    assert prepare_inputs(description(region("float32", (4,))), {"input_0": values}).encode() == values.tobytes()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"input_0 is missing; expected input_0: int8 of shape \(3, 4\)"),
        ({"input_0": np.zeros((3, 4), np.int8), "image": np.zeros(1)}, "unknown input 'image'; expected input_0"),
        ({"input_0": np.zeros((4, 3), np.int8)}, r"has shape \(4, 3\); expected \(3, 4\), or \(N, 3, 4\) for N samples"),
        ({"input_0": np.zeros((0, 3, 4), np.int8)}, r"has shape \(0, 3, 4\); expected"),
        ({"input_0": np.zeros((1, 2, 3, 4), np.int8)}, r"has shape \(1, 2, 3, 4\); expected"),
        ({"input_0": np.zeros((3, 4), np.uint8)}, r"has dtype uint8; expected int8 \(or float32, which is quantised\)"),
        ({"input_0": np.zeros((3, 4), np.float64)}, "has dtype float64; expected int8"),
        ({"input_0": np.full((3, 4), np.nan, np.float32)}, "not finite"),
    ],
)
def test_a_wrong_input_is_refused_with_what_was_expected(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        prepare_inputs(description(region()), arrays)


def test_an_int8_input_without_quantisation_takes_no_float() -> None:
    plain = description(region(scale=None, zero_point=None))
    with pytest.raises(ModelError, match=r"has dtype float32; expected int8 of shape \(3, 4\)"):
        prepare_inputs(plain, {"input_0": np.zeros((3, 4), np.float32)})


def test_inputs_with_different_numbers_of_samples_are_refused() -> None:
    both = description(region(shape=(2,)), region(shape=(1,)))
    with pytest.raises(ModelError, match="input_0 has 3 samples, but input_1 has no sample axis"):
        prepare_inputs(both, {"input_0": np.zeros((3, 2), np.int8), "input_1": np.zeros(1, np.int8)})


@pytest.mark.parametrize("has_axis", [False, True])
def test_outputs_have_a_sample_axis_exactly_where_the_inputs_had_one(has_axis: bool) -> None:
    net = description(region(shape=(1,)), outputs=(region(shape=(2,)), region("int32", (1,))))
    samples = prepare_inputs(net, {"input_0": np.zeros((1, 1) if has_axis else (1,), np.int8)})
    outputs = decode_outputs(net, b"\x01\xff" + np.int32(-70000).tobytes(), samples)
    assert outputs["output_0"].tolist() == ([[1, -1]] if has_axis else [1, -1])
    assert outputs["output_1"].tolist() == ([[-70000]] if has_axis else [-70000])


def test_too_few_output_bytes_are_an_error() -> None:
    net = description(region(shape=(1,)))
    with pytest.raises(ToolError, match="11 bytes of outputs instead of 12"):
        decode_outputs(net, bytes(11), prepare_inputs(net, {"input_0": np.zeros(1, np.int8)}))


def test_random_inputs_depend_on_the_seed_alone_and_are_accepted() -> None:
    net = description(region(shape=(500,)), region("float32", (500,), scale=None))
    first, again, other = (random_inputs(net, 2, seed) for seed in (1, 1, 2))
    assert prepare_inputs(net, first).encode() == prepare_inputs(net, again).encode() != prepare_inputs(net, other).encode()
    assert first["input_0"].min() < -120
    assert first["input_0"].max() > 120
    assert np.abs(first["input_1"]).max() <= 1


def write_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def write_pickle(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, input_0=np.array([{"a": 1}], dtype=object))


def write_truncated(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, input_0=np.zeros(1000))
    data = path.read_bytes()
    path.write_bytes(data[:100] + data[900:])


def write_text_member(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "cannot read input archive .*No such file"),
        (lambda path: path.mkdir(), "cannot read input archive .*Is a directory"),
        (lambda path: path.write_bytes(b"PK\x03\x04 and nothing else"), "is not an npz archive"),
        (lambda path: path.write_bytes(b""), "is not an npz archive"),
        (write_npy, "is not an npz archive"),
        (write_pickle, "plain arrays"),
        (write_truncated, "damaged"),
        (write_text_member, "'notes.txt', which is no array"),
    ],
)
def test_what_is_no_archive_of_plain_arrays_is_refused(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "in.npz"
    write(path)
    with pytest.raises(ModelError, match=message):
        load_inputs(path)


def test_saved_outputs_read_back_equal_and_leave_no_other_file(tmp_path: Path) -> None:
    outputs: dict[str, Array] = {"output_0": np.arange(6, dtype=np.int8).reshape(2, 3), "output_1": np.array([0.1], np.float32)}
    save_outputs(tmp_path / "out.npz", outputs)
    back = load_inputs(tmp_path / "out.npz")
    assert set(back) == set(outputs)
    for name, array in outputs.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_a_failed_write_leaves_the_old_archive_and_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.npz"
    path.write_bytes(b"old")

    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(ToolError, match="No space left on device"):
        save_outputs(path, {"output_0": np.zeros(3)})
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_a_tool_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot write"):
        save_outputs(tmp_path / "absent" / "out.npz", {"output_0": np.zeros(3)})
