"""Runs kernel bodies on the host (plain C, with sanitizers) and in QEMU (DSP instructions), many cases in one program.

The program compares every output with the expected one and prints a line for each case that differs.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from support.sanitized import run_sanitized
from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table, c_number
from tinyc.backends.cortexm.kernels.statements import CoreForm

RUNTIME = Path(__file__).resolve().parents[2] / "runtime"
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-pedantic", "-Werror"]
CORES = {
    "cortex-m4": ("mps2-an386", ["-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16"]),
    "cortex-m7": ("mps2-an500", ["-mcpu=cortex-m7", "-mfpu=fpv5-d16"]),
}
_GUARD = 16

Int8 = npt.NDArray[np.int8]


@dataclass
class Case:
    """One call of a body: `inputs` is a tensor, or for a window or a reduction the list of rows (None is NULL).

    `residual`, where given, is the second input of a row body, which writes over it if `coinciding`.
    """

    spec: KernelSpec
    tables: tuple[Table, ...]
    inputs: Int8 | list[Int8 | None]
    expected: npt.NDArray[Any]
    name: str = ""
    residual: Int8 | None = None
    coinciding: bool = False


def missing_tools(*tools: str) -> str | None:
    """Reason to skip, or None when all tools are there."""
    absent = [tool for tool in tools if shutil.which(tool) is None]
    return f"needs {', '.join(absent)}" if absent else None


def _array(name: str, c_type: str, values: npt.NDArray[Any]) -> str:
    if values.dtype.names:
        items = ["{" + ", ".join(c_number(item[field]) for field in values.dtype.names) + "}" for item in values]
    else:
        items = [c_number(value) + ("u" if values.dtype.kind == "u" else "") for value in values.reshape(-1)]
    return f"static const {c_type} {name}[] = {{{', '.join(items)}}};\n"


def _case_text(index: int, case: Case, symbol: str) -> str:
    spec, text, constants = case.spec, "", ""
    for table in case.tables:
        text += _array(f"case{index}_{table.suffix}", table.c_type, table.values)
        constants += f", case{index}_{table.suffix}"
    text += _array(f"case{index}_expected", "int8_t", case.expected.reshape(-1).view(np.int8))
    scratch = ", scratch" if spec.scratch_bytes else ""
    body = [f"void *scratch = take({spec.scratch_bytes});", "(void)scratch;"]
    size = case.expected.size
    if case.residual is not None:
        text += _array(f"case{index}_residual", "int8_t", case.residual)
        body.append(f"int8_t *residual = copy(case{index}_residual, {case.residual.size});")
    body.append(f"int8_t *output = {'residual' if case.coinciding else f'(int8_t *)take({size})'};")
    if isinstance(case.inputs, list):
        pointers = []
        for number, row in enumerate(case.inputs):
            if row is None:
                pointers.append("NULL")
            else:
                text += _array(f"case{index}_input{number}", "int8_t", row)
                pointers.append(f"copy(case{index}_input{number}, {row.size})")
        body.append(f"const int8_t *rows[{len(pointers)}];")
        body += [f"rows[{number}] = {pointer};" for number, pointer in enumerate(pointers)]
    else:
        text += _array(f"case{index}_input", "int8_t", case.inputs)
        body.append(f"int8_t *input = copy(case{index}_input, {case.inputs.size});")
    if spec.form is Form.REDUCTION:
        assert isinstance(case.inputs, list)
        body.append(f"int32_t *accumulator = (int32_t *)take({spec.accumulator_bytes});")
        body.append(f"{symbol}_start(accumulator{constants});")
        body += [f"{symbol}_row(rows[{number}], {number}, accumulator{constants});" for number in range(len(case.inputs))]
        body.append(f"{symbol}_finish(accumulator, output{constants});")
    elif spec.form is Form.IN_PLACE:
        body.append(f"{symbol}(input{constants}{scratch});")
        body.append(f"memcpy(output, input, {size});")
    else:
        first = "rows" if isinstance(case.inputs, list) else "input"
        second = "" if case.residual is None else "residual, "
        body.append(f"{symbol}({first}, {second}output{constants}{scratch});")
    body.append(f"return compare({index}, output, case{index}_expected, {size});")
    lines = "".join(f"    {line}\n" for line in body)
    return text + f"static int case{index}(void)\n{{\n{lines}}}\n\n"


_COMMON = """
static int8_t *copy(const int8_t *source, size_t size)
{
    int8_t *target = (int8_t *)take(size);
    memcpy(target, source, size);
    return target;
}

static int compare(int index, const int8_t *output, const int8_t *expected, int size)
{
    int i;
    for (i = 0; i < size; i++) {
        if (output[i] != expected[i]) {
            say("case "); number(index); say(" element "); number(i); say(" is "); number(output[i]);
            say(", expected "); number(expected[i]); say("\\n");
            return 1;
        }
    }
    return 0;
}
"""

_HOST = """
#include <stdio.h>
#include <stdlib.h>
static void *take(size_t size) { return malloc(size ? size : 1); }
static int guards(void) { return 0; }
static void say(const char *text) { fputs(text, stdout); }
static void number(int value) { printf("%d", value); }
"""

# Guards around every buffer catch writes out of bounds where no sanitizer can.
_TARGET = """
#include <stddef.h>
static union { uint64_t alignment; uint8_t bytes[1u << 20]; } pool;
static size_t used, sizes[256], starts[256], count;
static void *take(size_t size)
{
    uint8_t *start = pool.bytes + used + GUARD;
    memset(pool.bytes + used, 0xA5, size + 2 * GUARD);
    starts[count] = used; sizes[count++] = size;
    used += (size + 2 * GUARD + 7) & ~(size_t)7;
    return start;
}
static int semihosting(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
static void say(const char *text) { semihosting(4, text); }
static void number(int value)
{
    char digits[12]; char *p = digits + 11; unsigned rest = value < 0 ? 0u - (unsigned)value : (unsigned)value;
    *p = 0;
    do { *--p = (char)('0' + rest % 10u); rest /= 10u; } while (rest);
    if (value < 0) { *--p = '-'; }
    say(p);
}
static int guards(void)
{
    size_t i, j;
    int bad = 0;
    for (i = 0; i < count; i++) {
        for (j = 0; j < GUARD; j++) {
            bad |= pool.bytes[starts[i] + j] != 0xA5 || pool.bytes[starts[i] + GUARD + sizes[i] + j] != 0xA5;
        }
    }
    used = count = 0;
    if (bad) { say("write out of bounds in "); }
    return bad;
}
int main(void);
void reset(void);
void reset(void)
{
    const uint32_t exit_arguments[2] = {0x20026u, 0};
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm__ volatile("dsb\\n\\tisb");
    main();
    semihosting(0x20, exit_arguments);
}
void fault(void);
void fault(void) { const uint32_t arguments[2] = {0x20023u, 1}; say("fault\\n"); semihosting(0x20, arguments); }
__asm__(".section .vectors, \\"a\\"\\n\\t.word stack_top, reset, fault, fault, fault, fault, fault\\n\\t.text");
"""

_LINKER_SCRIPT = """
MEMORY { code (rx) : ORIGIN = 0, LENGTH = 4M  data (rwx) : ORIGIN = 0x20000000, LENGTH = 4M }
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } > code
  .ARM.exidx : { *(.ARM.exidx*) } > code
  .data : { *(.data*) } > data
  .bss (NOLOAD) : { *(.bss*) *(COMMON) } > data
  stack_top = ORIGIN(data) + LENGTH(data);
}
"""


def _program(cases: Sequence[Case], preamble: str) -> str:
    symbols: dict[KernelSpec, str] = {}
    headers = sorted({header for case in cases for header in case.spec.headers})
    text = "".join(f'#include "{header}"\n' for header in headers)
    for case in cases:
        if case.spec not in symbols:
            symbols[case.spec] = f"body{len(symbols)}_{case.spec.family}"
            text += case.spec.source(symbols[case.spec]) + "\n"
    text += f"#define GUARD {_GUARD}u\n" + preamble + _COMMON
    text += "".join(_case_text(index, case, symbols[case.spec]) for index, case in enumerate(cases))
    calls = "".join(f"    bad += case{index}();\n    if (guards()) {{ bad++; number({index}); }}\n" for index in range(len(cases)))
    return text + f'int main(void)\n{{\n    int bad = 0;\n{calls}    say(bad ? "FAILED\\n" : "ALL EQUAL\\n");\n    return 0;\n}}\n'


def _build(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stderr[:4000]}"


def _check(result: subprocess.CompletedProcess[str], cases: Sequence[Case]) -> None:
    names = "\n".join(
        f"case {index}: {case.name or case.spec}"
        for index, case in enumerate(cases)
        if f"case {index} " in result.stdout or f"bounds in {index}" in result.stdout
    )
    assert result.stdout.strip() == "ALL EQUAL", f"{result.stdout[-3000:]}{names[:4000]}"


def for_core(cases: Sequence[Case], core: str) -> list[Case]:
    """`cases` with their bodies in the form for `core`, those that have one."""
    specs: list[Any] = [case.spec for case in cases]
    return [
        replace(case, spec=replace(spec, core=CoreForm(core))) if hasattr(spec, "core") else case
        for case, spec in zip(cases, specs, strict=True)
    ]


def check_on_host(cases: Sequence[Case], folder: Path, *, core: str = "cortex-m4") -> None:
    """Compiles the plain C path of the form for `core` without a warning, runs all cases under sanitizers, asserts equality."""
    cases = for_core(cases, core)
    source, program = folder / "cases.c", folder / "cases"
    source.write_text(_program(cases, _HOST))
    _check(run_sanitized(["-std=c99", "-O0", *WARNINGS, f"-I{RUNTIME}"], source, program), cases)


def check_in_qemu(cases: Sequence[Case], folder: Path, core: str) -> None:
    """Compiles for `core`, in its form, without a warning, runs all cases in QEMU, asserts equality and untouched guards."""
    cases = for_core(cases, core)
    machine, flags = CORES[core]
    source, script, program = folder / "cases.c", folder / "link.ld", folder / "cases.elf"
    source.write_text(_program(cases, _TARGET))
    script.write_text(_LINKER_SCRIPT)
    options = ["-std=c99", "-O2", "-mthumb", "-mfloat-abi=hard", *flags, *WARNINGS, f"-I{RUNTIME}"]
    link = ["-nostartfiles", "--specs=nosys.specs", "-T", str(script), "-Wl,--no-warn-rwx-segments"]
    _build(["arm-none-eabi-gcc", *options, str(source), *link, "-o", str(program)])
    command = ["qemu-system-arm", "-M", machine, "-nographic", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(program)]
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, check=False, timeout=120
    )
    _check(result, cases)
