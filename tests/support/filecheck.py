"""Checks a text against directives, after LLVM's FileCheck, as far as the tests of passes need it.

- `CHECK: p` finds `p` somewhere behind the last match, `CHECK-NEXT: p` on the line after the last match, `CHECK-SAME: p` on the rest of
  its line. `CHECK-NOT: p` says that `p` does not occur between the matches around it.
- A pattern is plain text in which runs of blanks are equal; `{{...}}` holds a regular expression, `[[name:...]]` a regular expression whose
  match gets a name, `[[name]]` the text of that match.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIRECTIVE = re.compile(r"//\s*CHECK(-NEXT|-SAME|-NOT)?:[ \t]*(.*?)[ \t]*$")
_PIECE = re.compile(r"\{\{(?P<regex>.+?)\}\}|\[\[(?P<name>\w+)(?::(?P<capture>.+?))?\]\]|(?P<blank>[ \t]+)|(?P<text>.)")


class FileCheckError(AssertionError):
    """A directive does not hold; the text shows which, and where the search stood."""


@dataclass(frozen=True)
class Directive:
    """One line of expectations: `kind` is "", "-NEXT", "-SAME" or "-NOT"; `line` counts from 1."""

    kind: str
    pattern: str
    line: int


def directives_of(text: str) -> list[Directive]:
    """The directives in `text`. Raises ValueError where there are none, or where the first is relative to a match that is not there."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _DIRECTIVE.search(line)
        if match:
            found.append(Directive(match[1] or "", match[2], number))
    first = next((directive for directive in found if directive.kind != "-NOT"), None)
    if not found or (first is not None and first.kind in ("-NEXT", "-SAME")):
        raise ValueError("expected directives, the first of them CHECK or CHECK-NOT")
    if any(not directive.pattern for directive in found):
        raise ValueError("a directive has no pattern")
    return found


def _compile(pattern: str, names: dict[str, str]) -> re.Pattern[str]:
    parts, defined = [], set()
    for piece in _PIECE.finditer(pattern):
        if piece["regex"]:
            parts.append(f"(?:{piece['regex']})")
        elif piece["capture"]:
            parts.append(f"(?P<{piece['name']}>{piece['capture']})")
            defined.add(piece["name"])
        elif piece["name"]:
            # A name that the same pattern defines refers back; an older one is text.
            parts.append(f"(?P={piece['name']})" if piece["name"] in defined else re.escape(names[piece["name"]]))
        else:
            parts.append(r"[ \t]+" if piece["blank"] else re.escape(piece["text"]))
    return re.compile("".join(parts))


def file_check(output: str, expectations: str) -> None:
    """Checks `output` against the directives in `expectations`. Raises FileCheckError with the first directive that does not hold."""
    position, names = 0, dict[str, str]()
    forbidden: list[Directive] = []

    def fail(directive: Directive, reason: str) -> None:
        here = output[position:].splitlines()[:12]
        lines = "\n".join(f"    {line}" for line in here)
        raise FileCheckError(
            f"line {directive.line}: CHECK{directive.kind}: {directive.pattern}\n  {reason}; the text from there on:\n{lines}"
        )

    def check_forbidden(end: int) -> None:
        for directive in forbidden:
            found = _compile(directive.pattern, names).search(output, position, end)
            if found:
                fail(directive, f"found {found[0]!r}")
        forbidden.clear()

    for directive in directives_of(expectations):
        if directive.kind == "-NOT":
            forbidden.append(directive)
            continue
        pattern = _compile(directive.pattern, names)
        line_end = output.find("\n", position)
        line_end = len(output) if line_end < 0 else line_end
        begin, end = position, len(output)
        if directive.kind == "-SAME":
            end = line_end
        elif directive.kind == "-NEXT":
            begin = min(line_end + 1, len(output))
            end = output.find("\n", begin)
            end = len(output) if end < 0 else end
        match = pattern.search(output, begin, end)
        if match is None:
            fail(directive, "not found")
            return
        check_forbidden(match.start())
        names.update(match.groupdict())
        position = match.end()
    check_forbidden(len(output))
