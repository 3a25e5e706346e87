"""Estimated cycles of counted Thumb instructions on Cortex-M4 and Cortex-M7; docs/profile.md has the rules and where they come from."""

from tinyc.cycles.blocks import BlockCost, Executed, block_costs
from tinyc.cycles.cortex_m4 import CortexM4
from tinyc.cycles.cortex_m7 import CortexM7
from tinyc.cycles.flow import split_blocks
from tinyc.cycles.instruction import Instruction, parse_instruction, parse_instructions

__all__ = [
    "BlockCost",
    "CortexM4",
    "CortexM7",
    "Executed",
    "Instruction",
    "block_costs",
    "parse_instruction",
    "parse_instructions",
    "split_blocks",
]
