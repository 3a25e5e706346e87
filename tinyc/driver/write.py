"""Writing a build folder so that it is there as a whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tinyc.errors import TinycError, printable

REPORT_FILE = "report.json"
_RUN_PREFIXES = ("run-", "link-")
"""Folders that `tinyc run` and the linker leave in a build."""


class OutputError(TinycError):
    """The output folder cannot be written, or holds what tinyc must not delete."""


def write_build(files: Mapping[str, str], folder: Path) -> None:
    """Writes `files` (name to text) as the whole content of `folder`, replacing an earlier build there.

    Everything is written beside the folder first and moved into place at the end. Raises OutputError where that is impossible, or where
    the folder holds files that no build of tinyc wrote.
    """
    try:
        target = folder.resolve()
        _check_replaceable(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
        try:
            new = staging / "new"
            new.mkdir()
            for name, text in files.items():
                (new / name).write_text(text, encoding="utf-8", newline="\n")
            if target == Path.cwd().resolve():
                _replace_content(new, target)
            else:
                _replace_folder(new, target, staging / "old")
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write {printable(folder)}: {error.strerror or error}") from error


def _check_replaceable(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"{printable(target)} is a file, expected a folder")
    entries = {entry.name for entry in target.iterdir()}
    foreign = sorted(name for name in entries - _files_of_build(target) if not name.startswith(_RUN_PREFIXES))
    if foreign:
        shown = ", ".join(printable(name, 40) for name in foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        raise OutputError(f"{printable(target)} holds files that tinyc did not write ({shown}); choose another folder")


def _files_of_build(target: Path) -> set[str]:
    try:
        report = json.loads((target / REPORT_FILE).read_text(encoding="utf-8"))
        return {str(name) for name in report["files"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        # Without a readable report nothing there is known to be ours.
        return set()


def _replace_folder(new: Path, target: Path, old: Path) -> None:
    if not target.exists():
        os.rename(new, target)
        return
    os.rename(target, old)
    try:
        os.rename(new, target)
    except BaseException:
        os.rename(old, target)
        raise


def _replace_content(new: Path, target: Path) -> None:
    """For the working folder, which cannot be exchanged: the report goes first and comes last, so that half a build is no build."""
    (target / REPORT_FILE).unlink(missing_ok=True)
    for path in sorted(new.iterdir(), key=lambda path: path.name == REPORT_FILE):
        os.replace(path, target / path.name)
