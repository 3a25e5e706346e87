"""Holds the estimated cycles of Cortex-M7 against llvm-mca's, on the straight blocks of networks that take the most cycles.

python benchmarks/all.py --part cycles               # measure and write the table of docs/profile.md
python benchmarks/cycles.py MODEL ... [--blocks 60]  # print

Only blocks that llvm-mca is sound on are compared: no multiple transfers by LDM, STM, PUSH and POP, no updated bases, no IT, no
division. Jumps at the end are left out on both sides. Needs llvm-mca (Debian: llvm). Nothing is asserted: both are estimates.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cases import Case
from documents import DOCS, Edit, Section, Statement
from measure import Laboratory
from tables import table_row

import tinyc
from tinyc.cycles import CortexM7, Executed, Instruction, block_costs
from tinyc.cycles.instruction import Kind
from tinyc.errors import TinycError, ToolError
from tinyc.profile.profile import count_build
from tinyc.runners import random_inputs, read_description
from tinyc.toolchains.binutils import Line
from tinyc.toolchains.process import execute, find_tool, first_error_lines

TARGET = "cortex-m7"
FEW, MANY = 4, 14
"""Repetitions of a block; the difference of their cycles is free of the start and the end."""
BLOCKS = 60
DOCUMENT = DOCS / "profile.md"
NETWORKS = ("vww", "kws_ref_model", "fashion_mnist", "pretrainedResnet_quant")
HEADING = "network | share of instructions compared | ours / llvm-mca | without the load rule | without both"
SENTENCE = "(here LLVM {}, target `cortex-m7`"
VERSION = re.compile(r"LLVM version (\d+)")
TOTAL = re.compile(r"Total Cycles:\s+(\d+)")
MODELS = {
    "as tinyc profile": CortexM7(),
    "without load to MAC": CortexM7(load_to_mac_cycles=0),
    "without both": CortexM7(load_to_mac_cycles=0, store_beside_mac=True),
}


@dataclass(frozen=True)
class StraightBlock:
    """A block without its jump, and how often it ran."""

    instructions: tuple[Instruction, ...]
    text: str
    executions: int


def is_sound(instruction: Instruction) -> bool:
    """Whether llvm-mca's model of the instruction can be compared with."""
    if instruction.kind in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE) and not re.match(r"(ldr|str)d", instruction.mnemonic):
        return False
    return (
        instruction.kind not in (Kind.CONDITION, Kind.SYSTEM, Kind.DIVIDE) and not instruction.base_writes and not instruction.conditional
    )


def straight_blocks(executed: Executed, lines: Sequence[Line], most: int) -> list[StraightBlock]:
    """The `most` blocks with the most estimated cycles among those that are sound."""
    found = []
    for cost in sorted(block_costs(executed, CortexM7()), key=lambda cost: -int(cost.cycles.sum())):
        begin, end = cost.block.begin, cost.block.end
        end -= executed.instructions[end - 1].is_jump
        instructions = executed.instructions[begin:end]
        if instructions and all(map(is_sound, instructions)):
            text = "\n".join(f"{line.mnemonic} {line.operands}" for line in lines[begin:end])
            found.append(StraightBlock(instructions, text, int(executed.counts[:, begin].sum())))
    return found[:most]


def mca_cycles(tool: Path, block: StraightBlock, folder: Path) -> float:
    """llvm-mca's cycles of one repetition among many. Raises ToolError."""
    source = folder / "block.s"
    source.write_text(f".syntax unified\n{block.text}\n", encoding="utf-8")
    totals = []
    for repetitions in (FEW, MANY):
        options = ["-mtriple=thumbv7em-none-eabihf", f"-mcpu={TARGET}", f"-iterations={repetitions}", "-resource-pressure=false"]
        result = execute([tool, *options, "-instruction-info=false", source])
        total = TOTAL.search(result.stdout)
        if total is None:
            raise ToolError(f"llvm-mca failed\n{first_error_lines(result)}")
        totals.append(int(total.group(1)))
    return (totals[1] - totals[0]) / (MANY - FEW)


@dataclass(frozen=True)
class Comparison:
    """Blocks of one network: how many, their share of all instructions, llvm-mca's cycles, and ours by the entries of MODELS over them."""

    network: str
    blocks: int
    share: float
    cycles: float
    ratios: tuple[float, ...]

    def __str__(self) -> str:
        ratios = ", ".join(f"{title} {ratio:.2f}" for title, ratio in zip(MODELS, self.ratios, strict=True))
        return f"{self.network}: {self.blocks} blocks, {self.share:.0f} % of the instructions, llvm-mca {self.cycles:,.0f}; {ratios}"

    def row(self) -> str:
        """Row of the table of docs/profile.md."""
        return table_row(self.network, f"{self.share:.0f} %", *(f"{ratio:.2f}" for ratio in self.ratios))


def compare(model: Path, most: int, tool: Path) -> Comparison:
    """One network, on a random input."""
    with tempfile.TemporaryDirectory(prefix="tinyc-cycles-") as name:
        folder = Path(name)
        build = tinyc.load(model).compile(TARGET, measure=False).write(folder / "build")
        code, histogram = count_build(build, random_inputs(read_description(build), 1, 0))
        executed = code.executed(histogram)
        blocks = straight_blocks(executed, code.lines, most)
        theirs = sum(mca_cycles(tool, block, folder) * block.executions for block in blocks)
    ratios = []
    for ours in MODELS.values():
        cycles = sum(
            (ours.straight_cycles(block.instructions * MANY) - ours.straight_cycles(block.instructions * FEW)) * block.executions
            for block in blocks
        ) / (MANY - FEW)
        ratios.append(cycles / theirs)
    share = sum(len(block.instructions) * block.executions for block in blocks) / histogram.instructions
    return Comparison(model.stem, len(blocks), 100 * share, theirs, tuple(ratios))


def find_llvm_mca() -> tuple[Path, str]:
    """llvm-mca and its version. Raises ToolError where it is missing."""
    tool = find_tool(["llvm-mca", "llvm-mca-19", "llvm-mca-14"], "llvm")
    text = execute([tool, "--version"]).stdout
    version = VERSION.search(text)
    if version is None:
        raise ToolError(f"{tool} --version says no version: {text.strip()}")
    return tool, version[1]


def measure_cycles(laboratory: Laboratory, cases: Sequence[Case]) -> list[Edit]:
    """What docs/profile.md says about `cases`. Raises ToolError where llvm-mca is missing."""
    tool, version = find_llvm_mca()
    rows = []
    for case in cases:
        laboratory.tell(case.name)
        rows.append(compare(case.model, BLOCKS, tool).row())
    return [Statement(DOCUMENT, SENTENCE, (version,)), Section(DOCUMENT, "cycles", rows, HEADING)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="how many blocks of a network are compared; default %(default)s")
    arguments = parser.parse_args()
    try:
        tool, version = find_llvm_mca()
        print(f"LLVM {version}")
        for model in arguments.models:
            print(compare(model, arguments.blocks, tool), flush=True)
    except TinycError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
