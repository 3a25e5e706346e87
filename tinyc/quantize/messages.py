"""Foreign exceptions in one line."""

from __future__ import annotations

from tinyc.errors import printable


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, or its class where it has none, fit for a terminal."""
    lines = str(error).strip().splitlines()
    return printable(lines[0] if lines else type(error).__name__)
