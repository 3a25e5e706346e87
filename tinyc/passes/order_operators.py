"""order-operators: an order of execution with the least peak memory, and then the fewest bytes live, proved for small graphs."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from tinyc.ir.edit import detach
from tinyc.ir.nn_base import NNOp, tensor_of
from tinyc.ir.nn_shape import ConstantOp
from tinyc.memory.order import OrderNode, least_peak_order
from tinyc.passes.rewriting import main_block


@dataclass(frozen=True)
class OrderOperators(ModulePass):
    """Reorder ops for the least peak of live tensors, then the fewest bytes; exact where a search stays under max-states, else kept."""

    name = "order-operators"
    max_states: int = 20_000

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        block = main_block(op)
        movable = [operation for operation in block.ops if isinstance(operation, NNOp) and not isinstance(operation, ConstantOp)]
        position: dict[Operation, int] = {operation: index for index, operation in enumerate(movable)}
        terminator = block.last_op
        assert terminator is not None
        kept = {value for value in terminator.operands}
        nodes = [
            OrderNode(
                frozenset(
                    position[value.owner] for value in operation.operands if isinstance(value.owner, Operation) and value.owner in position
                ),
                tensor_of(operation.results[0]).size_bytes,
                operation.results[0] in kept,
            )
            for operation in movable
        ]
        order = least_peak_order(nodes, self.max_states)
        if order == list(range(len(nodes))):
            return
        for index in order:
            detach(movable[index])
            block.insert_ops_before([movable[index]], terminator)
