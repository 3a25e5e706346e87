"""Kernels for means, padding and transposes."""

from __future__ import annotations

from tinyc.backends.cortexm.kernels.mean import MeanColumnsSpec, MeanRowsSpec, MeanTensorSpec
from tinyc.backends.cortexm.kernels.pad import PadSpec, PadTensorSpec
from tinyc.backends.cortexm.kernels.transpose import TransposeSpec
from tinyc.backends.cortexm.lowered import Lowered, Operand, refuse
from tinyc.interpreter.plans import mean_op_plan
from tinyc.ir.nn_shape import MeanOp, PadOp, TransposeOp
from tinyc.memory.row_access import EACH_ROW
from tinyc.numerics.profile import Profile


def lower_mean(op: MeanOp, profile: Profile) -> Lowered:
    """Mean: over rows as a running sum, over columns row by row, over other axes of the whole tensor."""
    shape, axes, plan = op.operand_tensor(0).shape, op.axis_list(), mean_op_plan(op, profile)
    if op.reduces_rows():
        return Lowered(MeanRowsSpec(shape[2], shape[3], axes == (1,), plan), (Operand(op.operands[0]),))
    if op.row_access(0) is not None:
        return Lowered(MeanColumnsSpec(shape[2], shape[3], plan), (Operand(op.operands[0], EACH_ROW),))
    return Lowered(MeanTensorSpec(shape, axes, plan), (Operand(op.operands[0]),))


def lower_pad(op: PadOp, profile: Profile) -> Lowered:
    """Padding that no convolution could take: of an image row by row, of anything else in one go."""
    shape, access, pads = op.operand_tensor(0).shape, op.row_access(0), op.pads()
    if access is None:
        tensor = PadTensorSpec(shape, tuple(before for before, _ in pads), tuple(after for _, after in pads), op.pad_value())
        return Lowered(tensor, (Operand(op.operands[0], EACH_ROW, 1),), (), (), 1)
    _, _, (left, right), (before, after) = pads
    spec = PadSpec(shape[2], shape[3], left, right, before, after, op.pad_value())
    return Lowered(spec, (Operand(op.operands[0], access),))


def lower_transpose(op: TransposeOp, profile: Profile) -> Lowered:
    """A transpose that moves data."""
    types = {"i8": "int8_t", "f32": "float", "i32": "int32_t", "i64": "int64_t"}
    try:
        spec = TransposeSpec(op.operand_tensor(0).shape, op.permutation_list(), types[op.out.element])
    except ValueError as error:
        refuse("perm", str(error))
    return Lowered(spec, (Operand(op.operands[0]),))
