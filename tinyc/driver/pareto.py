"""The curve of peak RAM against instructions, or cycles: every point compiled, measured where possible, and compilable by its flag."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyc.backends.cortexm.estimate import core_of
from tinyc.driver.budgets import Request, arena_limit, compile_for_flash, fits
from tinyc.driver.compile import CompiledNetwork, check_fit
from tinyc.driver.pipeline import CompileOptions
from tinyc.driver.schedules import Kernels, Trial, explore, explore_recomputed, least_ram
from tinyc.driver.write import write_build
from tinyc.errors import ToolError, UsageError
from tinyc.quantize.options import Progress
from tinyc.report.curve import Curve, CurvePoint
from tinyc.runners import random_inputs, read_description, run_build
from tinyc.toolchains.arm import find_arm_toolchain

POINTS = 8
"""Points of a curve, unless the user asks for more."""


@dataclass(frozen=True)
class _Candidate:
    trial: Trial
    network: CompiledNetwork

    @property
    def ram_bytes(self) -> int:
        return self.network.report.ram.total_bytes


def pareto_curve(request: Request, options: CompileOptions, points: int, count: bool, progress: Progress) -> Curve:
    """At most `points` points from the least RAM to the fastest among those that fit the target.

    `count` asks QEMU for the instructions; where it or a compiler for the part is missing they are estimated. Cycles of Cortex-M7, by which
    schedules are chosen there, are always estimated, and instructions stand beside them.
    `--ram` with a point's RAM gives that point: it picks the fastest of the same schedules that fits, by the same estimate. Raises
    UsageError for the host, DoesNotFitError where nothing fits, and what compiling raises.
    """
    if request.target.is_host:
        raise UsageError("the host has no limits to choose schedules by; give a part, or a core such as cortex-m7")
    kernels = Kernels.of(request.module, options, request.insertions)
    trials, again = explore(kernels, progress), explore_recomputed(kernels, progress)
    limit = arena_limit(request.target, options)
    assert limit is not None
    candidates = _compiled(request, trials, limit, progress)
    # Below what these need, and only there, something is computed twice.
    least = [compile_for_flash(request, choice).report.ram.total_bytes for choice in least_ram(options)] if again else []
    lowest = min([limit + 1, *least, *(candidate.ram_bytes for candidate in candidates)])
    candidates += [candidate for candidate in _compiled(request, again, limit, progress) if candidate.ram_bytes < lowest]
    if not candidates:
        check_fit(compile_for_flash(request, (again or trials)[0].options).report)
    chosen = spread(reproducible(candidates), points)
    unit = core_of(candidates[0].network.module).cost_unit
    emulated = count and _can_count()
    by_count = emulated and unit == "instructions"
    found = []
    for number, candidate in enumerate(chosen):
        progress("counting", number, len(chosen))
        report = candidate.network.report
        instructions = _counted(candidate.network) if emulated else None
        cost = instructions if by_count and instructions is not None else candidate.trial.cost
        flag = f"--ram {candidate.ram_bytes}"
        ram = report.ram
        sizes = ram.total_bytes, ram.arena_bytes, ram.stack_bytes, report.flash.total_bytes
        found.append(CurvePoint(flag, *sizes, cost, instructions, report.recomputed_macs))
    source = "counted in QEMU" if by_count else "estimated"
    name, numerics = candidates[0].network.name, options.numerics.value
    return Curve(name, request.target.name, numerics, unit, source, emulated, limit, tuple(_not_slower(found)))


def _compiled(request: Request, trials: Sequence[Trial], limit: int, progress: Progress) -> list[_Candidate]:
    """Those that fit the target, which has `limit` bytes of RAM, compiled."""
    possible = [trial for trial in trials if trial.arena_bytes <= limit]
    found = []
    for number, trial in enumerate(possible):
        progress("compiling", number, len(possible))
        network = compile_for_flash(request, trial.options)
        if fits(network):
            found.append(_Candidate(trial, network))
    return found


def reproducible(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Those that are the fastest, by the estimate, of all that need no more RAM than they do; the smallest RAM first."""
    front: list[_Candidate] = []
    for candidate in sorted(candidates, key=lambda entry: (entry.ram_bytes, entry.trial.cost)):
        if not front or candidate.trial.cost < front[-1].trial.cost:
            front.append(candidate)
    return front


def spread(candidates: Sequence[_Candidate], points: int) -> list[_Candidate]:
    """At most `points` of `candidates`: both ends, and those between that are farthest apart in RAM."""
    kept = [0, len(candidates) - 1] if len(candidates) > 1 else [0]
    while len(kept) < min(points, len(candidates)):
        rest = [number for number in range(len(candidates)) if number not in kept]
        kept.append(max(rest, key=lambda number: min(_ratio(candidates[number], candidates[other]) for other in kept)))
    return [candidates[number] for number in sorted(kept)]


def _ratio(one: _Candidate, other: _Candidate) -> float:
    return max(one.ram_bytes, other.ram_bytes) / min(one.ram_bytes, other.ram_bytes)


def _not_slower(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Without points that take more RAM and are no faster than another: the estimate had promised more than QEMU counted."""
    found: list[CurvePoint] = []
    for point in points:
        if not found or point.cost < found[-1].cost:
            found.append(point)
    return found


def _can_count() -> bool:
    if shutil.which("qemu-system-arm") is None:
        return False
    try:
        find_arm_toolchain()
    except ToolError:
        return False
    return True


def _counted(network: CompiledNetwork) -> int:
    """Instructions of one inference of a random input in QEMU."""
    with tempfile.TemporaryDirectory(prefix="tinyc-") as folder:
        build = Path(folder) / network.name
        write_build(network.files, build)
        result = run_build(build, "qemu", random_inputs(read_description(build), 1, 0))
    if result.instructions is None:
        raise ToolError(f"QEMU gave no count of instructions: {'; '.join(result.notes)}; use --no-count")
    return result.instructions
