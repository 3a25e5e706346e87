"""Runs a build in Renode, on Renode's model of the part that the build is for, linked for that part's memory.

Renode comes from no package registry and is not among the tools that tinyc's tests run with: what is tested is the script and everything
around it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tinyc.errors import DoesNotFitError, ToolError, UsageError
from tinyc.runners import semihosting
from tinyc.runners.aligned_accesses import instructions
from tinyc.runners.base import RunnerError, RunOptions, RunResult
from tinyc.runners.description import BuildDescription
from tinyc.runners.emulated import ELF_FILE, RUNTIME_SOURCES, build_program
from tinyc.runners.harness import INPUT_FILE, OUTPUT_FILE, calls_of_sample, counts_of_samples, interpret
from tinyc.runners.io import Samples, decode_outputs
from tinyc.runners.part import part_memory
from tinyc.targets import load_target
from tinyc.toolchains.arm import find_arm_toolchain
from tinyc.toolchains.elf import Program
from tinyc.toolchains.gcc_arm import RegionOverflowError
from tinyc.toolchains.process import ToolOutput, ToolTimeoutError, execute
from tinyc.toolchains.runtime_files import render_runtime

PLATFORMS: Final = {
    "stm32f412": "platforms/cpus/stm32f412.repl",
    "stm32f746": "platforms/cpus/stm32f746.repl",
    "stm32f765": "platforms/cpus/stm32f777.repl",  # the same core, memory map and flash; Renode has no F765
    "stm32h743": "platforms/cpus/stm32h743.repl",
}
STACK_BYTES: Final = 16 * 1024
SCRIPT_FILE: Final = "run.resc"
COUNT_FILE: Final = "instructions.txt"
CONSOLE_FILE: Final = "console.txt"
STATUS_FILE: Final = "status.txt"
WHERE: Final = "Renode is not on PATH; download it from https://github.com/renode/renode/releases and put its folder on PATH"


def find_renode() -> Path:
    """The renode on PATH; raises ToolError saying where to get it."""
    found = shutil.which("renode")
    if found is None:
        raise ToolError(WHERE)
    return Path(found)


def run_on_renode(description: BuildDescription, samples: Samples, work_dir: Path, options: RunOptions) -> RunResult:
    """Compiles, links and runs the build on `samples` in `work_dir`.

    Raises UsageError for a target that Renode has no model of, ToolError where Renode or the compiler is missing or fails, DoesNotFitError
    where the program does not fit the part, RunnerError where the network faults, leaves its arena, reports failure or runs too long.
    """
    if description.target_name not in PLATFORMS:
        raise UsageError(f"Renode has no model of target {description.target_name}; with --runner renode: {', '.join(PLATFORMS)}")
    renode = find_renode()
    memory = part_memory(load_target(description.target_name), description.arenas)
    toolchain = find_arm_toolchain(options.toolchain)
    try:
        program = build_program(description, memory, STACK_BYTES, toolchain, work_dir, RUNTIME_SOURCES, ["-DTINYC_SEMIHOSTING=1"])
    except RegionOverflowError as error:
        text = f"{description.name} and the harness around it do not fit {description.target_name}: {error}"
        raise DoesNotFitError(text) from error
    (work_dir / INPUT_FILE).write_bytes(samples.encode())
    for name in (OUTPUT_FILE, COUNT_FILE, CONSOLE_FILE, STATUS_FILE):
        (work_dir / name).unlink(missing_ok=True)
    (work_dir / SCRIPT_FILE).write_text(renode_script(description, program, work_dir), encoding="utf-8")
    command = (str(renode), "--disable-xwt", "--console", "--plain", SCRIPT_FILE)
    try:
        output = execute(command, cwd=work_dir, timeout_seconds=options.timeout_seconds)
    except ToolTimeoutError as error:
        raise RunnerError(f"{description.entry_point} did not end within {options.timeout_seconds:g} seconds in Renode") from error
    report = interpret(_program_output(work_dir, output), description, program.addresses(), "Renode")
    runs = read_counts(work_dir / COUNT_FILE, samples.count * calls_of_sample(description))
    counts, notes = counts_of_samples(runs, description, samples.count, "Renode")
    return RunResult(
        outputs=decode_outputs(description, (work_dir / OUTPUT_FILE).read_bytes(), samples),
        samples=samples.count,
        instructions=counts[-1],
        instructions_per_sample=counts,
        stack_bytes=report["stack_bytes"],
        elf=work_dir / ELF_FILE,
        command=command,
        cwd=work_dir,
        runner="renode",
        notes=(
            *notes,
            f"linked for the memory of {description.target_name}, run on Renode's {PLATFORMS[description.target_name]}",
        ),
    )


def renode_script(description: BuildDescription, program: Program, work_dir: Path) -> str:
    """The Renode script that loads and runs `program` and leaves its files in `work_dir`."""
    addresses = program.addresses()
    return render_runtime(
        "emulator/renode.resc.j2",
        name=description.name,
        platform=PLATFORMS[description.target_name],
        breakpoint=semihosting_breakpoint(program),
        vector_table=addresses["tinyc_vectors"],
        counted=[addresses["tinyc_profile_begin"], addresses["tinyc_profile_end"]],
        folder=f"{work_dir.resolve().as_posix()}/",
        count_path=(work_dir.resolve() / COUNT_FILE).as_posix(),
        input_file=INPUT_FILE,
        output_file=OUTPUT_FILE,
        console_file=CONSOLE_FILE,
        status_file=STATUS_FILE,
        OPEN=semihosting.OPEN,
        CLOSE=semihosting.CLOSE,
        READ=semihosting.READ,
        WRITE=semihosting.WRITE,
        EXIT_EXTENDED=semihosting.EXIT_EXTENDED,
    )


def semihosting_breakpoint(program: Program) -> int:
    """Address of the one instruction by which the harness calls the debugger; raises ToolError unless there is exactly one."""
    found = [
        address + instruction.offset
        for address, code in program.thumb_code()
        for instruction in instructions(code)
        if instruction.semihosting
    ]
    if len(found) != 1:
        raise ToolError(f"the program has {len(found)} semihosting breakpoints instead of one")
    return found[0]


def read_counts(path: Path, runs: int) -> tuple[int, ...]:
    """Instructions of each call into the network, from the counts at its beginning and end; raises ToolError where they do not belong to
    `runs` calls."""
    marks = [int(line) for line in path.read_text(encoding="ascii").split()] if path.is_file() else []
    if len(marks) != 2 * runs:
        raise ToolError(f"Renode saw {len(marks)} of the {2 * runs} ends of the network's runs")
    return tuple(end - begin for begin, end in zip(marks[::2], marks[1::2], strict=True))


def _program_output(work_dir: Path, output: ToolOutput) -> ToolOutput:
    """What the program printed and its exit code; Renode's own words where it never ended."""
    console, status = work_dir / CONSOLE_FILE, work_dir / STATUS_FILE
    if not status.is_file():
        return ToolOutput(output.returncode or 1, "", output.stderr or output.stdout)
    return ToolOutput(int(status.read_text(encoding="ascii")), console.read_text(encoding="latin-1") if console.is_file() else "", "")
