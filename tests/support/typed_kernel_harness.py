"""Runs the bodies of element-wise, pooling, reducing and shape kernels: any number of inputs, any element type, output over an input.

Builds and checks as kernel_harness does, with sanitizers on the host and guarded buffers in QEMU; only the text of a case differs.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from support import kernel_harness as base
from support.sanitized import run_sanitized
from tinyc.backends.cortexm.kernels.base import Form, KernelSpec, Table

Values = npt.NDArray[Any]


@dataclass
class TypedCase:
    """One call of a body. Each input is a row or tensor, or for a window the list of its rows (None is NULL).

    `overwrites` is the number of the plain input whose memory is also the output's.
    """

    spec: KernelSpec
    inputs: Sequence[Values | Sequence[Values | None]]
    expected: Values
    tables: tuple[Table, ...] = ()
    overwrites: int | None = None
    name: str = ""
    row: int | None = None
    """Number of the output row, for a body that asks for it."""


def _copy(index: int, label: str, values: Values, c_type: str) -> tuple[str, str]:
    """(C text of the constant data, expression of a guarded copy of it)."""
    name = f"case{index}_{label}"
    data = np.frombuffer(np.ascontiguousarray(values).tobytes(), dtype=np.int8)
    return base._array(name, "int8_t", data), f"(const {c_type} *)(const void *)copy({name}, {data.size})"


def _case_text(index: int, case: TypedCase, symbol: str) -> str:
    spec, text = case.spec, ""
    constants = []
    for table in case.tables:
        text += base._array(f"case{index}_{table.suffix}", table.c_type, table.values)
        constants.append(f"case{index}_{table.suffix}")
    expected = np.frombuffer(np.ascontiguousarray(case.expected).tobytes(), dtype=np.int8)
    text += base._array(f"case{index}_expected", "int8_t", expected)
    body, arguments = [], []
    for number, (given, c_type) in enumerate(zip(case.inputs, spec.input_types, strict=True)):
        if isinstance(given, np.ndarray):
            constant, pointer = _copy(index, f"input{number}", given, c_type)
            text += constant
            body.append(f"const {c_type} *input{number} = {pointer};")
        else:
            body.append(f"const {c_type} *input{number}[{len(given)}];")
            for row, values in enumerate(given):
                pointer = "NULL"
                if values is not None:
                    constant, pointer = _copy(index, f"input{number}_{row}", values, c_type)
                    text += constant
                body.append(f"input{number}[{row}] = {pointer};")
        arguments.append(f"input{number}")
    target = f"take({expected.size})" if case.overwrites is None else f"(void *)(size_t)input{case.overwrites}"
    body.append(f"{spec.output_type} *output = ({spec.output_type} *){target};")
    if spec.form is Form.REDUCTION:
        body.append(f"int32_t *accumulator = (int32_t *)take({spec.accumulator_bytes});")
        extra = "".join(f", {constant}" for constant in constants)
        body.append(f"{symbol}_start(accumulator{extra});")
        body += [f"{symbol}_row(input0[{row}], {row}, accumulator{extra});" for row in range(len(case.inputs[0]))]
        body.append(f"{symbol}_finish(accumulator, output{extra});")
    else:
        numbers = [] if case.row is None else [str(case.row)]
        body.append(f"{symbol}({', '.join([*arguments, 'output', *numbers, *constants])});")
    body.append(f"return compare({index}, (const int8_t *)(const void *)output, case{index}_expected, {expected.size});")
    lines = "".join(f"    {line}\n" for line in body)
    return text + f"static int case{index}(void)\n{{\n{lines}}}\n\n"


def _program(cases: Sequence[TypedCase], preamble: str) -> str:
    symbols: dict[KernelSpec, str] = {}
    text = "".join(f'#include "{header}"\n' for header in sorted({header for case in cases for header in case.spec.headers}))
    for case in cases:
        if case.spec not in symbols:
            symbols[case.spec] = f"body{len(symbols)}_{case.spec.family}"
            text += case.spec.source(symbols[case.spec]) + "\n"
    text += f"#define GUARD {base._GUARD}u\n" + preamble + base._COMMON
    text += "".join(_case_text(index, case, symbols[case.spec]) for index, case in enumerate(cases))
    calls = "".join(f"    bad += case{index}();\n    if (guards()) {{ bad++; number({index}); }}\n" for index in range(len(cases)))
    return text + f'int main(void)\n{{\n    int bad = 0;\n{calls}    say(bad ? "FAILED\\n" : "ALL EQUAL\\n");\n    return 0;\n}}\n'


def _check(result: subprocess.CompletedProcess[str], cases: Sequence[TypedCase]) -> None:
    # The emulator writes the program's text to its standard error.
    text = result.stdout + (result.stderr or "")
    names = "\n".join(f"case {index}: {case.name or case.spec}" for index, case in enumerate(cases) if f"case {index} " in text)
    assert text.strip() == "ALL EQUAL", f"{text[-3000:]}{names[:4000]}"


def check_typed_on_host(cases: Sequence[TypedCase], folder: Path) -> None:
    """Compiles the plain C path without a warning, runs all cases under sanitizers, asserts equality."""
    source, program = folder / "cases.c", folder / "cases"
    source.write_text(_program(cases, base._HOST))
    _check(run_sanitized(["-std=c99", "-O0", *base.WARNINGS, f"-I{base.RUNTIME}"], source, program), cases)


def check_typed_in_qemu(cases: Sequence[TypedCase], folder: Path, core: str) -> None:
    """Compiles for `core` without a warning, runs all cases in QEMU, asserts equality and untouched guards."""
    machine, flags = base.CORES[core]
    source, script, program = folder / "cases.c", folder / "link.ld", folder / "cases.elf"
    source.write_text(_program(cases, base._TARGET))
    script.write_text(base._LINKER_SCRIPT)
    # GCC fuses multiplications and additions unless -std=c99 forbids it; the bodies must not depend on the user's choice.
    options = ["-std=c99", "-ffp-contract=fast", "-O2", "-mthumb", "-mfloat-abi=hard", *flags, *base.WARNINGS, f"-I{base.RUNTIME}"]
    link = ["-nostartfiles", "--specs=nosys.specs", "-T", str(script), "-Wl,--no-warn-rwx-segments"]
    base._build(["arm-none-eabi-gcc", *options, str(source), *link, "-lm", "-o", str(program)])
    command = ["qemu-system-arm", "-M", machine, "-nographic", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(program)]
    _check(subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL), cases)
