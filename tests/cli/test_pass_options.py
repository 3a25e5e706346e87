"""Options that look into the pass pipeline: printing, stopping, inserting, reproducing crashes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tinyc.cli.main import cli
from tinyc.errors import PassError

MODEL = str(Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite")


def opt(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["opt", MODEL, *arguments], catch_exceptions=False)


def headings(result: Result) -> list[str]:
    return [line.strip("/- ") for line in result.stderr.splitlines() if line.startswith("// -----")]


def test_print_ir_after_all_prints_behind_every_pass() -> None:
    result = opt("-p", "canonicalize,fold-pad", "--print-ir-after-all")
    assert headings(result) == ["IR after canonicalize", "IR after fold-pad"]


def test_print_ir_after_change_leaves_out_passes_that_change_nothing() -> None:
    result = opt("-p", "eliminate-dead-code,canonicalize,select-kernels,plan-memory", "--print-ir-after-change")
    assert headings(result) == ["IR after select-kernels", "IR after plan-memory"]


def test_print_ir_before_and_after_name_single_passes() -> None:
    result = opt("-p", "canonicalize,fold-pad,fuse-activation", "--print-ir-before", "fold-pad", "--print-ir-after", "fuse-activation")
    assert headings(result) == ["IR before fold-pad", "IR after fuse-activation"]


def test_stop_after_ends_the_pipeline_there() -> None:
    assert "mcu.call" not in opt("-p", "canonicalize,select-kernels", "--stop-after", "canonicalize").stdout
    assert "mcu.call" in opt("-p", "canonicalize,select-kernels").stdout


def test_compile_with_stop_after_prints_ir_and_writes_nothing(tmp_path: Path) -> None:
    arguments = ["compile", MODEL, "-t", "cortex-m4", "-o", str(tmp_path / "out"), "--stop-after", "fold-pad"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert "nn.conv2d" in result.stdout
    assert not (tmp_path / "out").exists()


def test_insert_pass_runs_before_or_after_its_anchor() -> None:
    result = opt(
        "-p", "canonicalize,fold-pad", "--insert-pass", "after:canonicalize=eliminate-dead-code", "--insert-pass",
        "before:canonicalize=order-operators{max-states=7}", "--print-ir-after-all",
    )  # fmt: skip
    names = ["order-operators", "canonicalize", "eliminate-dead-code", "fold-pad"]
    assert headings(result) == [f"IR after {name}" for name in names]


def test_timing_lists_every_pass() -> None:
    lines = opt("-p", "canonicalize,fold-pad", "--timing").stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["pass", "canonicalize", "fold-pad", "total"]


def test_a_crash_reproducer_replays_the_failing_pass(tmp_path: Path) -> None:
    file = tmp_path / "crash.mlir"
    with pytest.raises(PassError, match="select-kernels first"):
        opt("-p", "canonicalize,plan-memory,size-im2col{slack=9}", "--crash-reproducer", str(file))
    command = file.read_text().splitlines()[0].removeprefix("// tinyc opt crash.mlir -p ")
    assert command == "'plan-memory,size-im2col{slack=9}'"
    with pytest.raises(PassError, match="select-kernels first"):
        CliRunner().invoke(cli, ["opt", str(file), "-p", command.strip("'")], catch_exceptions=False)


def test_no_verify_each_verifies_once_at_the_end() -> None:
    result = opt("-p", "canonicalize,fold-pad", "--no-verify-each", "--timing")
    assert result.exit_code == 0
    assert all(float(line.split()[2]) < 1 for line in result.stderr.splitlines()[1:-1])


def test_printed_ir_reads_back_to_the_same_text(tmp_path: Path) -> None:
    text = opt("--print-weights").stdout
    (tmp_path / "x.mlir").write_text(text)
    again = CliRunner().invoke(cli, ["opt", str(tmp_path / "x.mlir"), "--print-weights"], catch_exceptions=False)
    assert again.stdout == text
