"""Kernel calls of lowered ops as cases for the harness: a row with the input rows that its access names, and what the interpreter says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import SSAValue

from support.typed_kernel_harness import TypedCase
from tinyc.backends.cortexm.kernels.base import Form
from tinyc.backends.cortexm.lowered import Lowered, Operand
from tinyc.backends.cortexm.select_kernels import RULES
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.nn_base import NNOp, tensor_of
from tinyc.ir.nn_shape import ConstantOp, ReshapeOp
from tinyc.numerics.profile import Profile

Values = npt.NDArray[Any]
ROWS_PER_CALL = 3
"""So many rows of a tensor are tested: the first, the last and one between."""


def typed_cases(module: ModuleOp, inputs: Sequence[Values], profile: Profile, random: np.random.Generator, name: str) -> list[TypedCase]:
    """Cases of all ops of `module` that have a kernel."""
    (function,) = [op for op in module.ops if isinstance(op, FuncOp)]
    values: dict[SSAValue, Values] = dict(zip(function.body.block.args, inputs, strict=True))
    ops: list[NNOp] = []

    def observe(op: NNOp, result: Values) -> None:
        values[op.results[0]] = result
        if not isinstance(op, ConstantOp | ReshapeOp):
            ops.append(op)

    evaluate(module, inputs, profile, observe)
    cases: list[TypedCase] = []
    for op in ops:
        cases += _cases_of_op(RULES[type(op)](op, profile), values, values[op.results[0]], tensor_of(op.results[0]).rows, random, name)
    return cases


def _cases_of_op(
    lowered: Lowered, values: dict[SSAValue, Values], result: Values, rows: int, random: np.random.Generator, name: str
) -> list[TypedCase]:
    spec = lowered.spec
    operands = [(operand, _rows(operand, values[operand.value])) for operand in lowered.operands]
    if spec.form is not Form.ROW:
        whole = [list(source) if spec.form is Form.REDUCTION else source for _, source in operands]
        return [TypedCase(spec, whole, result, lowered.tables, name=name)]
    result_rows = result.reshape(lowered.output_rows or rows, -1)
    chosen = {0, len(result_rows) - 1, *random.integers(0, len(result_rows), ROWS_PER_CALL - 2).tolist()}
    cases = []
    for row in sorted(chosen):
        given = [_given(operand, source, window, row) for (operand, source), window in zip(operands, spec.windows, strict=True)]
        cases.append(
            TypedCase(spec, given, result_rows[row], lowered.tables, name=f"row {row} of {name}", row=row if spec.takes_row else None)
        )
    return cases


def _rows(operand: Operand, values: Values) -> Values:
    return values.reshape(operand.rows or tensor_of(operand.value).rows, -1)


def _given(operand: Operand, source: Values, window: int, row: int) -> Values | list[Values | None]:
    access = operand.access
    if access.window == 0:
        return source
    first = access.first(row)
    if window == 0:
        return source[first]
    places = [first + index * access.dilation for index in range(window)]
    return [source[place] if 0 <= place < len(source) else None for place in places]
