"""Which schedule is compiled: the least RAM, the fastest that fits, or between the two; and weights no larger than the flash allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import ModuleOp

from tinyc.driver.account import weights_bytes
from tinyc.driver.compile import CompiledNetwork, check_fit, compile_module, exceeds_ram
from tinyc.driver.pipeline import CompileOptions
from tinyc.driver.schedules import Kernels, explore, explore_recomputed, least_ram
from tinyc.errors import DoesNotFitError
from tinyc.passes.manager import Instruments
from tinyc.passes.registry import Insertion
from tinyc.quantize.options import Progress
from tinyc.targets import Target

OPTIMIZE = ("balanced", "ram", "speed", "size")
"""What a user can ask for; the first is the default."""


@dataclass(frozen=True)
class Request:
    """What is compiled for what: the same for every schedule that is tried."""

    module: ModuleOp
    model_name: str
    target: Target
    insertions: Sequence[Insertion] = ()
    instruments: Instruments | None = None

    def compile(self, options: CompileOptions, measure_hopeless: bool = True) -> CompiledNetwork:
        """The network under `options`, whether it fits or not. Raises what compile_module raises."""
        return compile_module(
            self.module,
            self.model_name,
            self.target,
            options,
            self.insertions,
            self.instruments,
            must_fit=False,
            measure_hopeless=measure_hopeless,
        )


def compile_optimized(request: Request, options: CompileOptions, optimize: str, progress: Progress) -> CompiledNetwork:
    """The first schedule that fits the target, in the order that `optimize` (one of OPTIMIZE) asks for; otherwise the last one tried.

    `ram`, `balanced` and `size` know their schedule; the last two turn to the least RAM where it does not fit. Where even that does not,
    something is computed twice if that helps, as little as fits, unless it is the flash alone that is too small. `speed` tries what
    `explore` finds, the fastest first. A pipeline of the user's own is taken as it is.
    """
    if options.passes is not None:
        return request.compile(options)
    network: CompiledNetwork | None = None
    for choice in _choices(request, options, optimize, progress):
        network = compile_for_flash(request, choice, measure_hopeless=False)
        if fits(network):
            return network
    assert network is not None
    if exceeds_ram(network.report):
        # Only a budget that nothing else keeps is worth instructions that are executed twice.
        for choice in _recomputing(request, _base(options, optimize), progress):
            network = compile_for_flash(request, choice, measure_hopeless=False)
            if fits(network):
                return network
    if options.measure and network.report.flash.code_bytes is None:
        # Who is refused is told all that it takes.
        return request.compile(_least_flash(choice))
    return network


def fits(network: CompiledNetwork) -> bool:
    """Whether the target has enough RAM and flash."""
    try:
        check_fit(network.report)
    except DoesNotFitError:
        return False
    return True


def arena_limit(target: Target, options: CompileOptions) -> int | None:
    """Bytes that arenas may take, without a stack: what the user allows of the banks, or of the target's RAM; None on the host."""
    if not options.banks:
        return None if target.is_host else target.ram_bytes
    there = sum(bank.bytes for bank in options.banks)
    return there if options.ram_limit is None else min(there, options.ram_limit)


def compile_for_flash(request: Request, options: CompileOptions, measure_hopeless: bool = True) -> CompiledNetwork:
    """The network under `options`; where there is not enough flash, with loops that grow as usual, and then with weights that grow less.

    Without `measure_hopeless` its code is not measured where the weights alone are too large however little they grow.
    """
    network = request.compile(options, measure_hopeless)
    limit = network.report.flash_limit_bytes
    if limit is None or options.growth == 0 or network.report.flash.total_bytes <= limit:
        return network
    if options.loop_growth:
        return compile_for_flash(request, replace(options, loop_growth=0), measure_hopeless)
    smallest = request.compile(_least_flash(options), measure_hopeless)
    tables = max(1, weights_bytes(smallest.module))
    growth = min(options.growth - 1, 100 * (limit - smallest.report.flash.total_bytes) // tables)
    while growth > 0:
        network = request.compile(replace(options, growth=growth))
        excess = network.report.flash.total_bytes - limit
        if excess <= 0:
            return network
        # Code with other weights has another size; what it takes more goes from the weights.
        growth -= max(1, -(-100 * excess // tables))
    return smallest


def _least_flash(options: CompileOptions) -> CompileOptions:
    """`options` with weights as the file has them, loops as by the rule for the core, and no code that is worth less than usual."""
    return replace(options, growth=0, loop_growth=0, gain=max(options.gain, CompileOptions.gain))


def _choices(request: Request, options: CompileOptions, optimize: str, progress: Progress) -> Iterator[CompileOptions]:
    limit = arena_limit(request.target, options)
    if optimize == "balanced":
        yield options
    if optimize == "speed":
        # Schedules of larger arenas cannot fit, whatever the stack takes.
        found = explore(Kernels.of(request.module, options, request.insertions), progress)
        yield from (trial.options for trial in reversed(found) if limit is None or trial.arena_bytes <= limit)
    if optimize == "size":
        yield _base(options, optimize)
    yield from least_ram(_base(options, optimize))


def _base(options: CompileOptions, optimize: str) -> CompileOptions:
    """What all schedules for `optimize` have in common."""
    return replace(options, compact=True) if optimize == "size" else options


def _recomputing(request: Request, options: CompileOptions, progress: Progress) -> Iterator[CompileOptions]:
    """The schedules that compute something twice, those with the largest arena that there may be first, and at last the least RAM."""
    limit = arena_limit(request.target, options)
    found = explore_recomputed(Kernels.of(request.module, options, request.insertions), progress)
    yield from (trial.options for trial in found[:0:-1] if limit is None or trial.arena_bytes <= limit)
    yield from (trial.options for trial in found[:1])
