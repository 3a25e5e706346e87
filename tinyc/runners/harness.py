"""The program around a build: its sources, where its files lie, and what its report line means."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tinyc.errors import ToolError, printable
from tinyc.runners.base import DTYPES, RunnerError
from tinyc.runners.description import BuildDescription
from tinyc.toolchains.process import ToolOutput, first_error_lines
from tinyc.toolchains.runtime_files import render_runtime, runtime_directory

INPUT_FILE: Final = "input.bin"
OUTPUT_FILE: Final = "output.bin"
STAMP_FILE: Final = "program.sha256"
LEAST_GUARD_BYTES: Final = 256

# Names of the bits of the configurable fault status register, ARMv7-M Architecture Reference Manual, B3.2.15.
FAULT_BITS: Final[Mapping[int, str]] = {
    0: "instruction fetch from forbidden memory",
    1: "access to forbidden memory",
    3: "memory fault while returning from an exception",
    4: "memory fault while entering an exception",
    8: "instruction fetch from where there is no memory",
    9: "access to where there is no memory",
    10: "delayed access to where there is no memory",
    11: "bus fault while returning from an exception",
    12: "bus fault while entering an exception",
    16: "undefined instruction",
    17: "invalid processor state",
    18: "invalid return address",
    19: "no floating-point unit",
    24: "unaligned access by an instruction that needs alignment",
    25: "division by zero",
}


Compile = Callable[[Sequence[Path], Path, Sequence[str]], list[Path]]
"""From sources, output folder and flags to object files."""


@dataclass(frozen=True)
class Program:
    """Everything a program is compiled from, harness and network apart, since a network may be called like a file of the harness.

    `key` changes when anything does that can change the program.
    """

    harness: tuple[Path, ...]
    network: tuple[Path, ...]
    network_dir: Path
    key: str

    def compile(
        self, compiler: Callable[[Sequence[Path], Path, Sequence[str]], list[Path]], objects: Path, flags: Sequence[str]
    ) -> list[Path]:
        """All object files, in folder `objects`."""
        network_flag = f"-I{self.network_dir}"
        harness = compiler(self.harness, objects / "harness", [*flags, network_flag, f"-I{runtime_directory()}"])
        return harness + compiler(self.network, objects / "network", [*flags, network_flag])


def prepare_work_dir(build_dir: Path, name: str, work_dir: Path | None) -> tuple[Path, tuple[str, ...]]:
    """The folder for the files of a run, absolute, and notes about it: `work_dir`, or folder `name` in the build, or a temporary folder
    where the build folder cannot be written."""
    wanted = work_dir if work_dir is not None else build_dir / name
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        if os.access(wanted, os.W_OK | os.X_OK):
            return wanted.resolve(), ()
        problem = "it cannot be written"
    except OSError as error:
        problem = error.strerror or str(error)
    if work_dir is not None:
        raise ToolError(f"cannot use work folder {printable(work_dir)}: {problem}")
    replacement = Path(tempfile.mkdtemp(prefix=f"tinyc-{name}-")).resolve()
    return replacement, (f"the build folder cannot be written; the files of the run are in {replacement}",)


def guard_bytes(description: BuildDescription) -> int:
    """Size of the guard zone on either side of an arena."""
    return max(LEAST_GUARD_BYTES, description.arena_align)


def write_harness(description: BuildDescription, work_dir: Path, runtime_sources: Sequence[str], key_parts: Sequence[str]) -> Program:
    """Writes the harness of `description` to `work_dir`; `runtime_sources` are files under runtime/ that the platform needs,
    `key_parts` whatever else the program depends on: compiler version, flags, linker script."""
    text = render_runtime(
        "harness/harness.c.j2",
        name=description.name,
        macro=description.macro,
        arenas=description.arenas,
        banked=description.banked,
        guard_bytes=guard_bytes(description),
        inputs=description.inputs,
        pushed=description.pushed,
        row_offset=row_offset(description),
        outputs=description.outputs,
        input_file=INPUT_FILE,
        output_file=OUTPUT_FILE,
    )
    main = work_dir / "harness.c"
    main.write_text(text, encoding="utf-8")
    runtime = runtime_directory()
    own = ["harness/profile.c", "harness/text.c", *runtime_sources]
    harness = (main, *(runtime / name for name in own))
    headers = [*sorted(description.directory.resolve().glob("*.h")), *sorted(runtime.rglob("*.h")), *sorted(runtime.glob("libc/*.c"))]
    digest = hashlib.sha256()
    for part in key_parts:
        digest.update(f"{len(part)}:{part}".encode())
    for path in (*harness, *description.sources, *headers):
        digest.update(f"{path}:".encode() + hashlib.sha256(path.read_bytes()).digest())
    return Program(harness, description.sources, description.directory.resolve(), digest.hexdigest())


def is_current(work_dir: Path, program: Program, elf: Path) -> bool:
    """Whether `elf` was made from exactly `program`."""
    stamp = work_dir / STAMP_FILE
    return elf.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp(program, elf)


def mark_current(work_dir: Path, program: Program, elf: Path) -> None:
    """Remembers that `elf` was made from `program`."""
    (work_dir / STAMP_FILE).write_text(_stamp(program, elf), encoding="utf-8")


def _stamp(program: Program, elf: Path) -> str:
    return f"{program.key} {hashlib.sha256(elf.read_bytes()).hexdigest()}\n"


def interpret(output: ToolOutput, description: BuildDescription, symbols: Mapping[str, int], tool: str) -> dict[str, Any]:
    """The harness's report of a run that ended well; raises RunnerError saying what happened for every other run.

    `symbols` (address by name) turns the place of a fault into a function; it may be empty.
    """
    report = _report_line(output.stdout)
    function = description.entry_point
    if report is None:
        if output.returncode < 0:
            raise RunnerError(
                f"{function} did not end: {tool} was killed by signal {-output.returncode}\n{first_error_lines(output)}".rstrip()
            )
        raise RunnerError(f"{tool} ended with exit code {output.returncode} and without a report\n{first_error_lines(output)}".rstrip())
    status = report["status"]
    if status == "ok" and output.returncode == 0:
        return report
    if status == "guard":
        place = (
            f"{report['distance'] + 1} bytes before its start"
            if report["side"] == "before"
            else f"{report['distance']} bytes behind its end"
        )
        arena = description.arenas[report["arena"]]
        raise RunnerError(f"{function} wrote outside {arena.title}: {place}, in sample {report['sample']}")
    if status == "code":
        expected = "0 was expected" if description.pushed is None else "0 was expected, and 1 for the last row"
        raise RunnerError(f"{function} returned {report['code']} for sample {report['sample']}; {expected}")
    if status == "fault":
        raise RunnerError(f"{function} faulted: {_fault_text(report, symbols)}")
    if status == "file":
        raise RunnerError(f"{report['file']} {report['problem']}")
    raise RunnerError(
        f"{tool} ended with exit code {output.returncode} after the report {printable(report)}\n{first_error_lines(output)}".rstrip()
    )


def _report_line(stdout: str) -> dict[str, Any] | None:
    for line in reversed(stdout.splitlines()):
        if line.startswith('{"status"'):
            try:
                report = json.loads(line)
            except ValueError:
                return None
            return report if isinstance(report, dict) else None
    return None


def row_offset(description: BuildDescription) -> int:
    """Bytes before a row that is pushed: rows of bytes lie at an odd address, to show that any will do."""
    return DTYPES[description.inputs[0].dtype].itemsize


def calls_of_sample(description: BuildDescription) -> int:
    """How often a sample calls into the network: once, or where rows are pushed to begin and for each row."""
    return 1 if description.pushed is None else 1 + description.pushed.rows


def counts_of_samples(
    counts: Sequence[int], description: BuildDescription, samples: int, who: str
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Instructions of each sample from those of all calls into the network, and notes on them.

    Raises ToolError naming `who` counted where these are not the calls of `samples` samples.
    """
    calls = calls_of_sample(description)
    if len(counts) != samples * calls:
        raise ToolError(f"{who} saw {len(counts)} calls of the network instead of {samples * calls}")
    totals = tuple(sum(counts[start : start + calls]) for start in range(0, len(counts), calls))
    notes = []
    if len(set(totals)) > 1:
        notes.append(f"instructions differ between samples: from {min(totals)} to {max(totals)}; the number is the last sample's")
    if description.pushed is not None:
        *earlier, last = counts[1 - calls :]
        notes.append(f"of these, pushing the last row takes {last} instructions, any earlier one at most {max(earlier, default=0)}")
    return totals, tuple(notes)


def _fault_text(report: Mapping[str, int], symbols: Mapping[str, int]) -> str:
    if report["stack_overflow"]:
        return "the stack is full"
    causes = [text for bit, text in FAULT_BITS.items() if report["cfsr"] >> bit & 1] or ["unknown cause"]
    below = [(address, name) for name, address in symbols.items() if address <= report["pc"] and not name.startswith("$")]
    place = f" in {max(below)[1]}" if below and report["pc"] else ""
    address = f", address {report['address']:#010x}" if report["address"] else ""
    return f"{', '.join(causes)}{place} (pc {report['pc']:#010x}, lr {report['lr']:#010x}{address}, CFSR {report['cfsr']:#010x})"
