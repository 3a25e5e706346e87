"""The `run` verb."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fake_build import needs_native_compiler, needs_qemu, needs_unicorn, needs_zig

from tinyc.cli.run import run_command
from tinyc.errors import ModelError, UsageError

Build = Callable[..., Path]


def run(*arguments: object) -> str:
    result = CliRunner().invoke(run_command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@needs_qemu
def test_json_has_the_measurements_and_the_command(build: Build) -> None:
    facts = json.loads(run(build("stm32f746"), "--random", 2, "--json"))
    assert facts["samples"] == 2
    assert facts["instructions"] == facts["instructions_per_sample"][-1] > 12
    assert facts["stack_bytes"] < 64
    assert Path(facts["elf"]).is_file()
    assert facts["command"][0].endswith("qemu-system-arm")
    assert facts["outputs"] == [{"name": "output_0", "dtype": "int8", "shape": [2, 3, 4]}]


@needs_native_compiler
@pytest.mark.parametrize("shape", [(3, 4), (5, 3, 4)])
def test_the_archive_of_outputs_has_the_axis_of_the_archive_of_inputs(build: Build, tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape)).astype(np.int8).reshape(shape)
    np.savez(tmp_path / "in.npz", input_0=values)
    text = run(build("host"), "--runner", "host", "--input", tmp_path / "in.npz", "--output", tmp_path / "out.npz")
    assert "out.npz" in text
    with np.load(tmp_path / "out.npz") as archive:
        np.testing.assert_array_equal(archive["output_0"], values.reshape(-1, 12)[:, ::-1].reshape(shape))


@needs_native_compiler
def test_the_seed_alone_decides_random_samples(build: Build, tmp_path: Path) -> None:
    folder = build("host")
    archives = []
    for index, seed in enumerate((7, 7, 8)):
        path = tmp_path / f"{index}.npz"
        run(folder, "--runner", "host", "--random", 3, "--seed", seed, "--output", path)
        archives.append(np.load(path)["output_0"].tobytes())
    assert archives[0] == archives[1] != archives[2]


@needs_native_compiler
def test_without_input_one_random_sample_runs_and_the_report_says_so(build: Build) -> None:
    text = run(build("host"), "--runner", "host")
    assert "random, seed 0" in text
    assert "int8 (1, 3, 4)" in text


def test_input_and_random_exclude_each_other(build: Build) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        run(build(), "--input", "x.npz", "--random", 1)


def test_a_folder_that_is_no_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a build folder"):
        run(tmp_path / "absent", "--random", 1)


@needs_unicorn
@needs_zig
def test_the_toolchain_is_chosen_by_its_option(build: Build) -> None:
    facts = json.loads(run(build("stm32f746"), "--runner", "unicorn", "--toolchain", "zig", "--json"))
    assert facts["command"][-2:] == ["--toolchain", "zig"]
    assert b"clang version" in Path(facts["elf"]).read_bytes()


@needs_native_compiler
def test_sanitizers_are_switched_on_by_their_option(build: Build) -> None:
    assert "AddressSanitizer" in run(build("stm32f746"), "--runner", "host", "--sanitize")
