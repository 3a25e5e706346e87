"""Names in generated C: nothing from a model reaches C, a path or a comment unless it passed through here."""

from __future__ import annotations

import re

from tinyc.errors import UsageError, printable

MAX_PREFIX = 40
"""Longest prefix; C99 promises 31 significant characters for external names, toolchains for Cortex-M take far more."""

_KEYWORDS = frozenset(
    (
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "main",
        "errno",
        "asm",
        "bool",
        "true",
        "false",
        "class",
        "delete",
        "new",
        "namespace",
        "private",
        "protected",
        "public",
        "template",
        "this",
        "throw",
        "try",
        "catch",
        "using",
        "virtual",
        "operator",
    )
)

_FILES = frozenset(
    (
        # Headers of the C library: NAME.h lies in a folder that the compiler searches first.
        "assert",
        "complex",
        "ctype",
        "fenv",
        "inttypes",
        "iso646",
        "limits",
        "locale",
        "math",
        "setjmp",
        "signal",
        "stdarg",
        "stdbool",
        "stddef",
        "stdint",
        "stdio",
        "stdlib",
        "string",
        "tgmath",
        "time",
        "wchar",
        "wctype",
        # Devices of Windows, whatever their suffix.
        "aux",
        "con",
        "nul",
        "prn",
        *(f"{device}{number}" for device in ("com", "lpt") for number in range(1, 10)),
    )
)
"""Names that a file NAME.h or NAME.c must not have, in lower case."""


def c_prefix(name: str) -> str:
    """A C identifier made from `name`: other characters become `_`, a leading digit, a keyword or a file name that is taken gets
    `net_` in front.

    Raises UsageError where no letter or digit is left, or the result is too long.
    """
    text = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    if not text:
        raise UsageError(f"no C name can be made from {printable(name)!r}; give one with --name")
    if text[0].isdigit() or text in _KEYWORDS or text.lower() in _FILES or text.lower().startswith("tinyc"):
        text = f"net_{text}"
    if len(text) > MAX_PREFIX:
        raise UsageError(f"the name {text} has {len(text)} characters, at most {MAX_PREFIX} are allowed; give a shorter one with --name")
    return text


def bank_field(bank: str) -> str:
    """The member of the struct of arenas for a RAM bank; `bank` is a C identifier already, and `_` goes behind a keyword."""
    name = bank.lower()
    return f"{name}_" if name in _KEYWORDS else name


def comment_text(name: str, limit: int = 80) -> str:
    """`name` as it may stand in a C comment: letters, digits and a few marks, nothing that ends a comment or continues a line."""
    text = re.sub(r"[^A-Za-z0-9_.,:+ -]", "_", name)
    return text if len(text) <= limit else text[:limit] + "..."
