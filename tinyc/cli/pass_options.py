"""Options about passes and the IR between them, shared by `compile` and `opt`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tinyc.errors import UsageError, printable
from tinyc.ir.text import print_module
from tinyc.passes.manager import Instruments
from tinyc.passes.registry import Insertion, all_passes, parse_insertion

_OPTIONS = (
    click.option("--insert-pass", "insertions", multiple=True, metavar="PLACE", help="after:PASS=NEW{option=value} or before:..."),
    click.option("--print-ir-before", multiple=True, metavar="PASS", help="Print the IR before this pass, to standard error; repeatable."),
    click.option("--print-ir-after", multiple=True, metavar="PASS", help="Print the IR after this pass; repeatable."),
    click.option("--print-ir-after-all", is_flag=True, help="Print the IR after every pass."),
    click.option("--print-ir-after-change", is_flag=True, help="Print the IR after every pass that changed it."),
    click.option("--print-weights", is_flag=True, help="Print constants in full wherever IR is printed."),
    click.option("--verify-each/--no-verify-each", default=True, show_default=True, help="Verify the IR after every pass."),
    click.option("--stop-after", metavar="PASS", help="End the pipeline behind this pass."),
    click.option("--crash-reproducer", type=click.Path(path_type=Path), metavar="FILE", help="Where a failing pass leaves its input IR."),
    click.option("--timing", is_flag=True, help="Print how long each pass took, to standard error."),
)


@dataclass(frozen=True)
class PassOptions:
    """The options as given."""

    insertions: tuple[str, ...]
    print_ir_before: tuple[str, ...]
    print_ir_after: tuple[str, ...]
    print_ir_after_all: bool
    print_ir_after_change: bool
    print_weights: bool
    verify_each: bool
    stop_after: str | None
    crash_reproducer: Path | None
    timing: bool

    def inserted(self) -> list[Insertion]:
        """Raises UsageError for a text that is no insertion."""
        return [parse_insertion(text) for text in self.insertions]

    def instruments(self) -> Instruments:
        """What the pass manager is to do around passes. Raises UsageError for pass names that do not exist."""
        for name in (*self.print_ir_before, *self.print_ir_after, *([self.stop_after] if self.stop_after else [])):
            if name not in all_passes():
                raise UsageError(f"there is no pass {printable(name)}; known are {', '.join(all_passes())}")
        shown = _Shown(self)
        watches = self.print_ir_before or self.print_ir_after_change
        prints = self.print_ir_after or self.print_ir_after_all or self.print_ir_after_change
        return Instruments(
            shown.before if watches else None, shown.after if prints else None, self.verify_each, self.stop_after, self.crash_reproducer
        )


class _Shown:
    """Prints IR around passes; remembers the text before a pass to see whether it changed anything."""

    def __init__(self, options: PassOptions) -> None:
        self.options = options
        self.previous = ""

    def before(self, current: ModulePass, module: ModuleOp) -> None:
        if self.options.print_ir_after_change:
            self.previous = print_module(module)
        if current.name in self.options.print_ir_before:
            self._print(f"before {current.name}", module)

    def after(self, current: ModulePass, module: ModuleOp) -> None:
        changed = self.options.print_ir_after_change and print_module(module) != self.previous
        if self.options.print_ir_after_all or changed or current.name in self.options.print_ir_after:
            self._print(f"after {current.name}", module)

    def _print(self, when: str, module: ModuleOp) -> None:
        click.echo(f"// ----- IR {when} -----\n{print_module(module, self.options.print_weights)}", err=True, nl=False)


def pass_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds all options of this module to a command; it takes them as keyword arguments named like the fields of PassOptions."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_pass_options(arguments: dict[str, Any]) -> PassOptions:
    """PassOptions from a command's keyword arguments."""
    return PassOptions(**{name: arguments[name] for name in PassOptions.__dataclass_fields__})
