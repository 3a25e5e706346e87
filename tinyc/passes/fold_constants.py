"""fold-constants: computes at compile time what depends on constants alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tinyc.errors import UsageError, printable
from tinyc.interpreter.evaluate import evaluate_op
from tinyc.ir.dense import DenseAttr
from tinyc.ir.edit import erase
from tinyc.ir.nn_base import NNOp, constant_of, set_layer
from tinyc.ir.nn_shape import ConstantOp
from tinyc.numerics.profile import Profile
from tinyc.passes.rewriting import insert_before, main_block


def profile_of(name: str) -> Profile:
    """The profile called `name`. Raises UsageError for an unknown one."""
    try:
        return Profile(name)
    except ValueError:
        raise UsageError(f"numerics must be one of {', '.join(profile.value for profile in Profile)}, got {printable(name)}") from None


@dataclass(frozen=True)
class FoldConstants(ModulePass):
    """Compute ops whose operands are all constant; `numerics` is litert, tflm or onnxruntime."""

    name = "fold-constants"
    numerics: str = "litert"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        profile = profile_of(self.numerics)
        for operation in list(main_block(op).ops):
            if not isinstance(operation, NNOp) or isinstance(operation, ConstantOp):
                continue
            data = [constant_of(operand) for operand in operation.operands]
            known = [attribute.array for attribute in data if attribute is not None]
            if len(known) < len(data):
                continue
            result = np.asarray(evaluate_op(operation, known, profile), order="C")
            constant = ConstantOp.create(properties={"value": DenseAttr.of(result)}, result_types=[operation.results[0].type])
            set_layer(constant, operation.layer)
            insert_before(operation, constant)
            operation.results[0].replace_all_uses_with(constant.result)
            erase(operation)
