"""fuse-activation: moves a clamp into the op that computes its input."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import DenseArrayBase, ModuleOp
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from tinyc.ir.nn_base import NNOp, integers
from tinyc.ir.nn_elementwise import ClampOp
from tinyc.passes.rewriting import apply_patterns, replace_keeping_layer


class FuseClamp(RewritePattern):
    """clamp(op(x)) -> op(x) with the tighter bounds, for every op that has a clamp of its own and no other user"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ClampOp, rewriter: PatternRewriter) -> None:
        producer = op.input.owner
        if not isinstance(producer, NNOp) or not op.input.has_one_use():
            return
        own = producer.properties.get("clamp")
        # Bounds that await the numerics profile cannot be combined yet.
        if not isinstance(own, DenseArrayBase) or "activation" in producer.properties or op.activation is not None:
            return
        lower, upper = op.clamp_pair()
        own_lower, own_upper = (int(bound) for bound in own.get_values())
        # Clamping first to [a, b] and then to [c, d] is one clamp: both ends go through the second.
        bounds = [min(max(own_lower, lower), upper), min(max(own_upper, lower), upper)]
        fused = type(producer).create(
            operands=producer.operands,
            properties={**producer.properties, "clamp": integers(bounds)},
            attributes=dict(producer.attributes),
            result_types=[op.result.type],
        )
        replace_keeping_layer(rewriter, op, fused)
        rewriter.erase(producer)


@dataclass(frozen=True)
class FuseActivation(ModulePass):
    """Move activations (clamps) into the op before them."""

    name = "fuse-activation"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        apply_patterns(op, [FuseClamp()])
