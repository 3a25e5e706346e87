"""Finding and running the tools of other people, with errors that say what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tinyc.errors import ToolError, printable

DEFAULT_TIMEOUT_SECONDS: Final = 300.0
SHOWN_LINES: Final = 5


@dataclass(frozen=True)
class ToolOutput:
    """What a tool left behind: exit code (negative: killed by that signal), stdout and stderr as text."""

    returncode: int
    stdout: str
    stderr: str


class ToolTimeoutError(ToolError):
    """A tool ran past its time limit and was stopped."""


def find_tool(names: Sequence[str], package: str) -> Path:
    """The first of `names` that is on PATH; raises ToolError naming the Debian `package` that has it."""
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise ToolError(f"{' or '.join(names)} is not on PATH; on Debian or Ubuntu install the package {package}")


def first_error_lines(output: ToolOutput) -> str:
    """The first lines of stderr, or else of stdout, that speak of an error; the first lines at all where none does."""
    lines = [line for line in (output.stderr.strip() or output.stdout.strip()).splitlines() if line.strip()]
    # gcc ends with this line when the linker failed; the linker's own words stand above it.
    lines = [line for line in lines if not line.startswith("collect2: error: ld returned")] or lines
    telling = [line for line in lines if "error" in line.lower() or "undefined reference" in line or "fatal" in line.lower()]
    return "\n".join(f"  {printable(line, 300)}" for line in (telling or lines)[:SHOWN_LINES])


def execute(
    command: Sequence[str | Path],
    cwd: Path | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> ToolOutput:
    """Runs `command` to its end whatever its exit code; messages of the tool are in English. `environment` is added to this process's.

    Raises ToolTimeoutError past `timeout_seconds`, ToolError where the tool cannot be started.
    """
    arguments = [str(part) for part in command]
    name = Path(arguments[0]).name
    try:
        finished = subprocess.run(
            arguments,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C", **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolTimeoutError(f"{name} was stopped after its time limit of {timeout_seconds:g} seconds") from error
    except OSError as error:
        raise ToolError(f"cannot run {name}: {error.strerror}") from error
    return ToolOutput(finished.returncode, finished.stdout.decode(errors="replace"), finished.stderr.decode(errors="replace"))


def run_tool(
    command: Sequence[str | Path],
    cwd: Path | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> ToolOutput:
    """Like `execute`, and raises ToolError with the tool's first error lines where it does not exit with 0."""
    output = execute(command, cwd, timeout_seconds, environment)
    if output.returncode != 0:
        name = Path(str(command[0])).name
        end = f"was killed by signal {-output.returncode}" if output.returncode < 0 else f"failed with exit code {output.returncode}"
        raise ToolError(f"{name} {end}\n{first_error_lines(output)}".rstrip())
    return output
