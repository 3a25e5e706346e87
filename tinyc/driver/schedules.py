"""Schedules of one network between the least RAM and the fastest: what streams, and how much scratch convolutions get.

Cost is counted in instructions, on Cortex-M7 in estimated cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.estimate import estimated_cost
from tinyc.driver.account import integer_attribute, weights_bytes
from tinyc.driver.pipeline import CompileOptions, pipeline
from tinyc.errors import UsageError
from tinyc.ir.schedule import build_schedule, steps_of
from tinyc.passes.manager import Instruments, run_passes
from tinyc.passes.pins import attach_pins
from tinyc.passes.registry import Insertion, insert_passes
from tinyc.quantize.options import Progress

WHOLE = 1 << 40
"""A stream budget under which nothing is streamed."""
LEVELS = 8
"""Budgets between the least peak and that of whole tensors, for which streams are formed."""
RECOMPUTED_LEVELS = 4
"""The same between the least peak where something is computed twice and that where nothing is."""
_RECOMPUTING = ((True, False), (False, True), (True, True))
"""Whether there is a second pass for squeeze-and-excite, and whether there are vertical strips."""
SLACKS = (0, 2, 4, 15, 50, 400)
"""Percent of the arena that convolutions may add; tried in order until more changes nothing."""


_SURE_SLACK = 4
"""Up to here more slack may change nothing yet and something later."""
RAM_SLACK = 2
"""Percent of scratch that even the least RAM leaves to convolutions: the last columns cost fewest bytes and save most instructions."""
RAM_GROWTH, RAM_GAIN = 400, 1
"""How weights may grow where RAM counts most: flash then buys the speed that scratch would."""

SPEED_GROWTH, SPEED_GAIN = 400, 2
"""The same where speed counts most."""

FREE_LOOP_GROWTH = 200
"""Percent by which loops may grow in both: where tables grow as far, flash is for speed. `compile_for_flash` takes it back first."""


@dataclass(frozen=True)
class Trial:
    """One schedule: the options that give it, the arena, the constant tables, and about what one inference costs."""

    options: CompileOptions
    arena_bytes: int
    weights_bytes: int
    cost: int


def least_ram(options: CompileOptions) -> tuple[CompileOptions, CompileOptions]:
    """The options of the least RAM: streams down to the least peak, next to no scratch that raises it; then those with none at all."""
    small = replace(options, stream_budget=0, slack=RAM_SLACK, growth=RAM_GROWTH, gain=RAM_GAIN, loop_growth=FREE_LOOP_GROWTH)
    return small, replace(small, slack=0)


@dataclass(frozen=True)
class Kernels:
    """A network with its kernels selected, and not yet scheduled: where all schedules start. `options` are the user's."""

    module: ModuleOp
    options: CompileOptions
    insertions: Sequence[Insertion]

    @staticmethod
    def of(module: ModuleOp, options: CompileOptions, insertions: Sequence[Insertion] = ()) -> Kernels:
        """Runs the pipeline up to select-kernels over a copy of `module`. Raises UsageError for a pipeline of the user's own."""
        if options.passes is not None:
            raise UsageError("schedules are chosen for the default pipeline; leave --passes out, or give its passes their own options")
        selected = module.clone()
        attach_pins(selected, options.pins)
        run_passes(selected, _part(options, insertions, "", "select-kernels"))
        return Kernels(selected, options, insertions)

    def streamed(self, stream_budget: int) -> ModuleOp:
        """A copy of the network with its streams formed."""
        module = self.module.clone()
        options = replace(self.options, stream_budget=stream_budget)
        run_passes(module, _part(options, self.insertions, "select-kernels", "stream-rows"), _UNVERIFIED)
        return module

    def trial(self, streamed: ModuleOp, options: CompileOptions) -> Trial:
        """What the schedule under `options` comes to, from the module that `streamed` gave for its stream budget."""
        module = streamed.clone()
        run_passes(module, _part(options, self.insertions, "stream-rows", ""), _UNVERIFIED)
        return Trial(options, integer_attribute(module, "arena_bytes"), weights_bytes(module), estimated_cost(module))


_UNVERIFIED = Instruments(verify_each=False)
"""What is tried here is thrown away; what is compiled in the end is verified."""


def _part(options: CompileOptions, insertions: Sequence[Insertion], after: str, last: str) -> list[ModulePass]:
    """The passes behind the one called `after` up to the one called `last`; empty names stand for the pipeline's ends."""
    passes = insert_passes(pipeline(options), insertions)
    names = [entry.name for entry in passes]
    return passes[names.index(after) + 1 if after else 0 : names.index(last) + 1 if last else None]


def explore(kernels: Kernels, progress: Progress) -> list[Trial]:
    """The schedules that no other beats in both arena and estimated cost, the smallest arena first.

    Deterministic, and independent of what the target has: whoever picks the fastest one below a limit picks the same one for the same
    limit.
    """
    divisions = _divisions(kernels, progress)
    trials = [kernels.trial(divisions[0], options) for options in least_ram(kernels.options)]
    for number, (budget, streamed) in enumerate(divisions.items()):
        former: Trial | None = None
        for position, slack in enumerate(SLACKS):
            progress("schedules", number * len(SLACKS) + position, len(divisions) * len(SLACKS))
            freely = replace(kernels.options, growth=SPEED_GROWTH, gain=SPEED_GAIN, loop_growth=FREE_LOOP_GROWTH)
            found = kernels.trial(streamed, replace(freely, stream_budget=budget, slack=slack))
            same = former is not None and (found.arena_bytes, found.cost) == (former.arena_bytes, former.cost)
            if same and slack > _SURE_SLACK:
                break
            trials.append(found)
            former = found
    return undominated(trials)


def explore_recomputed(kernels: Kernels, progress: Progress) -> list[Trial]:
    """Schedules that compute something twice and need less than every one that does not, the smallest arena first.

    They are for budgets that nothing else keeps: the second pass of a squeeze-and-excite, vertical strips, and both, for the least peak
    and some above it. Of those with the same arena only the one with the least estimated cost is there.
    """
    least = _least_peak(kernels.streamed(0))
    trials: list[Trial] = []
    known: set[tuple[int, tuple[tuple[int, int], ...]]] = set()
    for number, (gates, patches) in enumerate(_RECOMPUTING):
        changed = replace(kernels, options=replace(kernels.options, recompute=gates, patches=patches))
        reached = least
        for level in range(RECOMPUTED_LEVELS):
            progress("computing twice", number * RECOMPUTED_LEVELS + level, len(_RECOMPUTING) * RECOMPUTED_LEVELS)
            budget = round(reached * (least / reached) ** (level / RECOMPUTED_LEVELS)) if level else 0
            module = changed.streamed(budget)
            reached = min(reached, _least_peak(module))
            if reached >= least:
                break
            division = _macs(module), _division(module)
            if division not in known:
                known.add(division)
                options = least_ram(changed.options)[: 1 if level else 2]
                trials += [changed.trial(module, replace(choice, stream_budget=budget)) for choice in options]
    return undominated(trials)


def _least_peak(module: ModuleOp) -> int:
    return max(build_schedule(module).step_bounds, default=0)


def undominated(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that cost less than every trial with as small an arena, the smallest arena first."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda entry: (entry.arena_bytes, entry.cost)):
        if not front or trial.cost < front[-1].cost:
            front.append(trial)
    return front


def _divisions(kernels: Kernels, progress: Progress) -> dict[int, ModuleOp]:
    """Networks that are divided into streams in different ways, by stream budget: the least peak (0), whole tensors, and some between."""
    streamed, whole = kernels.streamed(0), kernels.streamed(WHOLE)
    least, most = _least_peak(streamed), _least_peak(whole)
    found = {_division(streamed): (0, streamed)}
    for level in range(1, LEVELS):
        progress("streams", level, LEVELS)
        budget = round(least * (most / least) ** (level / LEVELS)) if most > least else least
        module = kernels.streamed(budget)
        found.setdefault(_division(module), (budget, module))
    found.setdefault(_division(whole), (WHOLE, whole))
    return dict(found.values())


def _macs(module: ModuleOp) -> int:
    return sum(int(call.macs.value.data) for step in steps_of(module) for call in step.calls)


def _division(module: ModuleOp) -> tuple[tuple[int, int], ...]:
    """How many calls each step has, and how many strips they belong to."""
    return tuple((len(step.calls), 1 if (part := step.calls[0].part) is None else part.parts.data) for step in steps_of(module))
