"""`tinyc run`: execute a build and say what it answered and what it cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tinyc.errors import UsageError
from tinyc.runners import RUNNERS, RunResult, load_inputs, random_inputs, read_description, run_build, save_outputs
from tinyc.runners.base import DEFAULT_TIMEOUT_SECONDS
from tinyc.toolchains import TOOLCHAINS


@click.command("run")
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--runner", type=click.Choice(list(RUNNERS)), default="qemu", show_default=True, help="Where the C runs.")
@click.option(
    "--input",
    "input_path",
    type=click.Path(path_type=Path),
    help="npz archive with input_0, input_1, ...; more than one sample along a leading axis.",
)
@click.option("--random", "random_count", type=click.IntRange(min=1), help="Without --input: this many random samples.  [default: 1]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random samples.")
@click.option("--output", "output_path", type=click.Path(path_type=Path), help="npz archive to write output_0, output_1, ... to.")
@click.option("--work-dir", type=click.Path(path_type=Path), help="Folder for the files of the run.  [default: BUILD/run-RUNNER]")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_TIMEOUT_SECONDS,
    show_default=True,
    help="Time limit in seconds.",
)
@click.option("--toolchain", type=click.Choice(list(TOOLCHAINS)), help="Compiler for the emulators.  [default: gcc if installed, else zig]")
@click.option("--sanitize", is_flag=True, help="Runner host: let AddressSanitizer and UndefinedBehaviorSanitizer watch the C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run_command(
    build: Path,
    runner: str,
    input_path: Path | None,
    random_count: int | None,
    seed: int,
    output_path: Path | None,
    work_dir: Path | None,
    timeout: float,
    toolchain: str | None,
    sanitize: bool,
    as_json: bool,
) -> None:
    """Compile the C in folder BUILD, run it in an emulator or on this machine, and report outputs, instructions and stack."""
    if input_path is not None and random_count is not None:
        raise UsageError("--input and --random exclude each other")
    if input_path is not None:
        inputs, source = load_inputs(input_path), str(input_path)
    else:
        count = 1 if random_count is None else random_count
        inputs, source = random_inputs(read_description(build), count, seed), f"random, seed {seed}"
    result = run_build(build, runner, inputs, work_dir, timeout, toolchain=toolchain, sanitize=sanitize)
    if output_path is not None:
        save_outputs(output_path, result.outputs)
    click.echo(json.dumps(result_facts(result, source, output_path), indent=2) if as_json else result_text(result, source, output_path))


def result_facts(result: RunResult, source: str, output_path: Path | None) -> dict[str, Any]:
    """The run as a JSON object; `source` says where the inputs came from; output values go to the archive only."""
    return {
        "runner": result.runner,
        "input": source,
        "samples": result.samples,
        "instructions": result.instructions,
        "instructions_per_sample": list(result.instructions_per_sample),
        "stack_bytes": result.stack_bytes,
        "outputs": [{"name": name, "dtype": str(array.dtype), "shape": list(array.shape)} for name, array in result.outputs.items()],
        "output_file": None if output_path is None else str(output_path),
        "elf": str(result.elf),
        "command": list(result.command),
        "cwd": str(result.cwd),
        "notes": list(result.notes),
    }


def result_text(result: RunResult, source: str, output_path: Path | None) -> str:
    """The same as lines for a person; integers with thousands separators."""
    rows = [("runner", result.runner), ("input", source), ("samples", str(result.samples))]
    if result.instructions is not None:
        rows.append(("instructions", f"{result.instructions:,}"))
    if result.stack_bytes is not None:
        rows.append(("stack", f"{result.stack_bytes:,} bytes"))
    rows += [(name, f"{array.dtype} {array.shape}") for name, array in result.outputs.items()]
    if output_path is not None:
        rows.append(("written to", str(output_path)))
    rows.append(("program", str(result.elf)))
    rows += [("note", note) for note in result.notes]
    return "\n".join(f"{label:<12}  {value}" for label, value in rows)
