"""What the documentation says about measurements: generated tables and sentences with figures, written or held against the files.

A generated part stands between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`. A sentence is found by its words.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cases import ROOT
from tables import MissingPlace, replaced, table

README = ROOT / "README.md"
DOCS = ROOT / "docs"

_FIGURE = r"[0-9](?:[0-9.,]*[0-9])?"
_PRINTED = re.compile(rf"(?<![\w.-]){_FIGURE}(?![\w.-]*\w)")
"""A figure that is no part of a name."""


class Edit(Protocol):
    """One thing that a document says about what was measured."""

    @property
    def document(self) -> Path:
        """The file."""
        ...

    @property
    def rows(self) -> Sequence[str]:
        """Whole lines that stand in the file, one or more for each network; none where the edit is about all networks together."""
        ...

    def apply(self, text: str) -> str:
        """`text`, which is that of the document, with what was measured. Raises MissingPlace."""
        ...


@dataclass(frozen=True)
class Section:
    """`rows` between the markers of `name`; below `heading`, whose columns ` | ` separates, where they are the rows of a table."""

    document: Path
    name: str
    rows: Sequence[str]
    heading: str = ""

    def apply(self, text: str) -> str:
        """See Edit."""
        body = table(self.heading, self.rows) if self.heading else "\n".join(self.rows)
        return replaced(text, f"<!-- {self.name}: begin -->", f"<!-- {self.name}: end -->", body)


@dataclass(frozen=True)
class Statement:
    """A sentence, or a part of one, with a `{}` for each figure; how lines are broken does not matter."""

    document: Path
    template: str
    figures: Sequence[str]

    @property
    def rows(self) -> Sequence[str]:
        """None: see Edit."""
        return ()

    @staticmethod
    def printed(document: Path, text: str) -> Statement:
        """What a command printed, which `document` shows."""
        return Statement(document, _PRINTED.sub("{}", text), _PRINTED.findall(text))

    @property
    def pattern(self) -> re.Pattern[str]:
        """Finds the sentence, whatever its figures are; one group for each figure."""
        words = r"\s+".join(re.escape(word) for word in self.template.split())
        return re.compile(words.replace(re.escape("{}"), f"({_FIGURE})"))

    def apply(self, text: str) -> str:
        """See Edit. A sentence that stands there twice has no place either."""
        found = list(self.pattern.finditer(text))
        if len(found) != 1 or len(self.figures) != self.template.count("{}"):
            raise MissingPlace(f"the sentence {self.template!r} stands {len(found)} times in {self.document.name}")
        parts, position = [], 0
        for group, figure in enumerate(self.figures, start=1):
            begin, end = found[0].span(group)
            parts += [text[position:begin], figure]
            position = end
        return "".join([*parts, text[position:]])


@dataclass(frozen=True)
class Page:
    """A whole document."""

    document: Path
    text: str
    rows: Sequence[str]

    def apply(self, text: str) -> str:
        """See Edit."""
        return self.text


def write(edits: Iterable[Edit]) -> list[Path]:
    """Makes the documents say what was measured; those that were changed. Raises MissingPlace, before any is written."""
    texts: dict[Path, str] = {}
    for edit in edits:
        texts[edit.document] = edit.apply(texts.get(edit.document) or edit.document.read_text(encoding="utf-8"))
    changed = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    for path in changed:
        path.write_text(texts[path], encoding="utf-8")
    return changed


def untrue(edits: Iterable[Edit]) -> list[str]:
    """Lines of the documents that are not as measured, as a comparison of both. Raises MissingPlace."""
    problems = []
    for edit in edits:
        text = edit.document.read_text(encoding="utf-8")
        name = edit.document.relative_to(ROOT).as_posix()
        lines = difflib.unified_diff(text.splitlines(), edit.apply(text).splitlines(), name, f"{name}, as measured", lineterm="", n=0)
        problems += [line for line in lines if not line.startswith("@@")]
    return problems


def missing_rows(edits: Iterable[Edit]) -> list[str]:
    """Rows that the documents should have but do not: for edits about some of the networks, which cannot be compared as a whole.

    Sentences can. Raises MissingPlace.
    """
    problems = []
    for edit in edits:
        if isinstance(edit, Statement):
            problems += untrue([edit])
            continue
        lines = set(edit.document.read_text(encoding="utf-8").splitlines())
        name = edit.document.relative_to(ROOT).as_posix()
        problems += [f"{name} does not say: {row}" for row in edit.rows if row not in lines]
    return problems
