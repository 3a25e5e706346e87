"""All passes by their command-line name. Modules are imported only when a pass is used, so that start-up stays fast."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from xdsl.passes import ModulePass, get_pass_option_infos
from xdsl.utils.arg_spec import parse_pipeline
from xdsl.utils.exceptions import ArgSpecParseError

from tinyc.errors import PluginError, UsageError, printable
from tinyc.plugins import Addition, additions


@dataclass(frozen=True)
class PassEntry:
    """Where a pass lives and which level of the IR it works on (`nn`, `mcu` or from one to the other)."""

    module: str
    class_name: str
    level: str
    origin: str = "tinyc"
    """`tinyc`, or the plug-in that adds it."""


PASSES: dict[str, PassEntry] = {
    "canonicalize": PassEntry("tinyc.passes.canonicalize", "Canonicalize", "nn"),
    "channels-last": PassEntry("tinyc.passes.channels_last", "ChannelsLast", "nn"),
    "strip-io-quantization": PassEntry("tinyc.passes.strip_io_quantization", "StripIoQuantization", "nn"),
    "fold-constants": PassEntry("tinyc.passes.fold_constants", "FoldConstants", "nn"),
    "fold-pad": PassEntry("tinyc.passes.fold_pad", "FoldPad", "nn"),
    "fuse-activation": PassEntry("tinyc.passes.fuse_activation", "FuseActivation", "nn"),
    "eliminate-dead-code": PassEntry("tinyc.passes.eliminate_dead_code", "EliminateDeadCode", "nn"),
    "order-operators": PassEntry("tinyc.passes.order_operators", "OrderOperators", "nn"),
    "select-kernels": PassEntry("tinyc.backends.cortexm.select_kernels", "SelectKernels", "nn to mcu"),
    "fuse-residual": PassEntry("tinyc.backends.cortexm.fuse_residual", "FuseResidual", "mcu"),
    "recompute-gates": PassEntry("tinyc.passes.recompute_gates", "RecomputeGates", "mcu"),
    "recompute-patches": PassEntry("tinyc.backends.cortexm.recompute_patches", "RecomputePatches", "mcu"),
    "stream-rows": PassEntry("tinyc.passes.stream_rows", "StreamRows", "mcu"),
    "depthwise-in-place": PassEntry("tinyc.backends.cortexm.depthwise_in_place", "DepthwiseInPlace", "mcu"),
    "merge-rows": PassEntry("tinyc.backends.cortexm.merge_rows", "MergeRows", "mcu"),
    "plane-rings": PassEntry("tinyc.backends.cortexm.plane_rings", "PlaneRings", "mcu"),
    "order-instructions": PassEntry("tinyc.backends.cortexm.order_instructions", "OrderInstructions", "mcu"),
    "size-im2col": PassEntry("tinyc.backends.cortexm.size_im2col", "SizeIm2col", "mcu"),
    "compact-code": PassEntry("tinyc.backends.cortexm.compact_code", "CompactCode", "mcu"),
    "widen-weights": PassEntry("tinyc.backends.cortexm.widen_weights", "WidenWeights", "mcu"),
    "share-code": PassEntry("tinyc.backends.cortexm.share_code", "ShareCode", "mcu"),
    "unroll-loops": PassEntry("tinyc.backends.cortexm.unroll_loops", "UnrollLoops", "mcu"),
    "plan-memory": PassEntry("tinyc.passes.plan_memory", "PlanMemory", "mcu"),
    "plan-banks": PassEntry("tinyc.backends.cortexm.plan_banks", "PlanBanks", "mcu"),
}
"""In the order in which `tinyc compile` runs them; recompute-gates where the network would not fit without, plan-banks with --banks."""


def all_passes() -> dict[str, PassEntry]:
    """tinyc's passes, then those of plug-ins. Raises PluginError for names that clash."""
    found = dict(PASSES)
    for name, addition in additions("passes", PASSES.__contains__).items():
        module, _, class_name = addition.where.partition(":")
        found[name] = PassEntry(module, class_name, "plug-in", addition.plugin)
    return found


def pass_class(name: str) -> type[ModulePass]:
    """The class of a pass. Raises UsageError for an unknown name, listing the known ones, PluginError for a broken plug-in."""
    entries = all_passes()
    entry = entries.get(name)
    if entry is None:
        raise UsageError(f"there is no pass {printable(name)}; known are {', '.join(entries)}")
    if entry.origin != "tinyc":
        return _plugin_pass(name, entry)
    found = getattr(import_module(entry.module), entry.class_name)
    assert isinstance(found, type)
    assert issubclass(found, ModulePass)
    return found


def _plugin_pass(name: str, entry: PassEntry) -> type[ModulePass]:
    found = Addition(name, f"{entry.module}:{entry.class_name}", entry.origin).load()
    if not (isinstance(found, type) and issubclass(found, ModulePass)) or getattr(found, "name", None) != name:
        raise PluginError(f"plug-in {entry.origin}: {entry.module}:{entry.class_name} is no ModulePass called {printable(name)}")
    return found


def parse_passes(text: str) -> list[ModulePass]:
    """The passes of `a,b{option=value}`. Raises UsageError for syntax errors, unknown passes and unknown or ill-typed options."""
    if not text.strip():
        return []
    try:
        specs = list(parse_pipeline(text))
    except ArgSpecParseError as error:
        raise UsageError(f"cannot read the pass pipeline {printable(text)}: {printable(error, 500)}") from error
    passes = []
    for spec in specs:
        kind = pass_class(spec.name)
        try:
            passes.append(kind.from_pass_spec(spec))
        except (ValueError, TypeError) as error:
            options = ", ".join(option_texts(kind)) or "none"
            raise UsageError(f"pass {spec.name}: {printable(error, 500)} (options: {options})") from error
    return passes


@dataclass(frozen=True)
class Insertion:
    """A pass to run right after (or before) another one of the pipeline."""

    after: bool
    anchor: str
    inserted: ModulePass


def parse_insertion(text: str) -> Insertion:
    """`after:ANCHOR=PASS{options}` or `before:...`. Raises UsageError."""
    place, colon, rest = text.partition(":")
    anchor, equals, spec = rest.partition("=")
    if place not in ("after", "before") or not colon or not equals or not spec:
        raise UsageError(f"expected after:PASS=NEW-PASS or before:PASS=NEW-PASS, got {printable(text)}")
    passes = parse_passes(spec)
    if len(passes) != 1:
        raise UsageError(f"{printable(text)} inserts {len(passes)} passes, expected one; give the option again for more")
    return Insertion(place == "after", anchor, passes[0])


def insert_passes(passes: Sequence[ModulePass], insertions: Sequence[Insertion]) -> list[ModulePass]:
    """`passes` with all insertions made, each at the last pass called like its anchor. Raises UsageError for an unknown anchor."""
    result = list(passes)
    for insertion in insertions:
        positions = [index for index, entry in enumerate(result) if entry.name == insertion.anchor]
        if not positions:
            names = ", ".join(entry.name for entry in result)
            raise UsageError(f"cannot insert {insertion.inserted.name}: no pass {printable(insertion.anchor)} in the pipeline {names}")
        result.insert(positions[-1] + insertion.after, insertion.inserted)
    return result


def option_texts(kind: type[ModulePass]) -> list[str]:
    """`name=default` for each option of a pass, as the command line spells it."""
    return [f"{info.name.replace('_', '-')}={info.default_value}" for info in get_pass_option_infos(kind)]


def summary(kind: type[ModulePass]) -> str:
    """First line of the pass's docstring."""
    return (kind.__doc__ or "").strip().splitlines()[0] if not dataclasses.is_dataclass(kind) or kind.__doc__ else ""
