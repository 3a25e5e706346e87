"""The Renode runner without Renode: its script, the semihosting inside the script, and a stand-in for the program."""

from __future__ import annotations

import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_build import needs_arm_compiler

from tinyc.errors import DoesNotFitError, ToolError, UsageError
from tinyc.runners import RunnerError, run_build
from tinyc.runners.description import read_description
from tinyc.runners.emulated import RUNTIME_SOURCES, build_program
from tinyc.runners.part import part_memory
from tinyc.runners.renode import PLATFORMS, STACK_BYTES, read_counts, renode_script, semihosting_breakpoint
from tinyc.runners.semihosting import CLOSE, EXIT_EXTENDED, OPEN, READ, WRITE
from tinyc.targets import load_target
from tinyc.toolchains import find_arm_toolchain
from tinyc.toolchains.elf import Program

Build = Callable[..., Path]
SAMPLE = np.arange(12, dtype=np.int8).reshape(3, 4)


def rendered(folder: Path, work_dir: Path, target: str) -> tuple[Program, str]:
    description = read_description(folder)
    work_dir.mkdir()
    memory = part_memory(load_target(target))
    definitions = ["-DTINYC_SEMIHOSTING=1"]
    program = build_program(description, memory, STACK_BYTES, find_arm_toolchain(), work_dir, RUNTIME_SOURCES, definitions)
    return program, renode_script(description, program, work_dir)


@needs_arm_compiler
@pytest.mark.parametrize("target", list(PLATFORMS))
def test_the_script_loads_the_program_on_the_model_of_the_part(build: Build, tmp_path: Path, target: str) -> None:
    program, script = rendered(build(target), tmp_path / "run", target)
    addresses = program.addresses()
    lines = script.splitlines()
    assert f"machine LoadPlatformDescription @{PLATFORMS[target]}" in lines
    assert "sysbus LoadELF $ORIGIN/harness.elf" in lines
    assert "cpu VectorTableOffset 0x08000000" in lines
    assert f"cpu AddHook {semihosting_breakpoint(program):#010x} $semihosting" in lines
    for name in ("tinyc_profile_begin", "tinyc_profile_end"):
        assert f"cpu AddHook {addresses[name]:#010x} $count" in lines
    assert lines[-1] == "start"
    assert all(0x08000000 <= segment.address < 0x08000000 + load_target(target).flash_bytes for segment in program.segments)


class Machine:
    """Memory and registers as the Python inside Renode sees them."""

    def __init__(self) -> None:
        self.memory = bytearray(4096)
        self.registers = [0] * 16
        self.killed = False

    def hook(self, folder: Path, script: str, name: str) -> Callable[[int, list[int]], int]:
        text = script.split(f'set {name}\n"""\n')[1].split('"""')[0]
        bus = SimpleNamespace(
            ReadDoubleWord=lambda address: struct.unpack_from("<I", self.memory, address)[0],
            ReadBytes=lambda address, size: bytes(self.memory[address : address + size]),
            WriteBytes=self.write,
        )
        cpu = SimpleNamespace(
            GetRegister=lambda number: SimpleNamespace(RawValue=self.registers[number]),
            SetRegister=self.registers.__setitem__,
            PC=0,
        )
        scope: dict[str, Any] = {"self": cpu, "machine": SimpleNamespace(SystemBus=bus)}
        scope["RegisterValue"] = SimpleNamespace(Create=lambda value, bits: value)

        def call(operation: int, block: list[int]) -> int:
            struct.pack_into(f"<{len(block)}I", self.memory, 16, *block)
            self.registers[:2] = [operation, 16]
            exec(text, scope)
            return self.registers[0]

        return call

    def write(self, data: bytes, address: int) -> None:
        self.memory[address : address + len(data)] = data


@pytest.fixture
def dot_net(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand-ins for what the script imports from .NET; the list gets a word when the process is killed."""
    words: list[str] = []
    modules = {name: ModuleType(name) for name in ("System", "System.Diagnostics", "System.IO")}
    modules["System"].Array = {"byte": bytes}  # type: ignore[attr-defined]
    modules["System"].Byte = "byte"  # type: ignore[attr-defined]
    process = SimpleNamespace(Kill=lambda: words.append("killed"))
    modules["System.Diagnostics"].Process = SimpleNamespace(GetCurrentProcess=lambda: process)  # type: ignore[attr-defined]
    modules["System.IO"].File = SimpleNamespace(  # type: ignore[attr-defined]
        ReadAllBytes=lambda path: Path(path).read_bytes(),
        WriteAllBytes=lambda path, data: Path(path).write_bytes(data),
        WriteAllText=lambda path, text: Path(path).write_text(text),
    )
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return words


@needs_arm_compiler
def test_the_semihosting_in_the_script_reads_writes_prints_and_ends(build: Build, tmp_path: Path, dot_net: list[str]) -> None:
    work = tmp_path / "run"
    _, script = rendered(build("stm32f746"), work, "stm32f746")
    (work / "input.bin").write_bytes(bytes(range(10)))
    machine = Machine()
    call = machine.hook(work, script, "semihosting")

    def opened(name: bytes, mode: int) -> int:
        machine.write(name + b"\0", 100)
        return call(OPEN, [100, mode, len(name)])

    given, wanted, console = opened(b"input.bin", 1), opened(b"output.bin", 5), opened(b":tt", 5)
    assert len({given, wanted, console}) == 3
    assert opened(b"/etc/passwd", 1) == 0xFFFFFFFF
    assert call(READ, [given, 200, 6]) == 0
    assert machine.memory[200:206] == bytes(range(6))
    assert call(READ, [given, 200, 6]) == 2
    assert machine.memory[200:204] == bytes(range(6, 10))
    assert call(WRITE, [wanted, 200, 4]) == 0
    machine.write(b"hello\n", 300)
    assert call(WRITE, [console, 300, 6]) == 0
    assert call(CLOSE, [wanted]) == 0
    assert dot_net == []
    call(EXIT_EXTENDED, [0x20026, 3])
    assert dot_net == ["killed"]
    assert (work / "output.bin").read_bytes() == bytes(range(6, 10))
    assert (work / "console.txt").read_bytes() == b"hello\n"
    assert (work / "status.txt").read_text() == "3"
    assert (work / "input.bin").read_bytes() == bytes(range(10))


STAND_IN = """#!{python}
import pathlib, sys
assert sys.argv[-1] == "run.resc"
data = pathlib.Path("input.bin").read_bytes()
pathlib.Path("output.bin").write_bytes(data[::-1])
pathlib.Path("instructions.txt").write_text("100\\n150\\n")
pathlib.Path("console.txt").write_text('{{"status": "ok", "samples": 1, "stack_bytes": 24}}\\n')
{end}
"""


@needs_arm_compiler
def test_files_that_renode_leaves_become_a_result(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "renode"
    fake.parent.mkdir()
    fake.write_text(STAND_IN.format(python=sys.executable, end='pathlib.Path("status.txt").write_text("0")'))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=":")
    result = run_build(build("stm32f765"), "renode", {"input_0": SAMPLE})
    assert (result.instructions, result.stack_bytes, result.runner) == (50, 24, "renode")
    np.testing.assert_array_equal(result.outputs["output_0"].ravel(), SAMPLE.ravel()[::-1])
    assert any("stm32f777" in note for note in result.notes)


@needs_arm_compiler
def test_a_renode_that_ends_without_the_program_is_an_error(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "renode"
    fake.parent.mkdir()
    fake.write_text(STAND_IN.format(python=sys.executable, end='print("error: no such platform"); sys.exit(0)'))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=":")
    with pytest.raises(RunnerError, match=r"(?s)without a report.*no such platform"):
        run_build(build("stm32f765"), "renode", {"input_0": SAMPLE})


@pytest.mark.parametrize("target", ["cortex-m7", "host"])
def test_a_target_without_a_model_in_renode_is_refused_with_those_that_have_one(build: Build, target: str) -> None:
    with pytest.raises(UsageError, match="stm32f412, stm32f746, stm32f765, stm32h743"):
        run_build(build(target), "renode", {"input_0": SAMPLE})


@needs_arm_compiler
def test_what_does_not_fit_the_part_is_refused(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "renode"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=":")
    with pytest.raises(DoesNotFitError, match="do not fit stm32f746"):
        run_build(build("stm32f746", arena_bytes=320_000), "renode", {"input_0": SAMPLE})


def test_counts_that_do_not_belong_to_the_samples_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "instructions.txt"
    with pytest.raises(ToolError, match="0 of the 2 ends"):
        read_counts(path, 1)
    path.write_text("10\n25\n30\n46\n")
    assert read_counts(path, 2) == (15, 16)
    with pytest.raises(ToolError, match="4 of the 2 ends"):
        read_counts(path, 1)


@pytest.mark.skipif(shutil.which("renode") is None, reason="renode is not installed")
@needs_arm_compiler
@pytest.mark.parametrize("target", list(PLATFORMS))
def test_renode_gives_the_answer_and_counts(build: Build, target: str) -> None:
    result = run_build(build(target), "renode", {"input_0": SAMPLE}, timeout_seconds=120)
    np.testing.assert_array_equal(result.outputs["output_0"].ravel(), SAMPLE.ravel()[::-1])
    assert result.instructions is not None
    assert result.instructions > 12
