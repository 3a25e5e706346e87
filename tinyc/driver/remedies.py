"""What a user can change to need less RAM, tried: each option of tinyc that gives a smaller arena, and how small."""

from __future__ import annotations

from dataclasses import replace

from xdsl.dialects.builtin import ModuleOp

from tinyc.driver.pipeline import CompileOptions
from tinyc.driver.schedules import Kernels, least_ram
from tinyc.errors import UnsupportedError
from tinyc.report.memory import MemoryReport, Remedy


def tried_remedies(module: ModuleOp, options: CompileOptions, report: MemoryReport) -> tuple[Remedy, ...]:
    """Changes that make the arena of `report`, which is of `module` compiled under `options`, smaller; the smallest arena first."""
    kernels = Kernels.of(module, options)
    found: list[Remedy] = []
    for change, changed in _changes(options):
        arena = _arena_bytes(replace(kernels, options=changed))
        if arena is not None and arena < min([report.ram.arena_bytes, *(remedy.arena_bytes for remedy in found)]):
            found.append(Remedy(change, arena, report.ram.arena_bytes - arena))
    return tuple(sorted(found, key=lambda remedy: remedy.arena_bytes))


def _arena_bytes(kernels: Kernels) -> int | None:
    """The arena under the options of `kernels`; None where the network cannot be compiled with them."""
    try:
        return kernels.trial(kernels.streamed(kernels.options.stream_budget), kernels.options).arena_bytes
    except UnsupportedError:
        return None


def _changes(options: CompileOptions) -> list[tuple[str, CompileOptions]]:
    """Options of the command line, and what they do; one that gives no less than those before it is not worth naming."""
    small, least = least_ram(options)
    changes = [("--optimize ram", small), ("--ram and the least RAM that takes nothing twice", least)]
    twice = "--ram and the least RAM that tinyc pareto prints, with some layers computed twice"
    changes.append((twice, replace(least, recompute=True, patches=True)))
    pushed = ("--stream-input, which takes the input row by row", replace(options, stream_input=True))
    return changes if options.stream_input else [*changes, pushed]
