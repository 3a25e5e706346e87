"""channels-last: moves the transposes around image ops through the network, so that a network of images has none left inside.

The ONNX front end leaves tensors in the file's order, channels first, and transposes around every op that wants channels last. A transpose
to channels first moves down past every op that can work in either order, until it meets one back and both go, or a fully connected layer,
whose weights are put into the other order instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, FunctionType, ModuleOp, StringAttr
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.rewriter import Rewriter
from xdsl.transforms.dead_code_elimination import dce

from tinyc.errors import UsageError, printable
from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_base import NNOp, constant_of, integers, tensor_of
from tinyc.ir.nn_elementwise import DequantizeOp, QuantizeOp
from tinyc.ir.nn_shape import ConstantOp, FullyConnectedOp, ReshapeOp, TransposeOp, permuted
from tinyc.ir.tensor_type import TensorType
from tinyc.passes.rewriting import apply_patterns, main_function, replace_keeping_layer

TO_LAST = (0, 2, 3, 1)
TO_FIRST = (0, 3, 1, 2)
BOUNDARIES = ("nhwc", "nchw")


def transposed(value: SSAValue, permutation: Sequence[int]) -> TransposeOp:
    """A transpose of `value`."""
    tensor = tensor_of(value)
    kind = TensorType(replace(tensor, shape=permuted(tensor.shape, permutation)))
    return TransposeOp.create(operands=[value], properties={"permutation": integers(permutation)}, result_types=[kind])


def channels_last_source(value: SSAValue) -> SSAValue | None:
    """What a transpose to channels first is made of, if one made `value`."""
    owner = value.owner
    return owner.input if isinstance(owner, TransposeOp) and owner.permutation_list() == TO_FIRST else None


class MergeTransposes(RewritePattern):
    """transpose(transpose(x)) -> transpose(x), or x"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: TransposeOp, rewriter: PatternRewriter) -> None:
        inner = op.input.owner
        if not isinstance(inner, TransposeOp):
            return
        order = [inner.permutation_list()[axis] for axis in op.permutation_list()]
        if order == list(range(len(order))):
            rewriter.replace(op, [], [inner.input])
        else:
            replace_keeping_layer(rewriter, op, transposed(inner.input, order))


class MoveTransposeDown(RewritePattern):
    """op(to_first(x), ...) -> to_first(op(x, ...)) for every op that says how it works in the other order"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: NNOp, rewriter: PatternRewriter) -> None:
        # A dequantisation stays last, where strip-io-quantization looks for it.
        if isinstance(op, TransposeOp | DequantizeOp) or len(op.out.shape) != 4:
            return
        if not any(channels_last_source(operand) is not None for operand in op.operands):
            return
        if any(len(tensor_of(operand).shape) != 4 and constant_of(operand) is None for operand in op.operands):
            return
        properties = op.reordered(TO_FIRST)
        if properties is None:
            return
        operands = []
        for operand in op.operands:
            source = channels_last_source(operand)
            if source is None:
                made = _constant_in_channels_last(operand) or transposed(operand, TO_LAST)
                made.attributes["layer"] = StringAttr(op.layer)
                rewriter.insert(made)
                source = made.results[0]
            operands.append(source)
        kind = TensorType(replace(op.out, shape=permuted(op.out.shape, TO_LAST)))
        moved = type(op).create(operands=operands, properties=dict(properties), attributes=dict(op.attributes), result_types=[kind])
        back = transposed(moved.results[0], TO_FIRST)
        back.attributes["layer"] = StringAttr(op.layer)
        rewriter.replace(op, [moved, back], [back.result])


def _constant_in_channels_last(value: SSAValue) -> ConstantOp | None:
    """A constant operand with its dimensions reordered; missing ones in front count as 1."""
    data = constant_of(value)
    if data is None:
        return None
    array = data.array
    array = np.ascontiguousarray(array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(TO_LAST))
    kind = TensorType(replace(tensor_of(value), shape=array.shape))
    return ConstantOp.create(properties={"value": DenseAttr.of(array)}, result_types=[kind])


class ReorderWeights(RewritePattern):
    """fully_connected(flatten(to_first(x))) -> fully_connected(x) with the columns of its weights in the order of x"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: FullyConnectedOp, rewriter: PatternRewriter) -> None:
        value, weights = op.input, constant_of(op.weights)
        if isinstance(value.owner, ReshapeOp):
            value = value.owner.input
        source = channels_last_source(value)
        if source is None or weights is None or op.batches() != 1:
            return
        first, given = tensor_of(value), op.operand_tensor(0)
        if (first.scale, first.zero_point) != (given.scale, given.zero_point):
            return
        rows = weights.array.shape[0]
        reordered = weights.array.reshape(rows, *first.shape[1:]).transpose(0, 2, 3, 1).reshape(rows, -1)
        constant = ConstantOp.create(properties={"value": DenseAttr.of(reordered)}, result_types=[op.weights.type])
        constant.attributes["layer"] = StringAttr(op.layer)
        rewriter.insert(constant)
        flat = ReshapeOp.create(operands=[source], result_types=[op.input.type])
        flat.attributes["layer"] = StringAttr(op.layer)
        rewriter.insert(flat)
        made = FullyConnectedOp.create(
            operands=[flat.result, constant.result, *op.operands[2:]], properties=dict(op.properties), result_types=[op.result.type]
        )
        replace_keeping_layer(rewriter, op, made)


@dataclass(frozen=True)
class ChannelsLast(ModulePass):
    """Move transposes between channels first and last out of the network; `boundary`, nhwc or nchw, is the order of images in and out."""

    name = "channels-last"
    boundary: str = "nhwc"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.boundary not in BOUNDARIES:
            raise UsageError(f"boundary must be {' or '.join(BOUNDARIES)}, got {printable(self.boundary)}")
        function = main_function(op)
        block = function.body.block
        patterns = [MergeTransposes(), MoveTransposeDown(), ReorderWeights()]
        apply_patterns(op, patterns)
        inputs = [self._turn_input(block, index) for index in range(len(block.args))]
        apply_patterns(op, patterns)
        terminator = block.last_op
        assert isinstance(terminator, ReturnOp)
        outputs = [self._turn_output(terminator, index) for index in range(len(terminator.operands))]
        dce(op)
        types = [argument.type for argument in block.args], [value.type for value in terminator.operands]
        function.properties["function_type"] = FunctionType.from_lists(*types)
        op.attributes["input_layouts"] = ArrayAttr([StringAttr(layout) for layout in inputs])
        op.attributes["output_layouts"] = ArrayAttr([StringAttr(layout) for layout in outputs])

    def _turn_input(self, block: Block, index: int) -> str:
        """Gives an argument that some op wants channels last that order; says which order it has now, "" where it is no such image."""
        argument = block.args[index]
        if not _is_wanted_channels_last(argument):
            return ""
        if self.boundary == "nhwc":
            tensor = tensor_of(argument)
            turned = TensorType(replace(tensor, shape=permuted(tensor.shape, TO_LAST)))
            value: SSAValue = Rewriter.replace_value_with_new_type(argument, turned)
            _insert_behind(block, value, [TO_FIRST])
            return "nhwc"
        users = [use.operation for use in argument.uses]
        quantized = bool(users) and all(isinstance(user, QuantizeOp) for user in users)
        for value in [user.results[0] for user in users] if quantized else [argument]:
            _insert_behind(block, value, [TO_LAST, TO_FIRST])
        return "nchw"

    def _turn_output(self, terminator: ReturnOp, index: int) -> str:
        """Takes the transpose off an output where the boundary is channels last; says which order the output has."""
        value = terminator.operands[index]
        dequantize = value.owner if isinstance(value.owner, DequantizeOp) else None
        source = channels_last_source(dequantize.input if dequantize is not None else value)
        if source is None:
            return ""
        if self.boundary == "nchw":
            return "nchw"
        if dequantize is not None:
            kind = TensorType(replace(dequantize.out, shape=tensor_of(source).shape))
            made = DequantizeOp.create(operands=[source], attributes=dict(dequantize.attributes), result_types=[kind])
            block = terminator.parent
            assert block is not None
            block.insert_ops_before([made], terminator)
            source = made.result
        terminator.operands[index] = source
        return "nhwc"


def _insert_behind(block: Block, value: SSAValue, permutations: Sequence[Sequence[int]]) -> None:
    """Puts transposes behind `value`, all of whose users then read the last of them."""
    made: list[Operation] = []
    current = value
    for permutation in permutations:
        made.append(transposed(current, permutation))
        current = made[-1].results[0]
    users = [(use.operation, use.index) for use in value.uses if use.operation not in made]
    if isinstance(value.owner, Operation):
        block.insert_ops_after(made, value.owner)
    elif block.first_op is not None:
        block.insert_ops_before(made, block.first_op)
    for user, position in users:
        user.operands[position] = current


def _is_wanted_channels_last(value: SSAValue) -> bool:
    """Whether some op behind `value` transposes it to channels last, with only ops between that work in either order."""
    if len(tensor_of(value).shape) != 4:
        return False
    pending, seen = [value], {value}
    while pending:
        for use in pending.pop().uses:
            user = use.operation
            if isinstance(user, TransposeOp):
                if user.permutation_list() == TO_LAST:
                    return True
            elif isinstance(user, NNOp) and len(user.out.shape) == 4 and user.reordered(TO_FIRST) is not None:
                result = user.results[0]
                if result not in seen:
                    seen.add(result)
                    pending.append(result)
    return False
