"""The default order of passes, and how the options of a compilation change it."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.passes import ModulePass

from tinyc.numerics.profile import Profile
from tinyc.passes.registry import parse_passes


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


def default_pipeline(options: CompileOptions) -> str:
    """The passes of `tinyc compile` as text."""
    profile = options.numerics.value
    strip = [] if options.keep_float_io else ["strip-io-quantization"]
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
        f"stream-rows{{budget={options.stream_budget}}}" if options.stream_budget else "stream-rows",
        "depthwise-in-place",
        "merge-rows",
        "size-im2col",
        "widen-weights",
        "plan-memory",
    ]
    return ",".join(passes)


def pipeline(options: CompileOptions) -> list[ModulePass]:
    """The passes to run. Raises UsageError for a bad `passes` text."""
    return parse_passes(options.passes if options.passes is not None else default_pipeline(options))
