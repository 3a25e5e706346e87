"""The pass manager: runs passes in order and verifies the module after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import VerifyException

from tinyc.errors import PassError, TinycError
from tinyc.ir.text import make_context

AfterPass = Callable[[ModulePass, ModuleOp], None]


@dataclass(frozen=True)
class PassTime:
    """How long a pass and the verification after it took, in seconds."""

    name: str
    seconds: float
    verify_seconds: float


def run_passes(
    module: ModuleOp, passes: Sequence[ModulePass], after: AfterPass | None = None, context: Context | None = None
) -> list[PassTime]:
    """Runs `passes` over `module` in place; `after` sees the module behind each.

    Raises PassError naming the pass that broke the IR or failed in a way that it does not explain itself.
    """
    context = context or make_context()
    times = []
    for current in passes:
        begin = time.perf_counter()
        try:
            current.apply(context, module)
        except TinycError:
            raise
        except VerifyException as error:
            raise PassError(f"pass {current.name}: {error}") from error
        middle = time.perf_counter()
        try:
            module.verify()
        except VerifyException as error:
            raise PassError(f"pass {current.name} left IR that does not verify: {error}") from error
        times.append(PassTime(current.name, middle - begin, time.perf_counter() - middle))
        if after is not None:
            after(current, module)
    return times


def timing_table(times: Sequence[PassTime]) -> str:
    """A table of pass times in milliseconds, for `--timing`."""
    lines = [f"{'pass':<24}{'run ms':>10}{'verify ms':>12}"]
    lines += [f"{entry.name:<24}{entry.seconds * 1e3:>10.1f}{entry.verify_seconds * 1e3:>12.1f}" for entry in times]
    total = sum(entry.seconds + entry.verify_seconds for entry in times)
    return "\n".join([*lines, f"{'total':<24}{total * 1e3:>10.1f}"]) + "\n"
