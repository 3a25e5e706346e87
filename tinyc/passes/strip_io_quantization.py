"""strip-io-quantization: makes the network take and give int8 where its boundary is float32."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from tinyc.ir.nn_elementwise import DequantizeOp, QuantizeOp
from tinyc.passes.rewriting import main_function


@dataclass(frozen=True)
class StripIoQuantization(ModulePass):
    """Remove QUANTIZE at inputs and DEQUANTIZE at outputs; the header then gives scale and zero point."""

    name = "strip-io-quantization"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        function = main_function(op)
        block = function.body.block
        for argument in list(block.args):
            users = [use.operation for use in argument.uses]
            # Several quantisations of one input are the same bytes only if their types agree.
            if users and all(isinstance(user, QuantizeOp) for user in users) and len({user.results[0].type for user in users}) == 1:
                stripped = Rewriter.replace_value_with_new_type(argument, users[0].results[0].type)
                for user in users:
                    user.results[0].replace_all_uses_with(stripped)
                    Rewriter.erase_op(user)
        terminator = block.last_op
        assert isinstance(terminator, ReturnOp)
        for index, value in enumerate(terminator.operands):
            if isinstance(value.owner, DequantizeOp):
                dequantize = value.owner
                terminator.operands[index] = dequantize.input
                if not dequantize.result.uses:
                    Rewriter.erase_op(dequantize)
        inputs, outputs = [argument.type for argument in block.args], [value.type for value in terminator.operands]
        function.properties["function_type"] = FunctionType.from_lists(inputs, outputs)
