"""What a network is made of and what it would need on a target, without writing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp

from tinyc.driver.budgets import OPTIMIZE, Request, compile_optimized
from tinyc.driver.compile import check_fit
from tinyc.driver.pipeline import CompileOptions
from tinyc.errors import Diagnostic, DoesNotFitError
from tinyc.ir.nn_base import NNOp
from tinyc.ir.nn_shape import ConstantOp
from tinyc.passes.rewriting import main_block
from tinyc.quantize.options import no_progress
from tinyc.report.choices import Explanation
from tinyc.report.memory import MemoryReport
from tinyc.targets import Target


@dataclass(frozen=True)
class CheckResult:
    """Ops by title with how many there are, the account of the compiled network, and why it does not fit (None: it does)."""

    ops: tuple[tuple[str, int], ...]
    report: MemoryReport
    problem: str | None
    explanation: Explanation


@dataclass(frozen=True)
class Refusal:
    """Nodes that are refused for the same reason: the first diagnostic, and the names of all nodes."""

    first: Diagnostic
    nodes: tuple[str, ...]


def check_module(module: ModuleOp, name: str, target: Target, options: CompileOptions) -> CheckResult:
    """Compiles in memory, as `tinyc compile` would. Raises UnsupportedError where an op has no kernel, and what the passes raise."""
    compiled = compile_optimized(Request(module, name, target), options, OPTIMIZE[0], no_progress)
    titles = Counter(op.title for op in main_block(module).ops if isinstance(op, NNOp) and not isinstance(op, ConstantOp))
    problem = None
    try:
        check_fit(compiled.report)
    except DoesNotFitError as error:
        problem = str(error)
    return CheckResult(tuple(sorted(titles.items(), key=lambda item: (-item[1], item[0]))), compiled.report, problem, compiled.explanation)


def grouped(diagnostics: Sequence[Diagnostic]) -> list[Refusal]:
    """Refusals with the same op, attribute, reason and hint as one, the most frequent first."""
    groups: dict[tuple[str, str, str, str], list[Diagnostic]] = {}
    for entry in diagnostics:
        groups.setdefault((entry.op, entry.attribute, entry.reason, entry.hint), []).append(entry)
    found = [Refusal(entries[0], tuple(entry.node for entry in entries)) for entries in groups.values()]
    return sorted(found, key=lambda refusal: -len(refusal.nodes))
