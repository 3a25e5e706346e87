"""The default order of passes, and how the options of a compilation change it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from xdsl.passes import ModulePass

from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.backends.cortexm.order_instructions import CORE_FORMS, OrderInstructions
from tinyc.backends.cortexm.share_code import ShareCode
from tinyc.backends.cortexm.size_im2col import SizeIm2col
from tinyc.backends.cortexm.unroll_loops import UnrollLoops
from tinyc.backends.cortexm.widen_weights import WidenWeights
from tinyc.errors import UsageError
from tinyc.numerics.profile import Profile
from tinyc.passes.pins import Pin
from tinyc.passes.plan_memory import PlanMemory
from tinyc.passes.registry import parse_passes
from tinyc.targets import Target
from tinyc.targets.banks import BankBudget

SMALLEST_GAIN = 1 << 30
"""Instructions that a byte of code of a layer's own would have to save where only size counts."""


LOOP_GROWTH = 25
"""Percent by which the loops of convolutions may grow on Cortex-M7, where their ways out cost more, and wide weights save less."""


@dataclass(frozen=True)
class CompileOptions:
    """Choices of the user. `passes`, where given, replaces the whole pipeline (text as on the command line)."""

    numerics: Profile = Profile.LITERT
    name: str | None = None
    keep_float_io: bool = False
    passes: str | None = None
    measure: bool = field(default=True)
    """Whether the target's compiler, if it is there, measures code and stack bytes for the report."""
    stream_budget: int = 0
    """Bytes of arena below which layers are not streamed; 0 streams down to the least peak."""
    slack: int = SizeIm2col.slack
    """Percent by which the arena may grow for convolutions that gather more columns at a time or transform their inputs."""
    growth: int = WidenWeights.growth
    """Percent by which the constant tables may grow for weights that are stored ready to be multiplied, or transformed."""
    gain: int = WidenWeights.gain
    """What a byte of such weights must save, and one of code that only one layer uses: instructions, or estimated cycles of Cortex-M7."""
    loop_growth: int = UnrollLoops.growth
    """Percent by which the loops of convolutions may grow over the rule."""
    compact: bool = False
    """Whether layers take kernels whose sizes are arguments, and the compiler is asked for size: less code and more instructions."""
    planner: str = PlanMemory.solver
    """Which solver gives buffers their offsets: greedy or exact."""
    pins: tuple[Pin, ...] = ()
    """Choices about single layers that the user makes."""
    stream_input: bool = False
    """Whether the C takes its input row by row instead of as a whole in the arena."""
    banks: tuple[BankBudget, ...] = ()
    """RAM banks to spread the buffers over, the fastest first; without any there is one arena."""
    ram_limit: int | None = None
    """Bytes that the arenas of all banks and the stack may take together; None: as much as the banks have. One arena has the target's."""
    recompute: bool = False
    """Whether tensors are computed twice where that lowers the peak."""
    patches: bool = False
    """Whether streams run in vertical strips where that lowers the peak."""
    core: str = OrderInstructions.core
    """The core whose order of instructions kernels get."""


def core_form(target: Target) -> str:
    """The `core` of options for `target`."""
    return target.core.name if target.core.name in CORE_FORMS else OrderInstructions.core


def default_pipeline(options: CompileOptions) -> str:
    """The passes of `tinyc compile` as text."""
    profile = options.numerics.value
    strip = [] if options.keep_float_io else ["strip-io-quantization"]
    streaming = [f"budget={options.stream_budget}"] if options.stream_budget else []
    streaming += ["input=true"] if options.stream_input else []
    recomputing = [name for name, used in (("recompute-gates", options.recompute), ("recompute-patches", options.patches)) if used]
    growth = 0 if options.compact else options.growth
    widening = [f"growth={growth}"] if growth != WidenWeights.growth else []
    widening += [f"gain={options.gain}"] if options.gain != WidenWeights.gain else []
    # More scratch than usual is also for the transformed inputs of Winograd's filtering.
    widening += [f"slack={options.slack}"] if options.slack > SizeIm2col.slack else []
    # Who lets tables grow further spends flash on what scratch would do better.
    widening += ["single_tiles=true"] if growth > WidenWeights.growth else []
    ordering = [f"order-instructions{{core={options.core}}}"] if options.core != OrderInstructions.core else []
    compacting = ["all=true"] if options.compact else []
    # Who leaves convolutions less scratch than usual leaves them none for whole tiles either.
    compacting += [f"slack={options.slack}"] if options.compact and options.slack < SizeIm2col.slack else []
    gain = SMALLEST_GAIN if options.compact else options.gain
    usual = LOOP_GROWTH if growth and options.core == CoreForm.CORTEX_M7.value else UnrollLoops.growth
    loops = usual if options.compact else max(usual, options.loop_growth)
    unrolling = [f"growth={loops}"] if loops != UnrollLoops.growth else []
    unrolling += [f"gain={gain}"] if gain != UnrollLoops.gain else []
    passes = [
        *strip,
        f"fold-constants{{numerics={profile}}}",
        "canonicalize",
        "fold-pad",
        "fuse-activation",
        "canonicalize",
        "eliminate-dead-code",
        "order-operators",
        f"select-kernels{{numerics={profile}}}",
        *([] if options.compact else ["fuse-residual{input=true}"] if options.stream_input else ["fuse-residual"]),
        *(f"{name}{{{' '.join(streaming)}}}" if streaming else name for name in recomputing),
        f"stream-rows{{{' '.join(streaming)}}}" if streaming else "stream-rows",
        "depthwise-in-place",
        *ordering,
        "merge-rows",
        *([] if options.compact else ["plane-rings"]),
        f"size-im2col{{slack={options.slack}}}" if options.slack != SizeIm2col.slack else "size-im2col",
        f"compact-code{{{' '.join(compacting)}}}" if compacting else "compact-code",
        f"widen-weights{{{' '.join(widening)}}}" if widening else "widen-weights",
        f"share-code{{gain={gain}}}" if gain != ShareCode.gain else "share-code",
        f"unroll-loops{{{' '.join(unrolling)}}}" if unrolling else "unroll-loops",
        _planning(options),
    ]
    return ",".join(passes)


def _planning(options: CompileOptions) -> str:
    if options.banks:
        names = ",".join(f'"{bank.name}"' for bank in options.banks)
        return f"plan-banks{{banks={names} sizes={','.join(str(bank.bytes) for bank in options.banks)}}}"
    return f"plan-memory{{solver={options.planner}}}" if options.planner != PlanMemory.solver else "plan-memory"


def pipeline(options: CompileOptions) -> list[ModulePass]:
    """The passes to run. Raises UsageError for a bad `passes` text, or one that leaves no room for another option."""
    if options.passes is not None and options.stream_input:
        raise UsageError("with passes of your own, write stream-rows{input=true} there instead of --stream-input")
    if options.passes is not None and options.banks:
        raise UsageError("with passes of your own, write plan-banks there instead of plan-memory, and leave --banks out")
    if options.banks and options.planner != PlanMemory.solver:
        raise UsageError("--planner exact places one arena; leave out either it or --banks")
    return parse_passes(options.passes) if options.passes is not None else list(_built_in(default_pipeline(options)))


@lru_cache(maxsize=64)
def _built_in(text: str) -> tuple[ModulePass, ...]:
    """Passes of tinyc's own, which no plug-in replaces and which cannot change: many networks and schedules share a pipeline."""
    return tuple(parse_passes(text))
