"""Kernels for functions of one int8 value, and for the element-wise ops of two that are no sum or product."""

from __future__ import annotations

from tinyc.backends.cortexm.kernels.add import add_spec
from tinyc.backends.cortexm.kernels.extreme import ExtremeSpec
from tinyc.backends.cortexm.kernels.lookup import LookupSpec, pack_table
from tinyc.backends.cortexm.kernels.prelu import PReluSpec
from tinyc.backends.cortexm.lower_elementwise import binary_call, binary_rows
from tinyc.backends.cortexm.lowered import Lowered, Operand, refuse
from tinyc.interpreter.plans import prelu_op_plan, sub_plan, unary_op_table
from tinyc.ir.nn_elementwise import MaximumOp, MinimumOp, SubOp
from tinyc.ir.nn_unary import PReluOp, UnaryOp
from tinyc.memory.row_access import EACH_ROW
from tinyc.numerics.profile import Profile


def lower_unary(op: UnaryOp, profile: Profile) -> Lowered:
    """A table lookup by rows."""
    try:
        results = unary_op_table(op, profile)
    except ValueError as error:
        refuse("quantization", str(error))
    spec = LookupSpec(op.out.elements // op.out.rows)
    return Lowered(spec, (Operand(op.operands[0], EACH_ROW),), pack_table(results), (0,))


def lower_sub(op: SubOp, profile: Profile) -> Lowered:
    """Subtraction by rows; where only the second operand has the result's shape, or the first is constant, as -b + a."""
    cut = binary_rows(op, commutes=True)
    plan = sub_plan(op, profile, cut.swapped)
    return binary_call(op, cut, add_spec(cut.elements, cut.channels, cut.broadcast, cut.constant is not None, plan))


def lower_maximum(op: MaximumOp, profile: Profile) -> Lowered:
    """Maxima by rows."""
    return _extreme(op, True)


def lower_minimum(op: MinimumOp, profile: Profile) -> Lowered:
    """Minima by rows."""
    return _extreme(op, False)


def _extreme(op: MaximumOp | MinimumOp, greater: bool) -> Lowered:
    cut = binary_rows(op, commutes=True)
    return binary_call(op, cut, ExtremeSpec(cut.elements, cut.channels, cut.broadcast, cut.constant is not None, greater))


def lower_prelu(op: PReluOp, profile: Profile) -> Lowered:
    """PRELU by rows."""
    cut = binary_rows(op)
    spec = PReluSpec(cut.elements, cut.channels, cut.broadcast, cut.constant is not None, prelu_op_plan(op, profile))
    return binary_call(op, cut, spec)
