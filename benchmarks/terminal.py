"""Progress of measurements on a terminal."""

from __future__ import annotations

import sys


class Terminal:
    """Says on standard error what is being measured, where that is a terminal; one line, which is gone at the end."""

    def __init__(self) -> None:
        self.part = ""
        self.shows = sys.stderr.isatty()

    def tell(self, what: str) -> None:
        """Replaces the line; with nothing to say there is none."""
        if not what:
            self.clear()
        elif self.shows:
            sys.stderr.write(f"\r\x1b[K{self.part}{what}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Leaves no line."""
        if self.shows:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
