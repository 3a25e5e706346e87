"""fold-pad: moves explicit spatial padding into the convolution that reads it."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from tinyc.ir.nn_base import integers
from tinyc.ir.nn_shape import PadOp
from tinyc.ir.nn_window import Conv2DOp, ConvolutionOp, DepthwiseConv2DOp
from tinyc.passes.rewriting import apply_patterns, replace_keeping_layer


def fold_pad_into(convolution: ConvolutionOp, rewriter: PatternRewriter) -> None:
    """conv(pad(x)) -> conv(x) with larger pads: both pad with the zero point. Pools are left alone, their padding is not data."""
    pad = convolution.input.owner
    if not isinstance(pad, PadOp):
        return
    before, after = pad.operand_tensor(0), pad.out
    # A convolution pads with the zero point of its own input.
    if pad.pad_value() != after.zero_point or (before.scale, before.zero_point) != (after.scale, after.zero_point):
        return
    batch, height, width, channels = pad.pads()
    if any((*batch, *channels)):
        return
    top, left, bottom, right = convolution.pad_list()
    pads = integers([top + height[0], left + width[0], bottom + height[1], right + width[1]])
    replacement = type(convolution).create(
        operands=[pad.input, *convolution.operands[1:]],
        properties={**convolution.properties, "pads": pads},
        result_types=[convolution.result.type],
    )
    replace_keeping_layer(rewriter, convolution, replacement)


class FoldPadIntoConv2D(RewritePattern):
    """conv2d(pad(x)) -> conv2d(x)"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Conv2DOp, rewriter: PatternRewriter) -> None:
        fold_pad_into(op, rewriter)


class FoldPadIntoDepthwise(RewritePattern):
    """depthwise_conv2d(pad(x)) -> depthwise_conv2d(x)"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: DepthwiseConv2DOp, rewriter: PatternRewriter) -> None:
        fold_pad_into(op, rewriter)


@dataclass(frozen=True)
class FoldPad(ModulePass):
    """Move explicit padding into the convolutions that read it."""

    name = "fold-pad"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        apply_patterns(op, [FoldPadIntoConv2D(), FoldPadIntoDepthwise()])
