"""What the rewriting passes share: applying patterns to a fixed point, and small questions about values."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation
from xdsl.pattern_rewriter import GreedyRewritePatternApplier, PatternRewriter, PatternRewriteWalker, RewritePattern

from tinyc.errors import PassError


def apply_patterns(module: ModuleOp, patterns: Sequence[RewritePattern]) -> None:
    """Applies `patterns` until none of them matches."""
    PatternRewriteWalker(GreedyRewritePatternApplier(list(patterns), folding_enabled=False)).rewrite_module(module)


def replace_keeping_layer(rewriter: PatternRewriter, operation: Operation, replacement: Operation) -> None:
    """Replaces `operation` by `replacement`, which takes over the layer name unless it has one."""
    if "layer" in operation.attributes and "layer" not in replacement.attributes:
        replacement.attributes["layer"] = operation.attributes["layer"]
    rewriter.replace(operation, replacement)


def main_function(module: ModuleOp) -> FuncOp:
    """The module's function `main`. Raises PassError where there is none."""
    for operation in module.ops:
        if isinstance(operation, FuncOp) and operation.sym_name.data == "main":
            return operation
    raise PassError("the module has no function `main`; is this IR of the nn level?")


def main_block(module: ModuleOp) -> Block:
    """The only block of `main`. Raises PassError where there is none."""
    blocks = list(main_function(module).body.blocks)
    if len(blocks) != 1:
        raise PassError(f"`main` has {len(blocks)} blocks, expected 1")
    return blocks[0]


def insert_before(operation: Operation, new: Operation) -> None:
    """Puts `new` right before `operation`."""
    block = operation.parent
    assert block is not None
    block.insert_ops_before([new], operation)
