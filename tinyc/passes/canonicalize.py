"""canonicalize: removes what computes nothing and brings shape ops into one form."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, UnitAttr
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from tinyc.ir.nn_base import constant_of
from tinyc.ir.nn_elementwise import AddOp, BinaryOp, ClampOp, MulOp
from tinyc.ir.nn_shape import FullyConnectedOp, PadOp, ReshapeOp, TransposeOp
from tinyc.ir.nn_unary import UnaryOp
from tinyc.passes.rewriting import apply_patterns, replace_keeping_layer


class RemoveReshapeToSameType(RewritePattern):
    """reshape(x) of x's own type -> x"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ReshapeOp, rewriter: PatternRewriter) -> None:
        if op.input.type == op.result.type:
            rewriter.replace(op, [], [op.input])


class MergeReshapes(RewritePattern):
    """reshape(reshape(x)) -> reshape(x)"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ReshapeOp, rewriter: PatternRewriter) -> None:
        if isinstance(op.input.owner, ReshapeOp):
            replace_keeping_layer(rewriter, op, ReshapeOp.create(operands=[op.input.owner.input], result_types=[op.result.type]))


class TransposeThatMovesNothing(RewritePattern):
    """A transpose that only moves dimensions of size 1 -> reshape"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: TransposeOp, rewriter: PatternRewriter) -> None:
        if op.moves_nothing():
            replace_keeping_layer(rewriter, op, ReshapeOp.create(operands=[op.input], result_types=[op.result.type]))


class FlattenIntoFullyConnected(RewritePattern):
    """fully_connected(reshape(x)) -> fully_connected(x), which flattens anyway; only where the quantisation is the same"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: FullyConnectedOp, rewriter: PatternRewriter) -> None:
        source = op.input.owner
        if not isinstance(source, ReshapeOp):
            return
        before, after = source.operand_tensor(0), source.out
        if (before.scale, before.zero_point) == (after.scale, after.zero_point) and op.batches() == 1:
            operands = [source.input, *op.operands[1:]]
            replace_keeping_layer(rewriter, op, type(op).create(operands=operands, properties=op.properties, result_types=[op.result.type]))


class RemoveEmptyPad(RewritePattern):
    """pad by nothing -> its input"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: PadOp, rewriter: PatternRewriter) -> None:
        if op.input.type == op.result.type and not any(a or b for a, b in op.pads()):
            rewriter.replace(op, [], [op.input])


class RemoveRequantizationToSameType(RewritePattern):
    """requantize of x to x's own type -> x; a uint8 input that is quantised to int8 becomes this"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: UnaryOp, rewriter: PatternRewriter) -> None:
        if op.function.data == "requantize" and op.input.type == op.result.type:
            rewriter.replace(op, [], [op.input])


class RemoveFullClamp(RewritePattern):
    """clamp to all of int8 -> its input"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ClampOp, rewriter: PatternRewriter) -> None:
        if op.clamp_pair() == (-128, 127) and op.activation is None:
            rewriter.replace(op, [], [op.input])


def swap_operands(op: BinaryOp, rewriter: PatternRewriter) -> None:
    """Puts the operand that has the result's shape first, and a constant last; both ops commute exactly."""
    first, second = op.lhs, op.rhs
    full_first, full_second = op.operand_tensor(0).shape == op.out.shape, op.operand_tensor(1).shape == op.out.shape
    constant_first = constant_of(first) is not None and constant_of(second) is None
    if full_second and (not full_first or constant_first):
        properties = {name: value for name, value in op.properties.items() if name != "swapped"}
        if op.swapped is None:
            properties["swapped"] = UnitAttr()
        replace_keeping_layer(rewriter, op, type(op).create(operands=[second, first], properties=properties, result_types=[op.result.type]))


class FullOperandFirstInAdd(RewritePattern):
    """add(broadcast or constant, x) -> add(x, broadcast or constant)"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: AddOp, rewriter: PatternRewriter) -> None:
        swap_operands(op, rewriter)


class FullOperandFirstInMul(RewritePattern):
    """mul(broadcast or constant, x) -> mul(x, broadcast or constant)"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MulOp, rewriter: PatternRewriter) -> None:
        swap_operands(op, rewriter)


@dataclass(frozen=True)
class Canonicalize(ModulePass):
    """Remove no-op reshapes, transposes, pads and clamps; flatten into fully_connected; order operands of add and mul."""

    name = "canonicalize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        apply_patterns(
            op,
            [
                RemoveReshapeToSameType(),
                MergeReshapes(),
                TransposeThatMovesNothing(),
                FlattenIntoFullyConnected(),
                RemoveEmptyPad(),
                RemoveFullClamp(),
                RemoveRequantizationToSameType(),
                FullOperandFirstInAdd(),
                FullOperandFirstInMul(),
            ],
        )
