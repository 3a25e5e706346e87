"""Compilers: found, run, measured; and errors that say what to install or what the tool said."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinyc.errors import DoesNotFitError, ToolError
from tinyc.targets import load_target
from tinyc.toolchains import find_gcc_arm, find_native_compiler, find_tool, run_tool
from tinyc.toolchains.gcc_arm import DEFAULT_FLAGS
from tinyc.toolchains.process import ToolTimeoutError
from tinyc.toolchains.runtime_files import runtime_directory

needs_gcc_arm = pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed")
needs_native_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler is installed")

SOURCE = """#include <stdint.h>
int32_t total(void);
const int32_t table[16] = {1};
int32_t initialised[4] = {1, 2, 3, 4};
int32_t zeroed[32];
int32_t total(void) { return table[3] + initialised[1] + zeroed[2]; }
"""
SCRIPT = """MEMORY { FLASH (rx) : ORIGIN = 0, LENGTH = %d }
SECTIONS { .code : { KEEP(*(.text*)) } > FLASH .rest : { KEEP(*(.rodata* .data* .bss*)) } > FLASH }
"""


@pytest.mark.parametrize(("find", "package"), [(find_gcc_arm, "gcc-arm-none-eabi"), (find_native_compiler, "package gcc")])
def test_a_missing_compiler_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, find: object, package: str) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "ziglang", None)
    assert callable(find)
    with pytest.raises(ToolError, match=package):
        find()


def test_a_failing_tool_is_reported_with_its_first_error_lines() -> None:
    program = "import sys; print('noise', file=sys.stderr); print('x.c:1: error: bad thing', file=sys.stderr); sys.exit(3)"
    with pytest.raises(ToolError, match=r"(?s)exit code 3\n  x.c:1: error: bad thing$"):
        run_tool([sys.executable, "-c", program])


def test_a_tool_killed_by_a_signal_is_reported_as_that() -> None:
    with pytest.raises(ToolError, match="killed by signal 9"):
        run_tool([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])


def test_a_tool_past_its_time_limit_is_stopped() -> None:
    with pytest.raises(ToolTimeoutError, match=r"time limit of 0\.2 seconds"):
        run_tool([sys.executable, "-c", "import time; time.sleep(30)"], timeout_seconds=0.2)


def test_control_characters_of_a_tool_do_not_reach_the_terminal() -> None:
    with pytest.raises(ToolError) as caught:
        run_tool([sys.executable, "-c", "import sys; sys.stderr.write('error: \\x1b[31mred'); sys.exit(1)"])
    assert "\x1b" not in str(caught.value)


def test_a_tool_that_cannot_be_started_is_a_tool_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("")
    broken.chmod(0o755)
    with pytest.raises(ToolError, match="cannot run"):
        run_tool([broken])


def test_the_first_tool_on_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "second"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_tool(["first", "second"], "nothing") == tool


@needs_gcc_arm
def test_object_sizes_are_split_by_what_they_cost(tmp_path: Path) -> None:
    source = tmp_path / "sum.c"
    source.write_text(SOURCE)
    gcc = find_gcc_arm()
    objects = gcc.compile([source], tmp_path, load_target("stm32f412").gcc_flags)
    (size,) = gcc.sizes(objects)
    assert (size.name, size.rodata, size.data, size.bss) == ("sum.c.o", 64, 16, 128)
    assert 8 <= size.text <= 40
    assert size.flash == size.text + 64 + 16
    assert size.ram == 16 + 128


@needs_gcc_arm
def test_a_compile_error_carries_the_compilers_words(tmp_path: Path) -> None:
    source = tmp_path / "wrong.c"
    source.write_text("int f(void) { return missing_name; }\n")
    with pytest.raises(ToolError, match="missing_name"):
        find_gcc_arm().compile([source], tmp_path, load_target("stm32f412").gcc_flags)


@needs_gcc_arm
def test_linking_past_the_end_of_a_region_says_by_how_much(tmp_path: Path) -> None:
    source, script = tmp_path / "sum.c", tmp_path / "small.ld"
    source.write_text(SOURCE)
    gcc, flags = find_gcc_arm(), load_target("stm32f412").gcc_flags
    objects = gcc.compile([source], tmp_path, flags)
    script.write_text(SCRIPT % 4096)
    used = sum(size.flash + size.bss for size in gcc.sizes([gcc.link(objects, script, tmp_path / "fits.elf", flags)]))
    script.write_text(SCRIPT % (used - 12))
    with pytest.raises(DoesNotFitError, match="region FLASH is too small by 12 bytes"):
        gcc.link(objects, script, tmp_path / "large.elf", flags)


@needs_gcc_arm
def test_an_undefined_function_is_a_tool_error_with_its_name(tmp_path: Path) -> None:
    source, script = tmp_path / "call.c", tmp_path / "script.ld"
    source.write_text("int absent(void);\nint main(void);\nint main(void) { return absent(); }\n")
    script.write_text("ENTRY(main)\n" + SCRIPT % 4096)
    gcc, flags = find_gcc_arm(), load_target("stm32f412").gcc_flags
    with pytest.raises(ToolError, match="absent"):
        gcc.link(gcc.compile([source], tmp_path, flags), script, tmp_path / "a.elf", flags)


@needs_gcc_arm
def test_symbols_of_functions_have_no_thumb_bit(tmp_path: Path) -> None:
    source, script = tmp_path / "sum.c", tmp_path / "script.ld"
    source.write_text(SOURCE)
    script.write_text(SCRIPT % 4096)
    gcc, flags = find_gcc_arm(), load_target("stm32f412").gcc_flags
    symbols = gcc.symbols(gcc.link(gcc.compile([source], tmp_path, flags), script, tmp_path / "a.elf", flags))
    assert symbols["total"] % 2 == 0
    assert {"table", "zeroed"} <= set(symbols)


@needs_native_compiler
def test_the_native_compiler_makes_a_program_that_runs(tmp_path: Path) -> None:
    source = tmp_path / "main.c"
    source.write_text('#include <stdio.h>\nint main(void) { return puts("hello") < 0; }\n')
    compiler = find_native_compiler()
    program = compiler.link(compiler.compile([source], tmp_path / "objects"), tmp_path / "main")
    assert subprocess.run([program], capture_output=True, check=True, text=True).stdout == "hello\n"


@needs_native_compiler
def test_sources_with_one_name_are_refused_instead_of_overwriting_each_other(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.c").write_text("typedef int unused;\n")
    with pytest.raises(ToolError, match="two sources have the same file name"):
        find_native_compiler().compile([tmp_path / "a/same.c", tmp_path / "b/same.c"], tmp_path / "objects")


@needs_gcc_arm
@pytest.mark.parametrize(
    "name", ["startup/startup.c", "startup/semihosting.c", "harness/platform_emulator.c", "harness/text.c", "harness/profile.c"]
)
@pytest.mark.parametrize("semihosting", [0, 1])
def test_runtime_c_for_the_part_compiles_without_a_warning(tmp_path: Path, name: str, semihosting: int) -> None:
    target = load_target("stm32f746")
    flags = [*DEFAULT_FLAGS, "-Werror", f"-DTINYC_SEMIHOSTING={semihosting}"]
    assert find_gcc_arm().compile([runtime_directory() / name], tmp_path, target.gcc_flags, flags)[0].is_file()


@needs_native_compiler
@pytest.mark.parametrize("name", ["harness/platform_host.c", "harness/text.c", "harness/profile.c", "emulator/instruction_counter.c"])
def test_runtime_c_for_this_machine_compiles_without_a_warning(tmp_path: Path, name: str) -> None:
    assert find_native_compiler().compile([runtime_directory() / name], tmp_path, [*DEFAULT_FLAGS, "-Werror"])[0].is_file()
