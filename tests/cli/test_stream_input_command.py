"""--stream-input from the command line and from Python: C, report, verification, refusals; and the example of the documentation."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import tinyc
from support.kernel_harness import WARNINGS
from support.network_builder import NetworkBuilder
from tinyc.api import Model
from tinyc.cli.main import cli
from tinyc.errors import UsageError
from tinyc.ir.text import print_module

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples" / "fashion_mnist" / "fashion_mnist.tflite"
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
needs_profile = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or importlib.util.find_spec("unicorn") is None, reason="needs arm-none-eabi-gcc and unicorn"
)
needs_gcc_arm = pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc")


def command(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stream") / "build"
    result = command("compile", str(MODEL), "-t", "stm32h743", "-o", str(folder), "--no-measure", "--stream-input")
    assert result.exit_code == 0, result.output
    assert "outputs and 84 bytes for rows of the input included" in result.output
    return folder


def test_header_and_report_say_how_rows_are_given(build: Path) -> None:
    header = (build / "fashion_mnist.h").read_text()
    assert "int fashion_mnist_begin(uint8_t *arena);" in header
    assert "int fashion_mnist_push_row(uint8_t *arena, const int8_t *row);" in header
    assert not re.search(r"_invoke|INPUT_0_OFFSET|INPUT_0_SIZE|fashion_mnist_input_0", header)
    report = json.loads((build / "report.json").read_text())
    (image,) = report["inputs"]
    assert (image["rows"], image["row_bytes"], image["bytes"]) == (28, 28, 84)
    (ring,) = [buffer for buffer in report["buffers"] if buffer["kind"] == "input_ring"]
    assert (ring["offset"], ring["bytes"]) == (image["offset"], image["bytes"])
    assert {"state", "counters"} <= {buffer["kind"] for buffer in report["buffers"]}


def test_the_memory_report_shows_the_ring(build: Path) -> None:
    for arguments in ([str(build)], [str(MODEL), "-t", "stm32h743", "--stream-input"]):
        result = command("memory-report", *arguments)
        assert result.exit_code == 0
        assert "[input_ring] 84" in result.output
        assert "84 bytes for rows of the input" in result.output
    with pytest.raises(UsageError, match="--stream-input is for compiling"):
        command("memory-report", str(build), "--stream-input")


@needs_gcc
def test_verify_pushes_rows() -> None:
    result = command("verify", str(MODEL), "-t", "host", "--stream-input", "--samples", "3")
    assert result.exit_code == 0
    assert "equal: 30 output values of 3 samples" in result.output


@needs_gcc_arm
def test_the_stack_of_a_push_is_measured() -> None:
    compiled = tinyc.load(MODEL).compile("stm32f412", stream_input=True)
    assert compiled.report.ram.stack_bytes is not None
    assert f"#define FASHION_MNIST_STACK_SIZE {compiled.report.ram.stack_bytes}" in compiled.files["fashion_mnist.h"]
    assert "Stack that fashion_mnist_push_row needs" in compiled.files["fashion_mnist.h"]
    assert compiled.report.ram.stack_bytes > 100


@needs_profile
def test_a_profile_counts_all_pushes(build: Path) -> None:
    run = json.loads(command("run", str(build), "--runner", "unicorn", "--json").output)
    profile = json.loads(command("profile", str(build), "--format", "json").output)
    assert sum(layer["instructions"] for layer in profile["layers"]) == run["instructions"]


def test_the_report_of_an_input_that_sets_the_peak_names_the_option() -> None:
    builder = NetworkBuilder(2)
    value = builder.conv(builder.input((1, 40, 40, 3)), 2, (3, 3), (4, 4))
    model = Model("net", builder.finish(builder.depthwise(value)))
    report = model.compile("host", measure=False).report
    (remedy,) = [entry for entry in model.remedies(report) if entry.change.startswith("--stream-input")]
    pushed = model.compile("host", measure=False, stream_input=True).report
    assert remedy.arena_bytes == pushed.ram.arena_bytes
    assert not any(entry.change.startswith("--stream-input") for entry in model.remedies(pushed, stream_input=True))


def test_an_own_pipeline_and_the_option_exclude_each_other() -> None:
    with pytest.raises(UsageError, match=r"stream-rows\{input=true\}"):
        tinyc.load(MODEL).compile("host", passes="select-kernels,plan-memory", stream_input=True)


def test_a_network_that_cannot_be_pushed_writes_nothing_and_exits_with_1(tmp_path: Path) -> None:
    builder = NetworkBuilder(1)
    module = builder.finish(builder.add(builder.input((1, 4, 4, 2)), builder.input((1, 4, 4, 2))))
    (tmp_path / "sum.mlir").write_text(print_module(module, print_weights=True))
    arguments = ["compile", str(tmp_path / "sum.mlir"), "-t", "host", "-o", str(tmp_path / "out"), "--stream-input"]
    program = [sys.executable, "-c", "from tinyc.cli import main; main()", *arguments]
    result = subprocess.run(program, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "--stream-input: input_0: INPUT: the network has 2 inputs" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@needs_gcc
def test_the_camera_loop_of_the_documentation_compiles_without_a_warning(build: Path, tmp_path: Path) -> None:
    (text,) = re.findall(r"^```c\n(.*?)^```$", (ROOT / "docs" / "stream-input.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "camera.c").write_text(text)
    arguments = ["gcc", "-std=c99", *WARNINGS, "-fsyntax-only", "-I", str(build), str(tmp_path / "camera.c")]
    found = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
