"""Writing one file so that it is there as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tinyc.driver.write import OutputError
from tinyc.errors import printable


def write_file(content: bytes, path: Path) -> None:
    """Writes `content` to `path`, replacing a file there only once everything is written. Raises OutputError."""
    shown = printable(path)
    if path.is_dir():
        raise OutputError(f"{shown} is a folder, expected a file name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            # mkstemp makes files that only their owner reads; other outputs follow the user's mask.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {shown}: {error.strerror or error}") from error
