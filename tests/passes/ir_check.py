"""Runs passes over IR text and checks the result against the directives in the same text."""

from __future__ import annotations

import re

from xdsl.dialects.builtin import ModuleOp

from support.filecheck import file_check
from tinyc.ir.text import parse_module, print_module
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes

# Short names for types in the tests' IR: `T[1x4x4x2]` is a quantised int8 tensor.
_TENSOR = re.compile(r"\bT\[([0-9x]+)(?:; ([^\]]+))?\]")


def expand(text: str) -> str:
    """Writes out `T[1x4x4x2]` (scale 0.5, zero point 3) and `T[1x4; 0.25 : 7]`."""

    def tensor(match: re.Match[str]) -> str:
        return f"!nn.tensor<[{match[1].replace('x', ', ')}], i8, {match[2] or '0.5 : 3'}>"

    return _TENSOR.sub(tensor, text)


def module_of(text: str) -> ModuleOp:
    """The verified module of a test's text."""
    return parse_module("\n".join(line for line in expand(text).splitlines() if "CHECK" not in line))


def check(passes: str, text: str) -> ModuleOp:
    """Runs `passes` over the IR in `text`, then checks what is printed against the CHECK lines in it."""
    module = module_of(text)
    run_passes(module, parse_passes(passes))
    file_check(print_module(module), expand(text))
    return module


def check_unchanged(passes: str, text: str) -> None:
    """`passes` must leave the IR in `text` as it is."""
    module = module_of(text)
    before = print_module(module, print_weights=True)
    run_passes(module, parse_passes(passes))
    assert print_module(module, print_weights=True) == before
