"""acme-negate-adds: complements the result of every addition `times` times, which shows where a pass of a plug-in runs."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from acme_tinyc.dialect import NegateOp
from tinyc.ir.nn_base import set_layer
from tinyc.ir.nn_elementwise import AddOp


@dataclass(frozen=True)
class NegateAdds(ModulePass):
    """Put `times` acme.negate behind every nn.add."""

    name = "acme-negate-adds"
    times: int = 1

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for add in [found for found in op.walk() if isinstance(found, AddOp)]:
            block = add.parent
            assert block is not None
            last: Operation = add
            for _ in range(self.times):
                value = last.results[0]
                negate = NegateOp.create(operands=[value], result_types=[value.type])
                set_layer(negate, f"{add.layer}/negate")
                block.insert_ops_after([negate], last)
                value.replace_uses_with_if(negate.results[0], lambda use, own=negate: use.operation is not own)
                last = negate
