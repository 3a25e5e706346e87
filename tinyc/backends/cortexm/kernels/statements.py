"""The one-instruction statements of `runtime/tinyc_kernels.h`, and another order of them for a core that issues two instructions a cycle.

A template writes its straight blocks in the order in which they are easiest to read, a load before what it is multiplied with. That is also
the order for Cortex-M4. For Cortex-M7 the block is taken apart: loads of two words become single loads, which go beside other
instructions, and `tinyc.cycles.schedule` orders all statements by the model of the core. Every statement is volatile assembly there, so the
compiler keeps the order. C variables are what the scheduler takes for registers; none gets more lives than before, so no more of them are
needed at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Final

from tinyc.cycles import CortexM7, Instruction
from tinyc.cycles.instruction import Kind
from tinyc.cycles.schedule import schedule


class CoreForm(Enum):
    """Whose order of instructions a body has; the host and other cores take the first."""

    CORTEX_M4 = "cortex-m4"
    CORTEX_M7 = "cortex-m7"

    @property
    def cost_unit(self) -> str:
        """What variants of kernels of this form are weighed by: where one instruction follows the other, their number says enough."""
        return "est. cycles" if self is CoreForm.CORTEX_M7 else "instructions"


_STATEMENT: Final = re.compile(r"TINYC_([A-Z0-9_]+)\((.*)\);")
_VARIABLE: Final = re.compile(r"[a-z_][a-z0-9_]*")
_MODEL: Final = CortexM7()


def ordered(block: str, core: CoreForm, repeats: bool = False) -> str:
    """`block`, a one-instruction statement a line, in the order for `core`; `repeats` says that it is the body of a loop.

    Raises ValueError for a line that is no such statement.
    """
    if core is not CoreForm.CORTEX_M7:
        return block
    lines = [line for line in block.splitlines() if line.strip()]
    if not lines:
        return block
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    return "".join(f"{indent}{line}\n" for line in _ordered_statements(tuple(line.strip() for line in lines), repeats))


@lru_cache(maxsize=256)
def _ordered_statements(lines: tuple[str, ...], repeats: bool) -> tuple[str, ...]:
    statements = [single for line in lines for single in _singles(line)]
    order = schedule(tuple(instruction_of(statement) for statement in statements), _MODEL, repeats)
    return tuple(statements[number] for number in order)


def _operands(text: str) -> list[str]:
    """Operands between the commas of `text` that stand in no parentheses."""
    found, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            found.append("")
        else:
            found[-1] += character
    return [operand.strip() for operand in found]


def _taken_apart(line: str) -> tuple[str, list[str]]:
    match = _STATEMENT.fullmatch(line)
    if match is None:
        raise ValueError(f"not a one-instruction statement: {line}")
    return match.group(1), _operands(match.group(2))


def _singles(line: str) -> list[str]:
    """The statement, or two statements in place of an access to two words."""
    name, operands = _taken_apart(line)
    if name not in ("LOAD_2", "STORE_2"):
        return [line]
    first, second, pointer, index = operands
    single = name.removesuffix("_2")
    return [f"TINYC_{single}({first}, {pointer}, {index});", f"TINYC_{single}({second}, {pointer}, {_next(index)});"]


def _next(index: str) -> str:
    return str(int(index) + 1) if index.isdigit() else f"{index} + 1"


def _names(*operands: str) -> frozenset[str]:
    return frozenset(name for operand in operands for name in _VARIABLE.findall(operand))


def instruction_of(statement: str) -> Instruction:
    """What the scheduler must know of a statement. Raises ValueError for one that it does not know."""
    name, operands = _taken_apart(statement)
    maker = _MAKERS.get(name)
    if maker is None:
        raise ValueError(f"no single instruction: {statement}")
    return maker(*operands)


def _load(result: str, pointer: str, index: str) -> Instruction:
    # Neighbouring words behind one pointer lie in different banks.
    bank = (pointer, int(index) & 1) if index.isdigit() else None
    return Instruction(Kind.LOAD, mnemonic="ldr", writes=_names(result), address_reads=_names(pointer), words=1, bank=bank)


def _load_at(result: str, pointer: str, offset: str) -> Instruction:
    return Instruction(Kind.LOAD, mnemonic="ldr", writes=_names(result), address_reads=_names(pointer), words=1)


def _store(value: str, pointer: str, _: str) -> Instruction:
    return Instruction(Kind.STORE, mnemonic="str", data_reads=_names(value), address_reads=_names(pointer), words=1)


def _store_small(pointer: str, offset: str, value: str) -> Instruction:
    return _store(value, pointer, offset)


def _sum(result: str, x: str, y: str, start: str) -> Instruction:
    return Instruction(Kind.MAC, mnemonic="smlad", reads=_names(x, y), accumulator_reads=_names(start), writes=_names(result))


def _accumulate(accumulator: str, x: str, y: str) -> Instruction:
    return _sum(accumulator, x, y, accumulator)


def _scale(value: str, factor: str) -> Instruction:
    return _multiply(value, value, factor)


def _narrow(value: str, shift: str) -> Instruction:
    return _saturate(value, value, shift)


def _scale_and_add(value: str, factor: str, start: str) -> Instruction:
    return Instruction(Kind.MAC, mnemonic="mla", reads=_names(value, factor), accumulator_reads=_names(start), writes=_names(value))


def _load_signed(result: str, pointer: str, offset: str) -> Instruction:
    return Instruction(Kind.LOAD, mnemonic="ldrsb", writes=_names(result), address_reads=_names(pointer), words=1)


def _multiply(result: str, x: str, y: str) -> Instruction:
    return Instruction(Kind.MAC, mnemonic="smmul", reads=_names(x, y), writes=_names(result))


def _extend(result: str, word: str) -> Instruction:
    return Instruction(Kind.SIMD, mnemonic="sxtb16", reads=_names(word), writes=_names(result))


def _mask(result: str, word: str, mask: str) -> Instruction:
    return Instruction(Kind.ALU, mnemonic="and", reads=_names(word, mask), writes=_names(result))


def _shift_and_mask(result: str, word: str, mask: str) -> Instruction:
    return Instruction(Kind.SHIFT, mnemonic="and", reads=_names(mask), shifted_reads=_names(word), writes=_names(result))


def _saturate(result: str, value: str, _: str) -> Instruction:
    return Instruction(Kind.SIMD, mnemonic="ssat", shifted_reads=_names(value), writes=_names(result))


def _add(result: str, x: str, y: str) -> Instruction:
    return Instruction(Kind.ALU, mnemonic="add", reads=_names(x, y), writes=_names(result))


_MAKERS: Final[Mapping[str, Callable[..., Instruction]]] = {
    "LOAD": _load,
    "LOAD_BYTES": _load,
    "LOAD_AT": _load_at,
    "LOAD_SIGNED": _load_signed,
    "STORE": _store,
    "STORE_BYTE": _store_small,
    "STORE_HALF": _store_small,
    "MAC_2": _accumulate,
    "MAC_LL": _accumulate,
    "MAC_LH": _accumulate,
    "MAC_HL": _accumulate,
    "MAC_HH": _accumulate,
    "SUM_2": _sum,
    "SUM_LL": _sum,
    "SUM_LH": _sum,
    "SUM_HL": _sum,
    "SUM_HH": _sum,
    "PRODUCT_2": _multiply,
    "MULTIPLY_HIGH": _multiply,
    "EVEN_BYTES": _extend,
    "ODD_BYTES": _extend,
    "ODD_MASKED": _mask,
    "EVEN_MASKED": _shift_and_mask,
    "SATURATE": _saturate,
    "SCALE": _scale,
    "SCALE_AND_ADD": _scale_and_add,
    "NARROW": _narrow,
    "ADD": _add,
    "SUBTRACT": _add,
}
KNOWN: Final = frozenset(_MAKERS)
"""Names of the statements that `ordered` takes, besides accesses to two words."""
