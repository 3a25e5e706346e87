"""One-instruction statements: what the scheduler is told of each is what the compiler makes of it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from support.kernel_harness import RUNTIME, missing_tools
from tinyc.backends.cortexm.kernels.statements import KNOWN, CoreForm, instruction_of, ordered
from tinyc.cycles import CortexM7
from tinyc.cycles.instruction import Instruction, Kind, parse_instruction

MODEL = CortexM7()
TOOLS = missing_tools("arm-none-eabi-gcc", "arm-none-eabi-objdump")
OPERANDS = {
    "LOAD": ("p", "q", "3"),
    "LOAD_BYTES": ("p", "bytes", "3"),
    "LOAD_AT": ("p", "bytes", "3"),
    "LOAD_SIGNED": ("p", "bytes", "3"),
    "STORE": ("p", "words", "3"),
    "STORE_BYTE": ("bytes", "3", "p"),
    "STORE_HALF": ("bytes", "6", "p"),
    "SATURATE": ("a", "b", "7"),
    "NARROW": ("a", "7"),
}
"""Where they are not just registers."""
NAMES = ("p", "q", "r", "s")
BLOCK = """
        TINYC_LOAD_2(x, y, patch, 2);
        TINYC_MAC_2(a, x, w);
        TINYC_MAC_2(b, y, w);
        TINYC_LOAD_2(x, y, patch, 4);
        TINYC_MAC_2(a, x, w);
        TINYC_MAC_2(b, y, w);
"""


def statement(name: str, parameters: int) -> str:
    operands = OPERANDS.get(name, NAMES[:parameters])
    return f"TINYC_{name}({', '.join(operands)});"


def parameters() -> dict[str, int]:
    """How many operands the runtime header gives each macro."""
    text = (RUNTIME / "tinyc_kernels.h").read_text(encoding="utf-8")
    return {name: arguments.count(",") + 1 for name, arguments in re.findall(r"#define TINYC_([A-Z0-9_]+)\(([^)]*)\)", text)}


def in_terms_of_variables(instruction: Instruction, names: dict[str, str]) -> Instruction:
    """`instruction` with the C variables that registers hold."""

    def renamed(registers: frozenset[str]) -> frozenset[str]:
        return frozenset(names.get(register, register) for register in registers)

    sets = ("reads", "writes", "address_reads", "shifted_reads", "accumulator_reads", "data_reads", "base_writes")
    return replace(instruction, **{name: renamed(getattr(instruction, name)) for name in sets}, bank=None, bytes=0, address=0, mnemonic="")


@pytest.mark.skipif(bool(TOOLS), reason=str(TOOLS))
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_statement_is_the_one_instruction_that_the_scheduler_takes_it_for(name: str, tmp_path: Path) -> None:
    text = statement(name, parameters()[name])
    used = [variable for variable in re.findall(r"\w+", text.partition("(")[2]) if not variable.isdigit()]
    registers = {variable: f"r{number + 4}" for number, variable in enumerate(dict.fromkeys(used))}
    pointers = {"bytes": "int8_t *", "words": "uint32_t *", "q": "uint32_t *" if name == "LOAD" else "uint32_t "}
    declared = "".join(
        f'    register {pointers.get(variable, "uint32_t ")}{variable} __asm__("{register}");\n'
        f'    __asm__ volatile("" : "=r"({variable}));\n'
        for variable, register in registers.items()
    )
    result = f'    __asm__ volatile("" : : "r"({", ".join(used[:1])}));\n'
    source = tmp_path / "statement.c"
    source.write_text(f'#include "tinyc_kernels.h"\nvoid f(void);\nvoid f(void)\n{{\n{declared}    {text}\n{result}}}\n')
    # Registers that are written to and never read confuse only the warnings.
    command = ["arm-none-eabi-gcc", "-std=gnu99", "-O2", "-mthumb", "-mcpu=cortex-m7", f"-I{RUNTIME}", "-c", str(source)]
    subprocess.run([*command, "-o", str(tmp_path / "statement.o")], check=True, capture_output=True, text=True)
    listing = subprocess.run(
        ["arm-none-eabi-objdump", "-d", str(tmp_path / "statement.o")], check=True, capture_output=True, text=True
    ).stdout
    found = [line.split("\t") for line in listing.splitlines() if re.match(r"\s+[0-9a-f]+:\t", line)]
    kept = [
        (parts[2].strip(), parts[3].strip())
        for parts in found
        if len(parts) > 3 and parts[2].strip() not in ("push", "pop", "bx", "ldmia.w", "stmdb")
    ]
    assert len(kept) == 1, listing
    compiled = in_terms_of_variables(parse_instruction(0, 4, *kept[0]), {register: variable for variable, register in registers.items()})
    told = instruction_of(text)
    assert replace(told, bank=None, mnemonic="") == compiled
    for user in (Instruction(Kind.ALU, reads=told.writes), Instruction(Kind.MAC, reads=told.writes)):
        assert MODEL.result_latency(told, user) == MODEL.result_latency(replace(compiled, mnemonic=kept[0][0]), user)


def test_every_statement_of_the_table_is_a_macro_of_the_header() -> None:
    assert set(KNOWN) <= set(parameters())


def test_a_block_keeps_its_text_for_other_cores() -> None:
    assert ordered(BLOCK, CoreForm.CORTEX_M4) == BLOCK


def test_a_block_for_cortex_m7_has_single_loads_and_nothing_else_new() -> None:
    lines = ordered(BLOCK, CoreForm.CORTEX_M7).splitlines()
    assert {line[: len(line) - len(line.lstrip())] for line in lines} == {"        "}
    macs = [f"TINYC_MAC_2({accumulator}, {value}, w);" for accumulator, value in ("ax", "by")]
    loads = [f"TINYC_LOAD({value}, patch, {index});" for value, index in (("x", 2), ("y", 3), ("x", 4), ("y", 5))]
    assert sorted(line.strip() for line in lines) == sorted([*loads, *macs, *macs])


@pytest.mark.parametrize("line", ["weights += 4;", "TINYC_OPAQUE(end);", "TINYC_LOAD(x, patch, 1); TINYC_LOAD(y, patch, 2)"])
def test_what_is_no_one_instruction_statement_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"no single instruction|not a one-instruction statement"):
        ordered(f"    {line}\n", CoreForm.CORTEX_M7)
