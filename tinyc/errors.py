"""The one error hierarchy. Every refusal that a user can meet is one of these, and carries its exit code.

Exit codes: 0 success, 1 refused or mismatch, 2 usage, 3 does not fit the part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def printable(text: object, limit: int = 200) -> str:
    """`text` with control characters escaped and its length bounded, so that a name from a model is safe in a terminal."""
    escaped = "".join(character if character.isprintable() else repr(character)[1:-1] for character in str(text)[: limit + 1])
    return escaped if len(escaped) <= limit else escaped[:limit] + "..."


class TinycError(Exception):
    """Base of all errors that tinyc raises on purpose; the command line prints its text as `error: ...` and exits with `exit_code`."""

    exit_code = 1


class UsageError(TinycError):
    """The command or the API was called with something that cannot be meant."""

    exit_code = 2


class ModelError(TinycError):
    """A model file, an IR file or an input archive is missing, truncated or inconsistent."""


@dataclass(frozen=True)
class Diagnostic:
    """One node that is refused: where it is, what it is, why, and what the user can do."""

    file: str
    node: str
    op: str
    attribute: str
    reason: str
    hint: str

    def __str__(self) -> str:
        attribute = f" attribute {printable(self.attribute)}:" if self.attribute else ""
        text = f"{printable(self.file)}: {printable(self.node)}: {printable(self.op)}:{attribute} {printable(self.reason, 500)}"
        return f"{text} (hint: {printable(self.hint, 500)})" if self.hint else text


class UnsupportedError(TinycError):
    """The model holds nodes that tinyc cannot compile; lists all of them."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        count = len(self.diagnostics)
        heading = f"{count} node{'s are' if count != 1 else ' is'} not supported"
        super().__init__("\n".join([heading, *(f"  {diagnostic}" for diagnostic in self.diagnostics)]))


class DoesNotFitError(TinycError):
    """The network needs more RAM or flash than the target has."""

    exit_code = 3


class PassError(TinycError):
    """A pass failed, or what it produced does not verify; names the pass."""


class PluginError(TinycError):
    """A plug-in cannot be loaded, clashes with another or fails; names the plug-in."""


class ToolError(TinycError):
    """A compiler, linker or emulator is missing or failed; the text says which, and how to install it."""


class MismatchError(TinycError):
    """Two executions of the same network differ; the text names the first diverging tensor, where and by how much."""
