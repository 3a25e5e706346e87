"""The pass manager: runs passes in order, verifies the module after each, and lets instruments look on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import VerifyException

from tinyc.errors import PassError, TinycError, UsageError, printable
from tinyc.ir.text import make_context, print_module
from tinyc.passes.fingerprint import Fingerprint, fingerprint, unchanged
from tinyc.passes.registry import all_passes
from tinyc.plugins import describe

Observer = Callable[[ModulePass, ModuleOp], None]


@dataclass(frozen=True)
class PassTime:
    """How long a pass and the verification after it took, in seconds."""

    name: str
    seconds: float
    verify_seconds: float


@dataclass(frozen=True)
class Instruments:
    """What happens around the passes.

    `before` and `after` see the module around each pass; `verify_each` checks it after each that changed it; `stop_after` names the pass
    to end behind; `reproducer` is a file that gets the module as it was before a failing pass, with the command that runs the rest again.
    """

    before: Observer | None = None
    after: Observer | None = None
    verify_each: bool = True
    stop_after: str | None = None
    reproducer: Path | None = None


def run_passes(
    module: ModuleOp, passes: Sequence[ModulePass], instruments: Instruments | None = None, context: Context | None = None
) -> list[PassTime]:
    """Runs `passes` over `module` in place.

    Raises PassError naming the pass that failed or left IR that does not verify, and its plug-in if it is from one; TinycErrors of a pass
    pass through. Raises UsageError where `stop_after` is not among `passes`.
    """
    instruments = instruments or Instruments()
    context = context or make_context()
    if instruments.stop_after is not None:
        passes = _until(passes, instruments.stop_after)
    times: list[PassTime] = []
    verified: Fingerprint = []
    for index, current in enumerate(passes):
        saved = print_module(module, print_weights=True) if instruments.reproducer is not None else None
        try:
            taken, verified = _run_one(current, module, instruments, context, verified)
            times.append(taken)
        except Exception:
            if instruments.reproducer is not None and saved is not None:
                _write_reproducer(instruments.reproducer, saved, passes[index:])
            raise
    if not instruments.verify_each:
        _verify(module, "the last pass")
    return times


def _run_one(
    current: ModulePass, module: ModuleOp, instruments: Instruments, context: Context, verified: Fingerprint
) -> tuple[PassTime, Fingerprint]:
    """The time taken, and the fingerprint of the last module that was verified; `verified` is the one before, or empty."""
    if instruments.before is not None:
        instruments.before(current, module)
    begin = time.perf_counter()
    try:
        current.apply(context, module)
    except TinycError:
        raise
    except Exception as error:
        # A plug-in's pass may raise anything; our own raise VerifyException when they meet IR that is not theirs.
        if isinstance(error, VerifyException) or _origin(current) != "tinyc":
            raise PassError(f"{_title(current)} failed: {describe(error)}") from error
        raise
    middle = time.perf_counter()
    if instruments.verify_each and not unchanged(verified, found := fingerprint(module)):
        _verify(module, _title(current))
        verified = found
    end = time.perf_counter()
    if instruments.after is not None:
        instruments.after(current, module)
    return PassTime(current.name, middle - begin, end - middle), verified


def _verify(module: ModuleOp, culprit: str) -> None:
    try:
        module.verify()
    except VerifyException as error:
        raise PassError(f"{culprit} left IR that does not verify: {error}") from error


def _origin(current: ModulePass) -> str:
    entry = all_passes().get(current.name)
    return entry.origin if entry is not None else "tinyc"


def _title(current: ModulePass) -> str:
    origin = _origin(current)
    return f"pass {current.name}" + (f" of plug-in {origin}" if origin != "tinyc" else "")


def _until(passes: Sequence[ModulePass], name: str) -> Sequence[ModulePass]:
    positions = [index for index, entry in enumerate(passes) if entry.name == name]
    if not positions:
        raise UsageError(f"cannot stop after {printable(name)}: the pipeline is {', '.join(entry.name for entry in passes)}")
    return passes[: positions[-1] + 1]


def pipeline_text(passes: Sequence[ModulePass]) -> str:
    """`passes` as the command line spells them."""
    return ",".join(str(entry.pipeline_pass_spec()) for entry in passes)


def _write_reproducer(path: Path, text: str, rest: Sequence[ModulePass]) -> None:
    command = f"tinyc opt {path.name} -p '{pipeline_text(rest)}'"
    try:
        path.write_text(f"// {command}\n{text}", encoding="utf-8")
    except OSError as error:
        raise PassError(f"cannot write the reproducer {printable(path)}: {error.strerror}") from error


def timing_table(times: Sequence[PassTime]) -> str:
    """A table of pass times in milliseconds, for `--timing`."""
    lines = [f"{'pass':<24}{'run ms':>10}{'verify ms':>12}"]
    lines += [f"{entry.name:<24}{entry.seconds * 1e3:>10.1f}{entry.verify_seconds * 1e3:>12.1f}" for entry in times]
    total = sum(entry.seconds + entry.verify_seconds for entry in times)
    return "\n".join([*lines, f"{'total':<24}{total * 1e3:>10.1f}"]) + "\n"
