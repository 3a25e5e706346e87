"""What the pass manager and the registry say when something is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from ir_check import module_of
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import VerifyException

from tinyc.errors import PassError, UsageError
from tinyc.ir.nn_base import integers
from tinyc.passes.manager import run_passes, timing_table
from tinyc.passes.registry import PASSES, parse_passes
from tinyc.passes.rewriting import main_block

TEXT = """func.func @main(%x: T[1x4]) -> T[1x4] {
             %c = nn.clamp %x {clamp = array<i64: 0, 9>} : (T[1x4]) -> T[1x4]
             func.return %c : T[1x4]
           }"""


WITHOUT_MAIN = ("canonicalize", "fold-pad", "fuse-activation", "eliminate-dead-code")
"""Passes that rewrite wherever they match."""


@dataclass(frozen=True)
class Vandal(ModulePass):
    """Leaves a clamp with its bounds in the wrong order."""

    name = "vandal"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        clamp = main_block(op).first_op
        assert clamp is not None
        clamp.properties["clamp"] = integers([9, 0])


@dataclass(frozen=True)
class Doubter(ModulePass):
    """Finds IR that it does not understand."""

    name = "doubter"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        raise VerifyException("this is not what I expected")


def test_a_pass_that_breaks_the_ir_is_named() -> None:
    with pytest.raises(PassError, match=r"pass vandal left IR that does not verify.*clamp must be two int8 bounds"):
        run_passes(module_of(TEXT), [*parse_passes("canonicalize"), Vandal(), *parse_passes("eliminate-dead-code")])


def test_a_pass_that_meets_ir_it_cannot_take_is_named() -> None:
    with pytest.raises(PassError, match=r"pass doubter.*not what I expected"):
        run_passes(module_of(TEXT), [Doubter()])


def test_an_unknown_pass_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        parse_passes("canonicalise")
    assert "no pass canonicalise" in str(caught.value)
    assert all(name in str(caught.value) for name in PASSES)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("stream-rows{longest=many}", r"stream-rows.*longest=12"),
        ("stream-rows{depth=3}", r"stream-rows.*longest=12"),
        ("plan-memory{overlap=2}", r"plan-memory.*overlap="),
        ("canonicalize{x=1}", r"canonicalize.*options: none"),
        ("canonicalize,,fold-pad", "cannot read the pass pipeline"),
        ("canonicalize{", "cannot read the pass pipeline"),
        ("\x1b[31m", "cannot read the pass pipeline|no pass"),
    ],
)
def test_bad_options_and_syntax_are_usage_errors(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        parse_passes(text)
    assert "\x1b" not in str(caught.value)


def test_options_reach_the_pass_and_an_empty_text_is_no_pass() -> None:
    (found,) = parse_passes("stream-rows{longest=3}")
    assert str(found.pipeline_pass_spec()) == "stream-rows{longest=3}"
    assert parse_passes("  ") == []


@pytest.mark.parametrize("name", [name for name, entry in PASSES.items() if entry.level in ("nn", "nn to mcu")])
def test_nn_passes_on_ir_without_main_say_so_where_they_need_it(name: str) -> None:
    module = module_of("builtin.module {}")
    if name in WITHOUT_MAIN:
        run_passes(module, parse_passes(name))
        assert not list(module.ops)
    else:
        with pytest.raises(PassError, match="no function `main`"):
            run_passes(module, parse_passes(name))


def test_times_of_all_passes_are_listed() -> None:
    table = timing_table(run_passes(module_of(TEXT), parse_passes("canonicalize,eliminate-dead-code")))
    assert [line.split()[0] for line in table.splitlines()] == ["pass", "canonicalize", "eliminate-dead-code", "total"]
