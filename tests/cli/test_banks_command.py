"""--banks from the command line: C, report, verification, refusals."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from small_network import small_network

import tinyc
from support.kernel_harness import WARNINGS
from support.network_builder import NetworkBuilder
from tinyc.api import Model
from tinyc.cli.main import cli, run_cli
from tinyc.errors import DoesNotFitError, UsageError
from tinyc.ir.text import print_module
from tinyc.report.memory import MemoryReport
from tinyc.report.text import report_text
from tinyc.targets import load_target, load_target_file

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples" / "fashion_mnist" / "fashion_mnist.tflite"
BANKS = "dtcm=3K,axi=8K"
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
needs_qemu = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None, reason="needs arm-none-eabi-gcc and QEMU"
)
needs_unicorn = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or importlib.util.find_spec("unicorn") is None, reason="needs arm-none-eabi-gcc and unicorn"
)


def command(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("banks") / "build"
    result = command("compile", str(MODEL), "-t", "stm32h743", "-o", str(folder), "--no-measure", "--banks", BANKS)
    assert result.exit_code == 0, result.output
    assert "% of the estimated loads and stores" in result.output
    return folder


def test_report_and_header_agree_on_every_bank(build: Path) -> None:
    report = json.loads((build / "report.json").read_text())
    header = (build / "fashion_mnist.h").read_text()
    assert "arena" not in report
    for arena, limit in zip(report["arenas"], (3 << 10, 8 << 10), strict=True):
        assert f"#define FASHION_MNIST_ARENA_SIZE_{arena['bank'].upper()} {arena['bytes']}\n" in header
        inside = [buffer["offset"] + buffer["bytes"] for buffer in report["buffers"] if buffer["bank"] == arena["bank"]]
        assert max(inside) <= arena["bytes"] <= limit
    assert report["ram"]["arena_bytes"] == sum(arena["bytes"] for arena in report["arenas"])
    fast, slow = report["banks"]
    assert fast["accesses"] > 4 * slow["accesses"]
    assert (fast["holds_stack"], slow["holds_stack"]) == (True, False)


def test_the_memory_report_shows_each_banks_use_and_its_part_of_the_map(build: Path, tmp_path: Path) -> None:
    for arguments in ([str(build)], [str(MODEL), "-t", "stm32h743", "--banks", BANKS]):
        text = command("memory-report", *arguments).output
        assert "of 3,072 (" in text
        assert "of 8,192 (" in text
        assert "banks side by side: dtcm from column 0 to " in text
    page = tmp_path / "report.html"
    assert command("memory-report", str(build), "--format", "html", "-o", str(page)).exit_code == 0
    assert "of bank dtcm" in page.read_text()
    with pytest.raises(UsageError, match="--banks is for compiling"):
        command("memory-report", str(build), "--banks", BANKS)


def test_buffers_share_bytes_only_within_a_bank(build: Path) -> None:
    report = json.loads((build / "report.json").read_text())
    assert report["overlaps"]
    for overlap in report["overlaps"]:
        assert report["buffers"][overlap["result"]]["bank"] == report["buffers"][overlap["source"]]["bank"]


@pytest.mark.parametrize(
    ("runner", "target", "banks"),
    [
        pytest.param("qemu", "stm32h743", BANKS, marks=needs_qemu),
        pytest.param("unicorn", "stm32h743", "dtcm=2K,d2=2K,d3=12K", marks=needs_unicorn),
        pytest.param("host", "host", "fast=3K,slow=8K", marks=needs_gcc),
    ],
)
@pytest.mark.parametrize("pushed", [[], ["--stream-input"]], ids=["whole input", "pushed input"])
def test_outputs_are_exact_wherever_it_runs(runner: str, target: str, banks: str, pushed: list[str]) -> None:
    result = command("verify", str(MODEL), "-t", target, "--runner", runner, "--banks", banks, *pushed)
    assert result.exit_code == 0
    assert "equal: 20 output values of 2 samples" in result.output


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("small") / "small.mlir"
    path.write_text(print_module(small_network().module, print_weights=True), encoding="utf-8")
    return str(path)


def test_a_bank_that_is_too_small_is_named_and_the_exit_code_is_3(small: str, tmp_path: Path) -> None:
    result = command("check", small, "-t", "stm32h743", "--banks", "dtcm=256,axi=1K")
    assert result.exit_code == DoesNotFitError.exit_code == 3
    assert "RAM bank axi: its arena needs" in result.output
    with pytest.raises(DoesNotFitError, match="RAM bank axi: its arena needs"):
        command("compile", small, "-t", "stm32h743", "-o", str(tmp_path / "out"), "--banks", "dtcm=256,axi=1K", "--no-measure")
    assert not (tmp_path / "out").exists()


@needs_qemu
def test_a_bank_in_which_the_stack_finds_no_room_is_named(tmp_path: Path) -> None:
    path = tmp_path / "part.toml"
    path.write_text(
        'inherit = "stm32h743"\nname = "narrow"\narena_bank = "slow"\nstack_bank = "fast"\n'
        '[[banks]]\nname = "fast"\nstart = 0x20000000\nbytes = 2800\n[[banks]]\nname = "slow"\nstart = 0x24000000\nbytes = 65536\n'
    )
    model, target = tinyc.load(MODEL), load_target_file(path)
    assert model.compile(target, banks="fast=2K,slow").report.ram.stack_bytes
    with pytest.raises(DoesNotFitError, match="RAM bank fast: arena and stack need"):
        model.compile(target, banks="fast=2800,slow")


def test_the_target_s_own_banks_leave_room_for_the_stack() -> None:
    report = tinyc.load(MODEL).compile("stm32h743", banks="auto", measure=False).report
    (bank,) = report.banks
    assert (bank.name, bank.limit_bytes, bank.capacity_bytes) == ("dtcm", 131072 - 4096, 131072)


def test_a_part_with_one_bank_keeps_the_plain_interface() -> None:
    plain = tinyc.load(MODEL).compile("stm32f412", measure=False).files["fashion_mnist.h"]
    banked = tinyc.load(MODEL).compile("stm32f412", banks="auto", measure=False).files["fashion_mnist.h"]
    assert "int fashion_mnist_invoke(uint8_t *arena);" in plain
    assert "int fashion_mnist_invoke(uint8_t *arena);" in banked
    assert "Planned for the RAM bank sram1." in banked


def test_without_the_option_nothing_speaks_of_banks(build: Path) -> None:
    compiled = tinyc.load(MODEL).compile("stm32h743", measure=False)
    report = json.loads(compiled.files["report.json"])
    assert {"arenas", "banks"} & set(report) == set()
    assert not any("bank" in buffer for buffer in report["buffers"])
    assert "bank" not in compiled.files["fashion_mnist.h"]


def test_speed_uses_the_room_of_all_banks() -> None:
    model = tinyc.load(MODEL)
    fast = model.compile("stm32h743", banks="dtcm=3K,axi=20K", optimize="speed", measure=False).report
    assert fast.ram.arena_bytes > model.compile("stm32h743", banks=BANKS, measure=False).report.ram.arena_bytes
    assert [bank.arena_bytes <= bank.limit_bytes for bank in fast.banks] == [True, True]


SMALL_BANKS = "dtcm=1K,axi=8K"


def test_a_budget_is_about_all_arenas_together(small: str, tmp_path: Path) -> None:
    arguments = ["compile", small, "-t", "stm32h743", "-o", str(tmp_path / "out"), "--no-measure", "--banks", SMALL_BANKS]
    fast = small_network().compile("stm32h743", banks=SMALL_BANKS, optimize="speed", measure=False).report.ram.total_bytes
    assert command(*arguments, "--ram", str(fast - 1)).exit_code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["ram"]["total_bytes"] <= report["ram_limit_bytes"] == fast - 1
    assert len(report["banks"]) == 2
    with pytest.raises(DoesNotFitError, match=r"the arenas of all banks and the stack need [0-9]+ bytes together, 1024 are allowed"):
        command(*arguments, "--ram", "1K")


def test_every_point_of_a_curve_with_banks_is_what_its_flag_compiles(small: str) -> None:
    result = command("pareto", small, "-t", "stm32h743", "--no-count", "--points", "2", "--json", "--banks", SMALL_BANKS)
    points = json.loads(result.stdout)["points"]
    assert len(points) == 2
    for point in points:
        ram_bytes = int(point["flag"].removeprefix("--ram "))
        report = small_network().compile("stm32h743", banks=SMALL_BANKS, ram_bytes=ram_bytes, optimize="speed").report
        assert report.ram.total_bytes == point["ram_bytes"]
        assert len(report.banks) == 2


def test_what_is_advised_for_banks_makes_all_arenas_together_as_small_as_it_says() -> None:
    builder = NetworkBuilder(2)
    value = builder.conv(builder.input((1, 32, 32, 4)), 8, (3, 3), (2, 2), (0, 0, 1, 1))
    model = Model("wide", builder.finish(builder.conv(builder.pool(value, True, (8, 8), (8, 8)), 4)))

    def arenas(optimize: str = "balanced", stream_input: bool = False) -> MemoryReport:
        return model.compile("stm32h743", banks=SMALL_BANKS, measure=False, optimize=optimize, stream_input=stream_input).report

    whole = arenas()
    assert len(whole.banks) == 2
    remedies = model.remedies(whole, "stm32h743", banks=SMALL_BANKS)
    told = {remedy.change.partition(",")[0]: remedy.arena_bytes for remedy in remedies}
    assert told["--stream-input"] == arenas(stream_input=True).ram.arena_bytes
    assert told.get("--optimize ram", whole.ram.arena_bytes) == min(arenas("ram").ram.arena_bytes, whole.ram.arena_bytes)
    assert all(0 < remedy.saved_bytes == whole.ram.arena_bytes - remedy.arena_bytes for remedy in remedies)
    assert f"arenas {remedies[0].arena_bytes:,}" in report_text(replace(whole, remedies=remedies))
    assert "no option of tinyc makes these arenas, taken together, smaller" in report_text(replace(whole, remedies=()))


@needs_unicorn
def test_bench_measures_a_network_in_banks(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", str(MODEL), "-t", "stm32h743", "-t", "stm32f412", "--runner", "unicorn", "--banks", BANKS, "--json"]
    assert run_cli(arguments) == UsageError.exit_code
    found = json.loads(capsys.readouterr().out)
    report = tinyc.load(MODEL).compile("stm32h743", banks=BANKS, measure=False).report
    assert [row["arena"] for row in found["measurements"]] == [report.ram.arena_bytes]
    assert ["no RAM bank 'dtcm'" in refused["error"] for refused in found["refused"]] == [True]


@needs_gcc
def test_the_program_of_the_documentation_compiles_without_a_warning(build: Path, tmp_path: Path) -> None:
    (text,) = re.findall(r"^```c\n(.*?)^```$", (ROOT / "docs" / "banks.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "classify.c").write_text(text)
    arguments = ["gcc", "-std=c99", *WARNINGS, "-c", "-o", str(tmp_path / "classify.o"), "-I", str(build), str(tmp_path / "classify.c")]
    found = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ram", "2M"], "more than the 1015808 that the banks of stm32h743 have together"),
        (["--planner", "exact"], "leave out either it or --banks"),
        (["-p", "select-kernels,plan-memory"], "write plan-banks there"),
    ],
)
def test_options_that_contradict_banks_are_wrong_usage(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        command("compile", str(MODEL), "-t", "stm32h743", "-o", str(tmp_path / "out"), "--banks", BANKS, *arguments)


def test_a_target_says_how_slow_its_banks_are(tmp_path: Path) -> None:
    path = tmp_path / "part.toml"
    text = 'inherit = "stm32h743"\nname = "slow-first"\n[[banks]]\nname = "one"\nstart = 0x20000000\nbytes = 65536\nwait_cycles = 3\n'
    path.write_text(text + '[[banks]]\nname = "two"\nstart = 0x24000000\nbytes = 65536\n')
    target = load_target_file(path)
    assert [bank["wait_cycles"] for bank in target.facts()["banks"] if "wait_cycles" in bank] == [3]
    report = tinyc.load(MODEL).compile(target, banks="auto", measure=False).report
    assert [bank.name for bank in report.banks] == ["two"]
    assert all("wait_cycles" not in bank for bank in load_target("stm32h743").facts()["banks"])
    path.write_text(text.replace("wait_cycles = 3", "wait_cycles = 100"))
    with pytest.raises(UsageError, match="`wait_cycles` must be a whole number from 0 to 64"):
        load_target_file(path)


@needs_unicorn
def test_a_profile_adds_the_wait_cycles_of_each_bank(build: Path, tmp_path: Path) -> None:
    def cycles(waits: dict[str, int]) -> tuple[int, str]:
        folder = tmp_path / "-".join(map(str, waits.values()))
        shutil.copytree(build, folder)
        report = json.loads((folder / "report.json").read_text())
        for bank in report["target"]["banks"]:
            bank["wait_cycles"] = waits.get(bank["name"], 0)
        (folder / "report.json").write_text(json.dumps(report))
        profile = json.loads(command("profile", str(folder), "--format", "json").output)
        return sum(layer["estimated_cycles"] for layer in profile["layers"]), profile["timing"]

    (none, plain), (fast, _), (slow, text) = cycles({"dtcm": 0}), cycles({"dtcm": 2, "d2": 9}), cycles({"axi": 2})
    assert plain == "memory without wait states"
    assert text == "2 wait cycles an access to the arena in bank axi"
    assert (fast - none) % 2 == (slow - none) % 2 == 0
    # The estimate by which buffers were placed promises what is counted.
    fast_share = (fast - none) / (fast + slow - 2 * none)
    accesses = [bank["accesses"] for bank in json.loads((build / "report.json").read_text())["banks"]]
    assert fast_share == pytest.approx(accesses[0] / sum(accesses), abs=0.03)
