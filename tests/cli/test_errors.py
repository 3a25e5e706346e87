"""Bad input on the command line: one clear line, the documented exit code, no traceback, nothing half-written."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

MODEL = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite"


def tinyc(*arguments: object, env: Mapping[str, str] | None = None, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own; `limit` bounds the size of files that it may write, in bytes."""

    def prepare() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-c", "from tinyc.cli import main; main()", *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **(env or {})}, preexec_fn=prepare)


def assert_refused(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert result.returncode == code, result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr + result.stdout
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    assert_refused(tinyc("compile", tmp_path / "no.tflite", "-t", "stm32h743", "-o", tmp_path / "out"), 1, "no.tflite", "No such file")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"hello, this is not a network at all")
    assert_refused(tinyc("compile", tmp_path / "x.tflite", "-t", "stm32h743", "-o", tmp_path / "out"), 1, "TFL3")


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(MODEL.read_bytes()[:20_000])
    assert_refused(tinyc("verify", tmp_path / "x.tflite", "-t", "cortex-m4"), 1, "x.tflite")
    assert_refused(tinyc("memory-report", tmp_path / "x.tflite", "-t", "cortex-m4"), 1, "x.tflite")
    assert_refused(tinyc("opt", tmp_path / "x.tflite"), 1, "x.tflite")


def test_a_network_too_large_for_the_part_is_refused_with_code_3_the_amount_and_the_peak_layer(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text('inherit = "stm32f412"\nname = "small"\nram_bytes = 3000\n')
    result = tinyc("compile", MODEL, "--target-file", tmp_path / "small.toml", "-o", tmp_path / "out")
    assert_refused(result, 3, "too many", "small has 3000", "peak is set by")
    assert not (tmp_path / "out").exists()


def test_a_network_too_large_for_the_flash_is_refused_with_code_3(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text('inherit = "stm32f412"\nname = "small"\nflash_bytes = 20000\n')
    assert_refused(tinyc("compile", MODEL, "--target-file", tmp_path / "small.toml", "-o", tmp_path / "out"), 3, "flash", "weights")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["compile"], "Missing argument"),
        (["compile", "x.tflite", "-t", "stm32h743"], "-o"),
        (["compile", "x.tflite", "-o", "out"], "tinyc targets"),
        (["compile", MODEL, "-t", "stm32h999", "-o", "out"], "stm32h999"),
        (["compile", MODEL, "-t", "stm32h743", "-o", "out", "--numerics", "exact"], "litert"),
        (["compile", MODEL, "-t", "stm32h743", "-o", "out", "-p", "no-such-pass"], "no-such-pass"),
        (["compile", MODEL, "-t", "stm32h743", "-o", "out", "-p", "plan-memory{colour=red}"], "overlap"),
        (["compile", MODEL, "-t", "stm32h743", "-o", "out", "--name", "!!!"], "--name"),
        (["compile", MODEL, "-t", "stm32h743", "-o", "out", "--insert-pass", "nowhere"], "after:"),
        (["opt", MODEL, "-p", "canonicalize{"], "canonicalize"),
        (["opt", MODEL, "--stop-after", "nothing"], "nothing"),
        (["run", "somewhere", "--runner", "moon"], "moon"),
        (["passes", "--colour"], "--colour"),
        (["targets", "extra"], "extra"),
        (["verify", MODEL, "-t", "cortex-m4", "--samples", "0"], "samples"),
        (["memory-report", MODEL, "--format", "pdf"], "pdf"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[object], word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(tinyc(*arguments), 2, word)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_compiler_is_named_with_its_package(tmp_path: Path) -> None:
    build = tmp_path / "build"
    compiled = tinyc("compile", MODEL, "-t", "cortex-m4", "-o", build, env={"PATH": str(tmp_path)})
    assert compiled.returncode == 0, compiled.stderr
    assert "not measured" in compiled.stdout
    assert_refused(tinyc("run", build, env={"PATH": str(tmp_path)}), 1, "install")


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed")
def test_a_missing_emulator_is_named_with_its_package(tmp_path: Path) -> None:
    build, tools = tmp_path / "build", tmp_path / "tools"
    tools.mkdir()
    for tool in ("gcc", "ld", "as", "objdump", "nm", "objcopy"):
        path = shutil.which(f"arm-none-eabi-{tool}")
        assert path is not None
        (tools / f"arm-none-eabi-{tool}").symlink_to(path)
    assert tinyc("compile", MODEL, "-t", "cortex-m4", "-o", build).returncode == 0
    assert_refused(tinyc("run", build, env={"PATH": str(tools)}), 1, "qemu-system-arm")


def test_an_output_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert_refused(tinyc("compile", MODEL, "-t", "cortex-m4", "-o", tmp_path / "file" / "out"), 1, "cannot write")
    assert_refused(tinyc("compile", MODEL, "-t", "cortex-m4", "-o", tmp_path / "file"), 1, "is a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into read-only folders")
def test_a_read_only_output_folder_is_refused(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    assert_refused(tinyc("compile", MODEL, "-t", "cortex-m4", "-o", locked / "out"), 1, "cannot write", "Permission denied")


def test_a_folder_with_foreign_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    assert_refused(tinyc("compile", MODEL, "-t", "cortex-m4", "-o", tmp_path), 1, "thesis.doc")
    assert (tmp_path / "thesis.doc").read_text() == "years of work"


def test_a_full_disk_leaves_the_earlier_build_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    build = tmp_path / "build"
    assert tinyc("compile", MODEL, "-t", "cortex-m4", "-o", build).returncode == 0
    before = {path.name: path.read_bytes() for path in build.iterdir()}
    # A limit on file sizes fails a write in the middle, as a full disk does.
    assert_refused(tinyc("compile", MODEL, "-t", "cortex-m7", "-o", build, "--no-measure", limit=16_384), 1, "cannot write")
    assert {path.name: path.read_bytes() for path in build.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["build"]


@pytest.mark.parametrize("delay", [0.05, 0.4, 0.8, 1.2])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_compile_says_so_and_leaves_nothing_behind(number: signal.Signals, code: int, delay: float, tmp_path: Path) -> None:
    program = "from tinyc.cli import main; main()"
    command = [sys.executable, "-c", program, "compile", str(MODEL), "-t", "cortex-m4", "-o", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(delay)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    left = [path.name for path in tmp_path.iterdir()]
    if process.returncode == 0:
        assert left == ["out"]
    elif process.returncode == code:
        assert left == []
        assert "Traceback" not in errors
    else:
        # The signal came before Python had set up anything.
        assert process.returncode == -number or delay < 0.3


def test_a_closed_pipe_is_no_error_message() -> None:
    command = f"{sys.executable} -c 'from tinyc.cli import main; main()' opt {MODEL} | head -1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
