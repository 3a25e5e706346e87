"""All passes by their command-line name. Modules are imported only when a pass is used, so that start-up stays fast."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib import import_module

from xdsl.passes import ModulePass, get_pass_option_infos
from xdsl.utils.arg_spec import parse_pipeline
from xdsl.utils.exceptions import ArgSpecParseError

from tinyc.errors import UsageError, printable


@dataclass(frozen=True)
class PassEntry:
    """Where a pass lives and which level of the IR it works on (`nn`, `mcu` or from one to the other)."""

    module: str
    class_name: str
    level: str


PASSES: dict[str, PassEntry] = {
    "canonicalize": PassEntry("tinyc.passes.canonicalize", "Canonicalize", "nn"),
    "strip-io-quantization": PassEntry("tinyc.passes.strip_io_quantization", "StripIoQuantization", "nn"),
    "fold-constants": PassEntry("tinyc.passes.fold_constants", "FoldConstants", "nn"),
    "fold-pad": PassEntry("tinyc.passes.fold_pad", "FoldPad", "nn"),
    "fuse-activation": PassEntry("tinyc.passes.fuse_activation", "FuseActivation", "nn"),
    "eliminate-dead-code": PassEntry("tinyc.passes.eliminate_dead_code", "EliminateDeadCode", "nn"),
    "order-operators": PassEntry("tinyc.passes.order_operators", "OrderOperators", "nn"),
    "select-kernels": PassEntry("tinyc.backends.cortexm.select_kernels", "SelectKernels", "nn to mcu"),
    "stream-rows": PassEntry("tinyc.passes.stream_rows", "StreamRows", "mcu"),
    "depthwise-in-place": PassEntry("tinyc.backends.cortexm.depthwise_in_place", "DepthwiseInPlace", "mcu"),
    "size-im2col": PassEntry("tinyc.backends.cortexm.size_im2col", "SizeIm2col", "mcu"),
    "plan-memory": PassEntry("tinyc.passes.plan_memory", "PlanMemory", "mcu"),
}
"""In the order in which `tinyc compile` runs them."""


def pass_class(name: str) -> type[ModulePass]:
    """The class of a pass. Raises UsageError for an unknown name, listing the known ones."""
    entry = PASSES.get(name)
    if entry is None:
        raise UsageError(f"there is no pass {printable(name)}; known are {', '.join(PASSES)}")
    found = getattr(import_module(entry.module), entry.class_name)
    assert isinstance(found, type)
    assert issubclass(found, ModulePass)
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


def option_texts(kind: type[ModulePass]) -> list[str]:
    """`name=default` for each option of a pass, as the command line spells it."""
    return [f"{info.name.replace('_', '-')}={info.default_value}" for info in get_pass_option_infos(kind)]


def summary(kind: type[ModulePass]) -> str:
    """First line of the pass's docstring."""
    return (kind.__doc__ or "").strip().splitlines()[0] if not dataclasses.is_dataclass(kind) or kind.__doc__ else ""
