"""eliminate-dead-code: removes ops whose results nobody uses."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.transforms.dead_code_elimination import dce


@dataclass(frozen=True)
class EliminateDeadCode(ModulePass):
    """Remove ops whose results are not used."""

    name = "eliminate-dead-code"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        dce(op)
