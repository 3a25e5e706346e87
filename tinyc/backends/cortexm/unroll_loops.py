"""unroll-loops: how many steps the body of a convolution's inner loop has.

A long body spends little on pointers and jumps, and on Cortex-M7 little on waiting for first loads and on a way out that was predicted
wrongly. It takes flash, of which other layers may make more. The rule of `ConvSpec.loops` suits most layers; here every kernel gets the
body whose next longer one is not worth its bytes. Layers with equal kernels share the body, so what they save counts together. Layers that
share a function (share-code) keep the rule: equal loops are what lets them.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import set_kernel
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.conv import LONGEST_BODY, ConvSpec
from tinyc.backends.cortexm.size_im2col import convolution_cost
from tinyc.ir.mcu import CallOp, row_shape
from tinyc.ir.schedule import steps_of
from tinyc.passes.choices import recorder
from tinyc.passes.pins import Pinned
from tinyc.report.choices import Alternative, Choice

_TOLD = (1, 2, 4, 8, 12, 16, LONGEST_BODY)
"""Lengths that --explain prints besides those that were weighed."""


@dataclass(frozen=True)
class Body:
    """A kernel with one length of body: bytes of code of its loops, and what all layers that run it cost in one inference."""

    spec: ConvSpec
    code_bytes: int
    cost: int

    @property
    def steps(self) -> int:
        """Of the first loop, whose body is the longest."""
        return self.spec.loops[0][0]


@dataclass(frozen=True)
class UnrollLoops(ModulePass):
    """Longer loops where a byte saves `gain` instructions (Cortex-M7: cycles) or more; all grow by at most `growth` % over the rule."""

    name = "unroll-loops"
    gain: int = 22
    growth: int = 0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        convolutions = _convolutions(op)
        kernels: dict[ConvSpec, list[CallOp]] = {}
        for call, spec in convolutions.items():
            if spec.unroll == 0 and not spec.shares_code:
                kernels.setdefault(spec, []).append(call)
        rows = {spec: sum(row_shape(call.output)[0] for call in calls) for spec, calls in kernels.items()}
        limit = sum(body_of(spec, 0, 0).code_bytes for spec in kernels) * (100 + self.growth) // 100
        weighed = [worthwhile([body_of(spec, rows[spec], steps) for steps in lengths(spec)]) for spec in kernels]
        taken = dict(zip(kernels, choose_bodies(weighed, limit, max(self.gain, 1)), strict=True))
        for spec, calls in kernels.items():
            for call in calls:
                set_kernel(call, taken[spec].spec)
        choices = recorder(ctx)
        if choices is not None:
            pinned = Pinned.of(op, "unroll")
            left = limit - sum(body.code_bytes for body in taken.values())
            for call, spec in convolutions.items():
                choices.append(self._recorded(pinned.names[call], call, spec, taken.get(spec), rows.get(spec, 0), left))

    def _recorded(self, name: str, call: CallOp, spec: ConvSpec, taken: Body | None, rows: int, left: int) -> Choice:
        """The choice for one layer, with its own cost; a body is worth what it saves for all layers that run it, in `rows` rows."""
        own = row_shape(call.output)[0]
        chosen = body_of(spec, rows, spec.unroll) if taken is None else taken
        told = {*(steps for steps in _TOLD if steps <= len(spec.pairs)), *(lengths(spec) if taken is not None else ()), chosen.steps}
        alternatives = []
        for steps in sorted(told):
            body = chosen if steps == chosen.steps else body_of(spec, rows, steps)
            reason = self._reason(body, chosen, spec, left) if taken is not None else "pinned" if spec.unroll else "shares its function"
            cost = convolution_cost(body.spec, own)
            alternatives.append(Alternative(str(steps), body is chosen, reason, cost, body.code_bytes))
        return Choice(name, "unroll", self.name, tuple(alternatives), spec.unroll > 0)

    def _reason(self, body: Body, chosen: Body, spec: ConvSpec, left: int) -> str:
        """Why `body` was taken, or `chosen` instead."""
        if body is chosen:
            return "as by the rule" if body.spec == spec else "worth its bytes, and a longer one is not"
        saved, more = chosen.cost - body.cost, body.code_bytes - chosen.code_bytes
        if more <= 0:
            return f"a longer one saves {saved / more:.0f} {spec.core.cost_unit} a byte" if saved < 0 and more < 0 else "costs no less"
        if saved <= 0:
            return "costs no less"
        if more > left and saved >= self.gain * more:
            return f"loops may grow by {left:,} bytes more"
        return f"saves {saved / more:.1f} {spec.core.cost_unit} a byte, less than {self.gain}"


def _convolutions(module: ModuleOp) -> dict[CallOp, ConvSpec]:
    """The kernels of all convolutions by im2col."""
    specs = {call: decode_kernel(call.kernel) for step in steps_of(module) for call in step.calls}
    return {call: spec for call, spec in specs.items() if isinstance(spec, ConvSpec)}


def lengths(spec: ConvSpec) -> list[int]:
    """The lengths of body that come into question, the shortest first: for each number of rounds the one that leaves least over."""
    pairs = len(spec.pairs)
    return sorted({pairs // rounds for rounds in range(1, pairs + 1) if pairs // rounds <= LONGEST_BODY})


def body_of(spec: ConvSpec, rows: int, steps: int) -> Body:
    """`spec` with a body of `steps` pairs, or by the rule where that gives the same or `steps` is 0, for `rows` rows of output."""
    variant = replace(spec, unroll=steps)
    if variant.loops == spec.loops:
        variant = spec
    return Body(variant, variant.loop_bytes, convolution_cost(variant, rows))


def worthwhile(bodies: Sequence[Body]) -> list[Body]:
    """Those of `bodies` that are faster than all shorter ones, the shortest first, each worth less a byte than the one before."""
    found: list[Body] = []
    for body in sorted(bodies, key=lambda entry: (entry.code_bytes, entry.cost)):
        if found and body.cost >= found[-1].cost:
            continue
        while len(found) > 1 and worth(found[-2], found[-1]) <= worth(found[-1], body):
            found.pop()
        found.append(body)
    return found


def worth(shorter: Body, longer: Body) -> float:
    """What a byte more saves; bodies have different sizes."""
    return (shorter.cost - longer.cost) / (longer.code_bytes - shorter.code_bytes)


def choose_bodies(kernels: Sequence[Sequence[Body]], limit: int, gain: int) -> list[Body]:
    """One body for each kernel, the shortest first in `kernels`: a knapsack of `limit` bytes, filled while a byte saves `gain`."""
    taken = [0] * len(kernels)
    left = limit - sum(bodies[0].code_bytes for bodies in kernels)
    steps = [(-worth(*bodies[:2]), number) for number, bodies in enumerate(kernels) if len(bodies) > 1]
    heapq.heapify(steps)
    while steps:
        saved, number = heapq.heappop(steps)
        if -saved < gain:
            break
        bodies = kernels[number]
        more = bodies[taken[number] + 1].code_bytes - bodies[taken[number]].code_bytes
        if more > left:
            continue
        left -= more
        taken[number] += 1
        if taken[number] + 1 < len(bodies):
            heapq.heappush(steps, (-worth(bodies[taken[number]], bodies[taken[number] + 1]), number))
    return [bodies[position] for bodies, position in zip(kernels, taken, strict=True)]
