"""Runs the commands that the documentation shows and writes their output below them, or checks that it is still what stands there.

    python scripts/examples.py                     # rewrite README.md and docs/*.md
    python scripts/examples.py --check [FILE ...]  # exit 1 where a command prints something else

A block of the kind `console` holds commands after `$ `, each with its output below. The commands of a document run in one shell, in a
folder that holds the repository's `examples/` and the document's own files: a block below a line like `NAME.mlir`: is such a file.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`([\w.-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT = "$ "
MARK = "----- end of command -----"


class CommandFailed(Exception):
    """A command of the documentation exited with an error."""


def commands_of(text: str) -> list[str]:
    """The commands of all console blocks in order."""
    return [line.removeprefix(PROMPT) for block in CONSOLE.findall(text) for line in block.splitlines() if line.startswith(PROMPT)]


def outputs_of(text: str) -> list[str]:
    """What each command of `text` prints now."""
    commands = commands_of(text)
    script = "".join(f"{command}\necho '{MARK}'\n" for command in commands)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120"}
    with tempfile.TemporaryDirectory(prefix="tinyc-examples-") as folder:
        (Path(folder) / "examples").symlink_to(ROOT / "examples")
        for name, content in FILE.findall(text):
            (Path(folder) / name).write_text(content, encoding="utf-8")
        shell = ["bash", "-e", "-o", "pipefail", "-c", script]
        result = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    outputs = result.stdout.split(f"{MARK}\n")
    if result.returncode != 0:
        raise CommandFailed(f"{commands[len(outputs) - 1]}\n{result.stderr.strip()}")
    return outputs[:-1]


def with_outputs(text: str) -> str:
    """`text` with the output that its commands have now."""
    outputs = iter(outputs_of(text))

    def block(match: re.Match[str]) -> str:
        lines = [line for line in match[1].splitlines() if line.startswith(PROMPT)]
        return "```console\n" + "".join(f"{line}\n{next(outputs)}" for line in lines) + "```"

    return CONSOLE.sub(block, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a command prints something else")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="documents (default: README.md and docs/*.md)")
    arguments = parser.parse_args()
    stale = False
    for path in arguments.files or DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        try:
            new = with_outputs(text)
        except CommandFailed as error:
            print(f"error: {path.name}: {error}", file=sys.stderr)
            return 1
        if new == text:
            continue
        if arguments.check:
            stale = True
            name = path.name
            print("".join(difflib.unified_diff(text.splitlines(True), new.splitlines(True), name, f"{name}, as printed now", n=1)), end="")
        else:
            path.write_text(new, encoding="utf-8")
            print(f"rewritten: {path}")
    if stale:
        print("the documentation shows something else than the commands print; python scripts/examples.py rewrites it", file=sys.stderr)
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
