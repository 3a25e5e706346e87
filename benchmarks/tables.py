"""Tables in Markdown, and their place in a document."""

from __future__ import annotations

from collections.abc import Sequence

from tinyc.errors import TinycError

_TEXT_COLUMNS = frozenset({"network", "layer", "core", "numerics", "input", "made with", "--optimize", "from", "architecture of"})


def table(heading: str, rows: Sequence[str]) -> str:
    """`rows` under the names in `heading`, which ` | ` separates; numbers stand on the right."""
    rule = "|".join("---" if column in _TEXT_COLUMNS else "---:" for column in heading.split(" | "))
    return "\n".join([f"| {heading} |", f"|{rule}|", *rows])


def table_row(*values: object) -> str:
    """One row: integers with separators, nothing for None."""
    return "| " + " | ".join(f"{value:,}" if isinstance(value, int) else "" if value is None else str(value) for value in values) + " |"


class MissingPlace(TinycError):
    """A document has no place for what was measured."""


def replaced(text: str, begin: str, end: str, body: str) -> str:
    """`text` with `body` between the lines `begin` and `end`. Raises MissingPlace."""
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise MissingPlace(f"there are no lines {begin} and {end}")
    return f"{before}{begin}\n{body}\n{end}{after}"
