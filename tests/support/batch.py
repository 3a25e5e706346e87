"""Many small networks in one program: each is compiled to C by tinyc, all run one after the other, their outputs come back as arrays.

One program for a hundred networks costs one compilation and one start of the emulator; that is what makes thousands of cases affordable.
"""

from __future__ import annotations

import atexit
import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import ModuleOp

from support.batch_on_unicorn import execute_on_unicorn
from support.sanitized import run_sanitized
from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.driver.compile import CompiledNetwork, compile_module, network_boundary
from tinyc.driver.pipeline import CompileOptions
from tinyc.frontends.tflite import import_tflite
from tinyc.numerics.profile import Profile
from tinyc.runners.image import MemoryMap, linker_script
from tinyc.targets import Bank, load_target
from tinyc.toolchains.gcc_arm import WARNING_FLAGS
from tinyc.toolchains.runtime_files import runtime_directory

Values = npt.NDArray[Any]
DTYPES = {"i8": np.dtype(np.int8), "i32": np.dtype(np.int32), "i64": np.dtype(np.int64), "f32": np.dtype(np.float32)}
MACHINES = {"m4": ("mps2-an386", "cortex-m4"), "m7": ("mps2-an500", "cortex-m7")}
PLATFORMS = ("m4", "m7", "host", "unicorn")
"""m4 and m7 in QEMU, a Cortex-M4 in Unicorn, and natively. There is also unicorn-m7, a Cortex-M7 in Unicorn."""
_GARBAGE = 0xA5
_GUARD = 256
_FLASH, _RAM = Bank("flash", 0, 4 << 20), Bank("ram", 0x20000000, 4 << 20)


@dataclass(frozen=True)
class BatchCase:
    """A TFLite file and values for its inputs, in the file's dtypes."""

    name: str
    model: bytes
    inputs: tuple[Values, ...]

    @cached_property
    def module(self) -> ModuleOp:
        """The file, imported; raises what the front end raises."""
        return import_tflite(self.model, self.name)


def as_signed(values: Values) -> Values:
    """uint8 as the int8 that tinyc makes of it; other dtypes as they are."""
    return (values ^ np.uint8(128)).view(np.int8) if values.dtype == np.uint8 else values


def run_networks(
    networks: Sequence[CompiledNetwork], inputs: Sequence[Values], platform: str, folder: Path, level: str | None = None
) -> list[list[Values]]:
    """Outputs of networks with different names, as computed by their C on `platform`; `inputs` are those of all, one after the other.

    `level` is how the compiler optimises: by default not at all on the host, where that would take longer than running, else -O1.
    The host has sanitizers; Unicorn lets a network touch no memory but the batch's largest arena, whose end is every network's end.
    """
    for network in networks:
        for name, text in network.files.items():
            if name.endswith((".c", ".h")):
                (folder / name).write_text(text, encoding="utf-8")
    (folder / "batch.c").write_text(_program(networks), encoding="utf-8")
    (folder / "input.bin").write_bytes(b"".join(as_signed(values).tobytes() for values in inputs))
    {"host": _run_on_host, "unicorn": _run_in_unicorn, "unicorn-m7": _run_in_unicorn}.get(platform, _run_in_qemu)(
        folder, platform, level or ("-O0" if platform == "host" else "-O1")
    )
    return _split((folder / "output.bin").read_bytes(), networks)


def compile_case(case: BatchCase, name: str, profile: Profile) -> CompiledNetwork:
    """The case's network; a float32 boundary stays, since QUANTIZE and DEQUANTIZE are ops like others here.

    Kernels have the form for Cortex-M7 with `tflm`, for Cortex-M4 otherwise: either runs on both cores.
    """
    core = CoreForm.CORTEX_M7 if profile is Profile.TFLM else CoreForm.CORTEX_M4
    options = CompileOptions(profile, measure=False, keep_float_io=True, core=core.value)
    return compile_module(case.module, name, load_target("cortex-m4"), options)


def _program(networks: Sequence[CompiledNetwork]) -> str:
    pushed = {network.name: region.row_bytes for network in networks for region in network_boundary(network.module) if region.rows}
    largest = max(network.report.ram.arena_bytes for network in networks)
    row_room = -(-(1 + max(pushed.values(), default=-1)) // 16) * 16
    room = -(-largest // 16) * 16 + row_room
    lines = [f'#include "{network.name}_weights.c"\n#include "{network.name}.c"' for network in networks]
    lines += [
        f"enum {{ GUARD = {_GUARD}, GARBAGE = {_GARBAGE}, ROW_ROOM = {row_room}, ROOM = {room} }};",
        _SUPPORT,
        "int main(void)",
        "{",
        "    begin();",
    ]
    for index, network in enumerate(networks):
        size = network.report.ram.arena_bytes
        lines.append(f"    arena = tinyc_storage + GUARD + {(room - size) // 16 * 16};")
        lines.append("    memset(tinyc_storage, GARBAGE, sizeof tinyc_storage);")
        regions = network_boundary(network.module)
        lines += [f"    take(arena + {region.offset}, {region.bytes});" for region in regions if region.is_input and not region.rows]
        if network.name in pushed:
            lines += [f"    RUN({network.name}_begin(arena));", "    while (status == 0) {", f"        take(ROW, {pushed[network.name]});"]
            # A row may be overwritten as soon as it was pushed.
            lines += [
                f"        RUN({network.name}_push_row(arena, (const int8_t *)ROW));",
                "        memset(ROW, GARBAGE, ROW_ROOM - 1);",
                "    }",
            ]
        else:
            lines.append(f"    RUN({network.name}_invoke(arena));")
        lines.append(f"    if (status != {int(network.name in pushed)} || !intact({size})) fail({index});")
        lines += [f"    give(arena + {region.offset}, {region.bytes});" for region in regions if not region.is_input]
    return "\n".join([*lines, "    finish();", "    return 0;", "}", ""])


_SUPPORT = """
#include <string.h>
#ifdef __arm__
#include "startup/semihosting.h"
static int32_t input_file, output_file;
static void fail(int number) { tinyc_semihosting_exit(1 + (number & 63)); }
static void begin(void)
{
    input_file = tinyc_semihosting_open("input.bin", 0);
    output_file = tinyc_semihosting_open("output.bin", 1);
}
static void take(void *data, size_t bytes) { if (tinyc_semihosting_read(input_file, data, bytes) != bytes) fail(62); }
static void give(const void *data, size_t bytes) { if (tinyc_semihosting_write(output_file, data, bytes) != 0) fail(63); }
static void finish(void) { tinyc_semihosting_close(output_file); tinyc_semihosting_exit(0); }
#else
#include <stdio.h>
#include <stdlib.h>
static FILE *input_file, *output_file;
static void fail(int number) { exit(1 + (number & 63)); }
static void begin(void) { input_file = fopen("input.bin", "rb"); output_file = fopen("output.bin", "wb"); }
static void take(void *data, size_t bytes) { if (fread(data, 1, bytes, input_file) != bytes) fail(62); }
static void give(const void *data, size_t bytes) { if (fwrite(data, 1, bytes, output_file) != bytes) fail(63); }
static void finish(void) { fclose(output_file); }
#endif
static uint8_t tinyc_storage[GUARD + ROOM + GUARD] __attribute__((aligned(16)));
/* Rows that are pushed lie at an odd address. */
#define ROW (tinyc_storage + GUARD + 1)
static uint8_t *arena;
static volatile int status;
/* What Unicorn stops at: between the two, memory outside the arena is forbidden. */
static __attribute__((noinline)) void tinyc_profile_begin(void) { __asm__ volatile("" ::: "memory"); }
static __attribute__((noinline)) void tinyc_profile_end(void) { __asm__ volatile("" : : "r"(0) : "memory"); }
#define RUN(call) do { tinyc_profile_begin(); status = call; tinyc_profile_end(); } while (0)
static int intact(size_t arena_bytes)
{
    for (const uint8_t *place = tinyc_storage; place < arena; ++place) if (*place != GARBAGE) return 0;
    for (const uint8_t *place = arena + arena_bytes; place < tinyc_storage + sizeof tinyc_storage; ++place) if (*place != GARBAGE) return 0;
    return 1;
}
"""


def _execute(command: Sequence[object], folder: Path) -> None:
    arguments = [str(part) for part in command]
    result = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, f"exit code {result.returncode}: {(result.stderr or result.stdout)[:3000]}"


def _run_on_host(folder: Path, platform: str, level: str) -> None:
    options = ["-std=c99", level, "-Wall", "-Wextra", "-Werror", f"-I{runtime_directory()}", f"-I{folder}"]
    result = run_sanitized(options, folder / "batch.c", folder / "batch")
    assert result.returncode == 0, f"exit code {result.returncode}: {result.stdout[:3000]}"


def _run_in_qemu(folder: Path, platform: str, level: str) -> None:
    machine, target = MACHINES[platform]
    _link(folder, target, level)
    command = ["qemu-system-arm", "-M", machine, "-nographic", "-monitor", "none", "-serial", "none"]
    _execute([*command, "-semihosting-config", "enable=on,target=native", "-kernel", "batch.elf"], folder)


def _run_in_unicorn(folder: Path, platform: str, level: str) -> None:
    core = "cortex-m7" if platform == "unicorn-m7" else "cortex-m4"
    _link(folder, core, level)
    execute_on_unicorn(folder, core, _GUARD)


def _link(folder: Path, target: str, level: str) -> None:
    """Makes folder/batch.elf, unless the one that is there was made from the same texts for the same core."""
    flags = [*load_target(target).gcc_flags, "-std=c99", level, "-ffunction-sections", f"-I{runtime_directory()}"]
    state = hashlib.sha256(repr(flags).encode())
    for path in sorted(folder.glob("*.[ch]")):
        state.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    made_from = folder / "batch.elf.sha256"
    if made_from.exists() and made_from.read_text() == state.hexdigest():
        return
    (folder / "batch.ld").write_text(linker_script(MemoryMap(_FLASH, _RAM, _RAM), 64 << 10), encoding="utf-8")
    # The batch itself is test code; what it includes is checked for warnings as a file of its own elsewhere.
    _execute(["arm-none-eabi-gcc", *flags, *WARNING_FLAGS, "-Werror", "-c", "batch.c", "-o", "batch.o"], folder)
    link = ["-nostartfiles", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments", "-T", "batch.ld"]
    _execute(["arm-none-eabi-gcc", *flags, *link, "batch.o", *_startup(tuple(flags)), "-lm", "-o", "batch.elf"], folder)
    made_from.write_text(state.hexdigest())


@cache
def _startup(flags: tuple[str, ...]) -> tuple[Path, ...]:
    """Objects of the start-up code, compiled once a process; the folder goes with it."""
    folder = tempfile.TemporaryDirectory(prefix="tinyc-")
    atexit.register(folder.cleanup)
    objects = []
    for name in ("startup", "semihosting"):
        objects.append(Path(folder.name) / f"{name}.o")
        _execute(["arm-none-eabi-gcc", *flags, "-c", runtime_directory() / "startup" / f"{name}.c", "-o", objects[-1]], Path(folder.name))
    return tuple(objects)


def _split(content: bytes, networks: Sequence[CompiledNetwork]) -> list[list[Values]]:
    outputs, position = [], 0
    for network in networks:
        arrays = []
        for region in (region for region in network_boundary(network.module) if not region.is_input):
            data = content[position : position + region.bytes]
            arrays.append(np.frombuffer(data, DTYPES[region.element]).reshape(region.dims))
            position += region.bytes
        outputs.append(arrays)
    assert position == len(content)
    return outputs
