"""What a user can change to need less RAM, tried: each option of tinyc that gives a smaller arena, and how small."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp

from tinyc.driver.pipeline import CompileOptions
from tinyc.driver.schedules import Kernels, least_ram
from tinyc.report.memory import MemoryReport, Remedy


def tried_remedies(module: ModuleOp, options: CompileOptions, report: MemoryReport) -> tuple[Remedy, ...]:
    """Changes that make the arena of `report`, which is of `module` compiled under `options`, smaller; the smallest arena first."""
    kernels = Kernels.of(module, options)
    found: list[Remedy] = []
    for change, changed in _changes(options):
        arena = kernels.trial(kernels.streamed(changed.stream_budget), changed).arena_bytes
        if arena < min([report.ram.arena_bytes, *(remedy.arena_bytes for remedy in found)]):
            found.append(Remedy(change, arena, report.ram.arena_bytes - arena))
    return tuple(sorted(found, key=lambda remedy: remedy.arena_bytes))


def _changes(options: CompileOptions) -> list[tuple[str, CompileOptions]]:
    """Options of the command line, and what they do; one that gives no less than those before it is not worth naming."""
    small, least = least_ram(options)
    return [("--optimize ram", small), ("--ram and the least RAM that tinyc pareto prints", least)]
