"""Profiles a build: one inference in Unicorn, every instruction counted for the layer that it works for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyc.cycles import CortexM4, CortexM7, Executed, Instruction, block_costs, parse_instructions
from tinyc.errors import UsageError
from tinyc.profile.attribution import code_account, static_owners
from tinyc.profile.description import LayerRecord, ProfiledBuild, read_profiled_build
from tinyc.profile.waits import bank_wait_cycles, describe_timing, wait_cycles
from tinyc.report.profile import LayerProfile, ProfileReport
from tinyc.runners.base import Array
from tinyc.runners.description import BuildDescription, read_description
from tinyc.runners.histogram import Histogram, count_executions
from tinyc.toolchains.binutils import Line, Origin, disassemble, origins
from tinyc.toolchains.elf import Program
from tinyc.toolchains.gcc_arm import GccArm, find_gcc_arm

MODELS: Mapping[str, CortexM4 | CortexM7] = {"cortex-m4": CortexM4(), "cortex-m7": CortexM7()}
"""Cycle models by core."""


@dataclass
class CountedCode:
    """A program, what was executed of it, and whose each instruction is; filled in as the program is linked and run."""

    gcc: GccArm
    description: BuildDescription
    build: ProfiledBuild
    lines: list[Line] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    origins: dict[int, Origin] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)

    def find_owners(self, program: Program, elf: Path) -> dict[int, int]:
        """Reads the program; owner by address."""
        self.lines = disassemble(self.gcc, elf)
        self.instructions = parse_instructions((line.address, line.bytes, line.mnemonic, line.operands) for line in self.lines)
        self.origins = origins(self.gcc, elf, [line.address for line in self.lines])
        self.owners = static_owners(self.origins, self.description.name, self.build.layers)
        return self.owners

    def executed(self, histogram: Histogram) -> Executed:
        """The columns of the histogram at which an instruction begins."""
        places: npt.NDArray[np.int64] = np.array([(instruction.address - histogram.start) // 2 for instruction in self.instructions])
        executed = Executed(tuple(self.instructions), histogram.counts[:, places], histogram.jumps[:, places])
        if int(executed.counts.sum()) != histogram.instructions:
            raise AssertionError(f"{histogram.instructions} instructions ran, {int(executed.counts.sum())} of them are in the disassembly")
        return executed


def count_build(build_dir: Path, inputs: Mapping[str, Array], work_dir: Path | None = None) -> tuple[CountedCode, Histogram]:
    """Runs the build in `build_dir` and counts. Raises as `profile_build` does."""
    description = read_description(build_dir)
    build = read_profiled_build(build_dir)
    if description.core not in MODELS:
        raise UsageError(f"there is no cycle model of {description.core}: compile for a part, see `tinyc targets`")
    code = CountedCode(find_gcc_arm(), description, build)
    return code, count_executions(build_dir, inputs, len(build.layers) + 1, code.find_owners, work_dir)


def profile_build(build_dir: Path, inputs: Mapping[str, Array], work_dir: Path | None = None) -> ProfileReport:
    """The profile of the build in `build_dir` on `inputs` (`input_0`, ...; of several samples the last counts).

    Raises UsageError for a build for the host, ModelError (build folder or inputs), ToolError where arm-none-eabi-gcc, Unicorn or a C
    compiler of this machine is missing, and RunnerError as `run_build` does.
    """
    code, histogram = count_build(build_dir, inputs, work_dir)
    description, build, model = code.description, code.build, MODELS[code.description.core]
    executed = code.executed(histogram)
    cycles = np.zeros(len(executed.counts), dtype=np.int64)
    for cost in block_costs(executed, model):
        cycles += cost.cycles + cost.jump_cycles
    cycles += wait_cycles(executed, histogram.flash_reads, build.timing)
    cycles += bank_wait_cycles(histogram.arena_accesses, build.banks)
    directory = description.directory.resolve()
    account = code_account(histogram.program, executed.instructions, executed.counts, code.owners, code.origins, directory)
    counts = executed.counts.sum(axis=1)
    whole = LayerRecord(-1, "(outside of layers)", "", "", 0, ())
    layers = tuple(
        LayerProfile(
            step=record.step if number else None,
            name=record.name,
            op=record.op,
            kernel=record.kernel,
            macs=record.macs,
            instructions=int(counts[number]),
            estimated_cycles=int(cycles[number]),
            code_bytes=int(account.own[number]),
        )
        for number, record in enumerate((whole, *build.layers))
    )
    return ProfileReport(
        name=description.name,
        target=description.target_name,
        numerics=description.profile.value,
        model=model.name,
        clock_hz=build.clock_hz,
        timing=describe_timing(build.timing, build.banks),
        compiler=code.gcc.version(),
        layers=layers,
        shared=account.shared,
        unused_code_bytes=account.unused,
    )
