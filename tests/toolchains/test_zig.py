"""zig as a compiler for Cortex-M and for this machine, and the small C library that stands in where it has none."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyc.errors import DoesNotFitError, ToolError, UsageError
from tinyc.targets import load_target
from tinyc.toolchains import find_arm_toolchain, find_native_compiler, find_zig_arm
from tinyc.toolchains.elf import read_program
from tinyc.toolchains.runtime_files import runtime_directory
from tinyc.toolchains.zig import zig_arguments, zig_environment
from tinyc.verify import verify

needs_zig = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed")
needs_native_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler is installed")
SCRIPT = """MEMORY {{ FLASH (rx) : ORIGIN = 0x1000, LENGTH = {flash} RAM (rw) : ORIGIN = 0x20000000, LENGTH = 4096 }}
SECTIONS {{ .code : {{ KEEP(*(.text*)) }} > FLASH .rest : {{ *(.rodata*) }} > FLASH
  .extab : {{ *(.ARM.extab*) }} > FLASH .exidx : {{ *(.ARM.exidx*) }} > FLASH .data : {{ *(.data* .bss*) }} > RAM }}
"""
SOURCE = """#include <math.h>
#include <stdint.h>
#include <string.h>
int32_t table[64];
int64_t Reset_Handler(int64_t a, int64_t b, float c);
int64_t Reset_Handler(int64_t a, int64_t b, float c)
{
    memset(table, 1, sizeof table);
    return a * b + lrintf(c * 1.5f) + table[(int)c & 63];
}
"""


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("stm32f412", ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4+vfp4d16sp", "-mfloat-abi=hard")),
        ("stm32f746", ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m7+fp_armv8d16sp", "-mfloat-abi=hard")),
        ("stm32h743", ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m7+fp_armv8d16", "-mfloat-abi=hard")),
    ],
)
def test_the_flags_of_a_target_become_zigs(target: str, expected: tuple[str, ...]) -> None:
    assert zig_arguments(load_target(target).gcc_flags) == expected


def test_a_core_that_zig_is_not_known_to_compile_for_is_refused() -> None:
    with pytest.raises(UsageError, match="zig cannot compile for the flags -mcpu=cortex-m0"):
        zig_arguments(["-mcpu=cortex-m0", "-mthumb"])


@needs_zig
@pytest.mark.parametrize(
    "flags",
    [
        load_target("stm32f412").gcc_flags,
        load_target("stm32h743").gcc_flags,
        ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=softfp"),
    ],
)
def test_a_program_without_c_library_is_linked_and_read_back(tmp_path: Path, flags: tuple[str, ...]) -> None:
    source, script = tmp_path / "main.c", tmp_path / "script.ld"
    source.write_text(SOURCE)
    zig = find_zig_arm()
    objects = zig.compile([source], tmp_path / "objects", flags)
    script.write_text(SCRIPT.format(flash=65536))
    program = read_program(zig.link(objects, script, tmp_path / "a.elf", flags))
    assert program.entry == program.symbol("Reset_Handler").address
    assert program.symbol("table").address >= 0x20000000
    assert program.function_at(program.entry + 2) == program.symbol("Reset_Handler")
    assert sum(len(code) for _, code in program.thumb_code()) > 100
    script.write_text(SCRIPT.format(flash=64))
    with pytest.raises(DoesNotFitError, match="region FLASH is too small by"):
        zig.link(objects, script, tmp_path / "b.elf", flags)


@needs_zig
def test_support_routines_of_the_compiler_are_linked_where_they_are_needed(tmp_path: Path) -> None:
    source, script = tmp_path / "main.c", tmp_path / "script.ld"
    source.write_text(SOURCE.replace("a * b", "a / b"))
    script.write_text(SCRIPT.format(flash=1 << 20))
    zig, flags = find_zig_arm(), load_target("stm32f746").gcc_flags
    program = read_program(zig.link(zig.compile([source], tmp_path / "objects", flags), script, tmp_path / "a.elf", flags))
    assert program.symbol("__aeabi_ldivmod").is_function


@needs_zig
def test_zigs_errors_carry_its_words(tmp_path: Path) -> None:
    source, script = tmp_path / "main.c", tmp_path / "script.ld"
    source.write_text("int f(void) { return missing_name; }\n")
    zig, flags = find_zig_arm(), load_target("stm32f746").gcc_flags
    with pytest.raises(ToolError, match="missing_name"):
        zig.compile([source], tmp_path / "objects", flags)
    source.write_text("int absent(void);\nint Reset_Handler(void);\nint Reset_Handler(void) { return absent(); }\n")
    script.write_text(SCRIPT.format(flash=65536))
    with pytest.raises(ToolError, match=r"linking a\.elf failed\n.*absent"):
        zig.link(zig.compile([source], tmp_path / "objects", flags), script, tmp_path / "a.elf", flags)


def test_gcc_is_taken_before_zig_and_either_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zig").write_text("#!/bin/sh\n")
    (tmp_path / "zig").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ziglang", None)
    assert find_arm_toolchain().name == "zig"
    assert find_native_compiler().command == (str(tmp_path / "zig"), "cc")
    for name in ("arm-none-eabi-gcc", "cc"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert find_arm_toolchain().name == "gcc"
    assert find_arm_toolchain("zig").name == "zig"
    assert find_native_compiler().command == (str(tmp_path / "cc"),)
    (tmp_path / "zig").unlink()
    with pytest.raises(ToolError, match="pip install ziglang"):
        find_arm_toolchain("zig")
    with pytest.raises(UsageError, match="available: gcc, zig"):
        find_arm_toolchain("tcc")


def test_without_a_compiler_both_ways_to_get_one_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "ziglang", None)
    with pytest.raises(ToolError, match=r"package gcc-arm-none-eabi; or, without root: .*pip install ziglang"):
        find_arm_toolchain()


def test_zig_gets_a_cache_of_its_own_where_the_users_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ZIG_GLOBAL_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    assert "tinyc-zig" in zig_environment()["ZIG_GLOBAL_CACHE_DIR"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert zig_environment() == {}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """runtime/libc for this machine, under names of its own."""
    folder = tmp_path_factory.mktemp("libc")
    names = ("memcpy", "memmove", "memset", "memcmp", "strlen", "lrintf")
    source = folder / "all.c"
    parts = "".join(f'#include "{runtime_directory() / "libc" / part}"\n' for part in ("string.c", "math.c"))
    source.write_text("".join(f"#define {name} own_{name}\n" for name in names) + parts)
    compiler = find_native_compiler()
    return ctypes.CDLL(str(compiler.shared_library(source, folder / "all.so", ["-std=c99", "-fno-builtin"])))


@needs_native_compiler
def test_copies_of_every_length_and_alignment_move_these_bytes_and_no_other(library: ctypes.CDLL) -> None:
    pattern = bytes(range(1, 65))
    for function in ("own_memcpy", "own_memmove"):
        for start, source, size in [(a, b, n) for a in range(5) for b in range(5) for n in range(14)]:
            target = ctypes.create_string_buffer(b"\xee" * 32, 32)
            origin = ctypes.create_string_buffer(pattern, 64)
            getattr(library, function)(ctypes.byref(target, start), ctypes.byref(origin, source), ctypes.c_size_t(size))
            expected = b"\xee" * start + pattern[source : source + size]
            assert target.raw == expected + b"\xee" * (32 - len(expected))


@needs_native_compiler
@pytest.mark.parametrize(("to", "source"), [(0, 3), (3, 0), (4, 4), (1, 9)])
def test_overlapping_moves_are_as_if_through_a_copy(library: ctypes.CDLL, to: int, source: int) -> None:
    data = bytes(range(20))
    buffer = ctypes.create_string_buffer(data, 20)
    library.own_memmove(ctypes.byref(buffer, to), ctypes.byref(buffer, source), ctypes.c_size_t(10))
    assert buffer.raw == data[:to] + data[source : source + 10] + data[to + 10 :]


@needs_native_compiler
def test_fills_comparisons_and_lengths_are_those_of_the_c_library(library: ctypes.CDLL) -> None:
    for start in range(5):
        for size in range(14):
            buffer = ctypes.create_string_buffer(24)
            library.own_memset(ctypes.byref(buffer, start), ctypes.c_int(0x1FF), ctypes.c_size_t(size))
            assert buffer.raw == bytes(start) + b"\xff" * size + bytes(24 - start - size)
    assert library.own_strlen(b"") == 0
    assert library.own_strlen(b"twelve chars") == 12
    signs = [int(np.sign(library.own_memcmp(a, b, ctypes.c_size_t(2)))) for a, b in ((b"ab", b"ab"), (b"a\xff", b"a\x01"), (b"ab", b"bb"))]
    assert signs == [0, 1, -1]


@needs_native_compiler
def test_rounding_is_to_nearest_with_halves_to_even(library: ctypes.CDLL) -> None:
    library.own_lrintf.restype = ctypes.c_long
    halves = np.arange(-9, 10, dtype=np.float32) / 2
    near = np.float32(2) ** np.arange(20, 31, dtype=np.float32)
    random = np.random.default_rng(0).uniform(-300, 300, 500).astype(np.float32)
    values = np.concatenate([halves, near, -near, near - np.float32(0.5), np.float32(0.5) - near, random, [np.float32(-(2.0**31))]])
    for value in values.astype(np.float32):
        assert library.own_lrintf(ctypes.c_float(value)) == int(np.rint(value)), value


@needs_zig
@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="needs qemu-system-arm")
def test_verify_holds_the_c_of_a_chosen_compiler_and_schedule_against_the_interpreter() -> None:
    model = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite"
    by_zig = verify(model, "cortex-m4", samples=1, toolchain="zig", optimize="speed")
    assert "interpreter" in by_zig.references
    if shutil.which("arm-none-eabi-gcc"):
        assert verify(model, "cortex-m4", samples=1, toolchain="gcc").run.instructions != by_zig.run.instructions
