"""What is no linked program for ARM is refused, and what is one was read by others the same way."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tinyc.errors import ToolError
from tinyc.targets import load_target
from tinyc.toolchains import find_gcc_arm, run_tool
from tinyc.toolchains.elf import Program, Symbol, read_program

needs_gcc_arm = pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed")
SOURCE = """#include <stdint.h>
uint32_t choose(uint32_t value);
const uint32_t table[3] = {1, 2, 0xDEADBEEFu};
uint32_t choose(uint32_t value)
{
    switch (value) {
    case 0: return 5; case 1: return 77; case 2: return 13; case 3: return 4; case 4: return 0x12345678u; case 5: return 9;
    default: return table[value & 1];
    }
}
"""
SCRIPT = """ENTRY(choose)
MEMORY { FLASH (rx) : ORIGIN = 0x8000, LENGTH = 4096 }
SECTIONS { .code : { KEEP(*(.text*)) } > FLASH .rest : { KEEP(*(.rodata*)) } > FLASH }
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    source, script = tmp_path / "choose.c", tmp_path / "script.ld"
    source.write_text(SOURCE)
    script.write_text(SCRIPT)
    gcc, flags = find_gcc_arm(), load_target("stm32f746").gcc_flags
    return gcc.link(gcc.compile([source], tmp_path, flags), script, tmp_path / "choose.elf", flags)


@needs_gcc_arm
def test_symbols_segments_and_entry_are_those_that_the_tools_show(image: Path) -> None:
    program, gcc = read_program(image), find_gcc_arm()
    named = gcc.symbols(image)
    assert {name: address for name, address in program.addresses().items() if name in named} == named
    assert program.entry == named["choose"] == 0x8000
    dump = image.with_suffix(".bin")
    run_tool([gcc.tool("objcopy"), "-O", "binary", image, dump])
    (segment,) = program.segments
    assert (segment.address, segment.executable) == (0x8000, True)
    assert segment.data == dump.read_bytes()


@needs_gcc_arm
def test_code_is_told_from_the_tables_inside_it(image: Path) -> None:
    program = read_program(image)
    listing = run_tool([find_gcc_arm().tool("objdump"), "-d", image]).stdout
    shown = {int(line.split(":")[0], 16) for line in listing.splitlines() if line.startswith("    ") and "\t." not in line}
    inside = {address for start, code in program.thumb_code() for address in range(start, start + len(code), 2)}
    assert shown <= inside
    data = {int(line.split(":")[0], 16) for line in listing.splitlines() if line.startswith("    ") and "\t.word" in line}
    assert data
    assert not data & inside


@needs_gcc_arm
def test_a_truncated_program_is_refused(image: Path) -> None:
    whole = image.read_bytes()
    for size in (0, 20, 60, len(whole) // 2, len(whole) - 100):
        image.write_bytes(whole[:size])
        with pytest.raises(ToolError, match="is not a linked program for ARM"):
            read_program(image)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot read"):
        read_program(tmp_path / "absent")
    with pytest.raises(ToolError, match="is not a linked program for ARM"):
        read_program(Path(sys.executable))


def test_functions_are_found_by_the_addresses_they_cover() -> None:
    first, second = Symbol("first", 16, 8, True), Symbol("second", 24, 4, True)
    program = Program(16, (), (first, Symbol("data", 0, 64, False), second))
    assert [program.function_at(address) for address in (15, 16, 23, 24, 27, 28)] == [None, first, first, second, second, None]
    with pytest.raises(ToolError, match="no symbol absent"):
        program.symbol("absent")
