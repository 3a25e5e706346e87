"""Assembly text as the instructions that a cycle model takes."""

from __future__ import annotations

from tinyc.cycles import Instruction, parse_instructions


def assemble(text: str) -> list[Instruction]:
    """One instruction a line, in objdump's spelling, each of 4 bytes, from address 0 on."""
    lines = [line.strip().partition(" ") for line in text.strip().splitlines()]
    return parse_instructions((4 * index, 4, mnemonic, operands.strip()) for index, (mnemonic, _, operands) in enumerate(lines))
