"""The techniques that can be switched off one by one, and what has no switch.

A switch drops or changes a pass, adds one, or replaces a function or limit of the back end for the time of one compilation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any
from unittest.mock import patch

from xdsl.context import Context
from xdsl.dialects.builtin import DenseArrayBase, ModuleOp
from xdsl.ir import Operation, Use
from xdsl.passes import ModulePass

from tinyc.backends.cortexm import lower_window, widen_weights
from tinyc.backends.cortexm.kernels import conv
from tinyc.backends.cortexm.kernels.output_stage import plan_output_stage
from tinyc.ir.nn_base import NNOp, integers
from tinyc.ir.nn_elementwise import ClampOp
from tinyc.ir.tensor_type import TensorType
from tinyc.passes.registry import Insertion
from tinyc.passes.rewriting import main_block

FULL_RANGE = (-128, 127)


@dataclass(frozen=True)
class SplitActivations(ModulePass):
    """The opposite of fuse-activation: bounds of convolutions, sums and so on become ops of their own behind them."""

    name = "split-activations"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        block = main_block(op)
        for operation in [entry for entry in block.ops if isinstance(entry, NNOp) and not isinstance(entry, ClampOp)]:
            bounds = operation.properties.get("clamp")
            result = operation.results[0]
            if not isinstance(bounds, DenseArrayBase) or "activation" in operation.properties or not isinstance(result.type, TensorType):
                continue
            if tuple(int(bound) for bound in bounds.get_values()) == FULL_RANGE:
                continue
            operation.properties["clamp"] = integers(FULL_RANGE)
            clamp = ClampOp.create(operands=[result], properties={"clamp": bounds}, result_types=[result.type])
            clamp.attributes.update(operation.attributes)
            block.insert_ops_after([clamp], operation)
            result.replace_uses_with_if(clamp.results[0], partial(_is_not_by, clamp))


def _is_not_by(operation: Operation, use: Use) -> bool:
    return use.operation is not operation


@dataclass(frozen=True)
class Technique:
    """One switch. `passes` maps the name of a pass to the text that replaces it, empty to drop it; `patches` are (module, name, value)."""

    title: str
    off: str
    """What is done instead, for the table."""
    passes: Mapping[str, str] = field(default_factory=dict)
    insertions: tuple[Insertion, ...] = ()
    patches: tuple[tuple[ModuleType, str, Any], ...] = ()

    def pipeline(self, default: str) -> str:
        """The text of the pass pipeline with the switch off. Raises KeyError for a pass that `default` does not have."""
        entries = default.split(",")
        names = {entry.partition("{")[0] for entry in entries}
        for name in self.passes:
            if name not in names:
                raise KeyError(name)
        replaced = (self.passes.get(entry.partition("{")[0], entry) for entry in entries)
        return ",".join(entry for entry in replaced if entry)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Patches hold inside. Raises AttributeError where the back end has no such thing any more."""
        with ExitStack() as stack:
            for module, attribute, value in self.patches:
                stack.enter_context(patch.object(module, attribute, value))
            yield


_NO_STREAMS = {"stream-rows": "stream-rows{longest=1}"}
_FUSION = (Insertion(False, "eliminate-dead-code", SplitActivations()),)
_INTEGER: tuple[tuple[ModuleType, str, Callable[..., Any]], ...] = (
    (lower_window, "plan_output_stage", partial(plan_output_stage, integer=False)),
)
_ROLLED: tuple[tuple[ModuleType, str, Any], ...] = ((conv, "_UNROLLED_AT_MOST", 1), (conv, "_LOOP_STEPS", (1,)))

_NO_WINOGRAD: tuple[tuple[ModuleType, str, Any], ...] = ((widen_weights, "winograd_spec", lambda *_: None),)
_SIZES_AS_ARGUMENTS = {"plane-rings": "", "compact-code": "compact-code{all=true}"}

TECHNIQUES = (
    Technique("code specialisation", "sizes and strides of convolutions and fully connected layers are arguments", _SIZES_AS_ARGUMENTS),
    Technique("adaptive im2col", "every convolution gathers one tile of four columns", {"size-im2col": ""}),
    Technique(
        "unrolling",
        "inner loops of convolutions do one step a round; other kernels stay as they are",
        {"unroll-loops": ""},
        patches=_ROLLED,
    ),
    Technique(
        "fusion",
        "padding and activations are ops of their own, also activations that the file has fused",
        {"fuse-activation": "", "fold-pad": ""},
        _FUSION,
    ),
    Technique("in-place depthwise", "depthwise layers outside of streams write another buffer", {"depthwise-in-place": ""}),
    Technique("streaming", "every layer runs whole", _NO_STREAMS),
    Technique("streaming and in-place depthwise", "both", {**_NO_STREAMS, "depthwise-in-place": ""}),
    Technique("overlap", "no output is placed over an input", {"plan-memory": "plan-memory{overlap=false}"}),
    Technique("proved requantisation", "every channel is requantised in float32", patches=_INTEGER),
    Technique("wide weights", "all weights are int8 in flash", {"widen-weights": ""}),
    Technique("planes between convolutions", "streamed depthwise layers gather from rows of pixels", {"plane-rings": ""}),
    Technique("Winograd", "every convolution of 3x3 or 3x1 multiplies each weight", patches=_NO_WINOGRAD),
    Technique("residual additions", "every addition is a call of its own", {"fuse-residual": ""}),
    Technique("shared code", "no layers share code, unless they are all the same", {"share-code": ""}),
    Technique("several rows a call", "1x1 convolutions take one row", {"merge-rows": ""}),
    Technique("order of operators", "the order of the file", {"order-operators": ""}),
    Technique(
        "all of these",
        "all at once",
        {
            **_NO_STREAMS,
            **_SIZES_AS_ARGUMENTS,
            "size-im2col": "",
            "fuse-activation": "",
            "fold-pad": "",
            "depthwise-in-place": "",
            "plan-memory": "plan-memory{overlap=false}",
            "widen-weights": "",
            "unroll-loops": "",
            "merge-rows": "",
            "order-operators": "",
            "fuse-residual": "",
        },
        _FUSION,
        (*_ROLLED, *_INTEGER),
    ),
)

WITHOUT_SWITCH = {
    "weight order": "kernels read weights in the order in which SXTB16 gives the pairs for SMLAD; there is no kernel for another order.",
    "folded zero points": "the input's zero point is part of the bias and of the padding; no kernel subtracts it.",
}
"""Techniques that cannot be switched off, and why."""
