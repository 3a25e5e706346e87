"""The executable meaning of the `nn` dialect: runs a module's `main` exactly, under either numerics profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import SSAValue

from tinyc.errors import ModelError
from tinyc.interpreter.ops import EVALUATORS, Array
from tinyc.ir.nn_base import NNOp, tensor_of
from tinyc.ir.tensor_type import NUMPY_TYPES
from tinyc.numerics.profile import Profile
from tinyc.plugins import additions

Observer = Callable[[NNOp, Array], None]


def evaluate_op(op: NNOp, operands: Sequence[Array], profile: Profile) -> Array:
    """Result of one op."""
    evaluator = EVALUATORS.get(type(op))
    if evaluator is None:
        addition = additions("evaluators").get(op.name)
        if addition is None:
            raise ModelError(f"cannot evaluate {op.name}: neither tinyc nor a plug-in knows how")
        evaluator = addition.load()
        assert evaluator is not None
    result = evaluator(op, operands, profile)
    assert result.shape == op.out.shape, f"{op.name} computed the shape {result.shape}"
    assert result.dtype == NUMPY_TYPES[op.out.element], f"{op.name} computed {result.dtype}"
    return result


def evaluate(module: ModuleOp, inputs: Sequence[Array], profile: Profile, observe: Observer | None = None) -> list[Array]:
    """Outputs of `main` for `inputs` (dtype and shape of its arguments); `observe` sees every op with its result.

    Raises ModelError for inputs that do not fit.
    """
    function = next((op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data == "main"), None)
    if function is None:
        raise ModelError("the module has no function `main` to evaluate")
    block = function.body.block
    if len(inputs) != len(block.args):
        raise ModelError(f"the network has {len(block.args)} inputs, {len(inputs)} were given")
    values: dict[SSAValue, Array] = {}
    for index, (argument, array) in enumerate(zip(block.args, inputs, strict=True)):
        tensor = tensor_of(argument)
        if array.shape != tensor.shape or array.dtype != NUMPY_TYPES[tensor.element]:
            raise ModelError(
                f"input {index} must be {NUMPY_TYPES[tensor.element]} {list(tensor.shape)}, got {array.dtype} {list(array.shape)}"
            )
        values[argument] = array
    remaining = {value: len(list(value.uses)) for value in [*block.args, *(result for op in block.ops for result in op.results)]}
    for op in block.ops:
        if isinstance(op, ReturnOp):
            # Not ascontiguousarray, which makes a vector of a scalar.
            return [np.asarray(values[value], order="C") for value in op.operands]
        if not isinstance(op, NNOp):
            raise ModelError(f"cannot evaluate {op.name}: the interpreter runs the nn level")
        values[op.results[0]] = evaluate_op(op, [values[operand] for operand in op.operands], profile)
        if observe is not None:
            observe(op, values[op.results[0]])
        for operand in op.operands:
            remaining[operand] -= 1
            if remaining[operand] == 0:
                del values[operand]
    raise ModelError("`main` has no return")
