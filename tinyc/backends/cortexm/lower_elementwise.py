"""Kernels for additions, multiplications, clamps, softmax and quantisation: what works element by element."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyc.backends.cortexm.kernels import mul, softmax
from tinyc.backends.cortexm.kernels.add import add_spec
from tinyc.backends.cortexm.kernels.dequantize import DequantizeSpec
from tinyc.backends.cortexm.kernels.elementwise import BinarySpec, Broadcast, pack_operand
from tinyc.backends.cortexm.kernels.max_pool import MaxPoolSpec
from tinyc.backends.cortexm.kernels.quantize import QuantizeSpec
from tinyc.backends.cortexm.lowered import WHOLE, Lowered, Operand, refuse
from tinyc.interpreter.plans import add_plan, clamp_bounds, mul_plan, scale_of, softmax_op_plan
from tinyc.ir.nn_base import constant_of, tensor_of
from tinyc.ir.nn_elementwise import AddOp, BroadcastingOp, ClampOp, DequantizeOp, MulOp, QuantizeOp, SoftmaxOp
from tinyc.memory.row_access import EACH_ROW, RowAccess
from tinyc.numerics.profile import Profile
from tinyc.numerics.quantization import dequantization_plan, quantization_plan


@dataclass(frozen=True)
class BinaryRows:
    """How a binary op is cut into rows: `rows` of `elements`, and how the second operand maps to one of them.

    `swapped` says that the kernel takes the op's operands in the other order.
    """

    rows: int
    elements: int
    channels: int
    broadcast: Broadcast
    access: RowAccess
    constant: npt.NDArray[Any] | None
    swapped: bool = False


def binary_rows(op: BroadcastingOp, commutes: bool = False) -> BinaryRows:
    """The cut for `op`, whose first operand has the result's shape and is no constant; with `commutes` the second may be that one.

    Raises CannotLower for a broadcast that no kernel does.
    """
    if commutes and _fits_first(op, 1) and not _fits_first(op, 0):
        return replace(_cut(op, 1, 0), swapped=True)
    return _cut(op, 0, 1)


def _fits_first(op: BroadcastingOp, index: int) -> bool:
    return op.operand_tensor(index).shape == op.out.shape and constant_of(op.operands[index]) is None


def _cut(op: BroadcastingOp, first_index: int, second_index: int) -> BinaryRows:
    out, second = op.out, op.operand_tensor(second_index)
    if op.operand_tensor(first_index).shape != out.shape:
        refuse(
            "shape", "the first operand must have the result's shape", "run canonicalize first; broadcasting both operands is not supported"
        )
    data = constant_of(op.operands[second_index])
    constant = None if data is None else data.array
    rows, elements, channels = out.rows, out.elements // out.rows, out.shape[-1] if out.shape else 1
    shape = (1,) * (len(out.shape) - len(second.shape)) + second.shape
    if second.elements == 1:
        return BinaryRows(rows, elements, channels, Broadcast.SCALAR, WHOLE, constant)
    if second.elements == channels and shape[-1] == channels:
        return BinaryRows(rows, elements, channels, Broadcast.CHANNEL, WHOLE, constant)
    if shape == out.shape:
        if constant is not None:
            # A table is not cut into rows: the whole tensor is one.
            return BinaryRows(1, out.elements, channels, Broadcast.SAME, WHOLE, constant)
        return BinaryRows(rows, elements, channels, Broadcast.SAME, EACH_ROW, None)
    if len(shape) == 4 and shape[0] == out.shape[0] == 1:
        if shape[1] == 1 and shape[2:] == out.shape[2:]:
            return BinaryRows(rows, elements, channels, Broadcast.SAME, WHOLE, constant)
        if shape[1] == rows and shape[2] == 1 and constant is None:
            if shape[3] == channels:
                return BinaryRows(rows, elements, channels, Broadcast.CHANNEL, EACH_ROW, None)
            if shape[3] == 1:
                return BinaryRows(rows, elements, channels, Broadcast.SCALAR, EACH_ROW, None)
    if constant is not None:
        return BinaryRows(1, out.elements, channels, Broadcast.SAME, WHOLE, np.broadcast_to(constant, out.shape))
    hint = "the second operand may have the result's shape, one value, one per channel, one row, or one per row (and channel)"
    refuse("shape", f"broadcasting {list(second.shape)} to {list(out.shape)} is not supported", hint)


def binary_call(op: BroadcastingOp, cut: BinaryRows, spec: BinarySpec) -> Lowered:
    """The call of the kernel `spec` for `op`, cut as `cut` says."""
    first_value, second_value = reversed(op.operands) if cut.swapped else op.operands
    first = Operand(first_value, EACH_ROW, cut.rows)
    if cut.constant is not None:
        return Lowered(spec, (first,), pack_operand(spec, cut.constant), (0,), cut.rows)
    in_place = (0, 1) if cut.access == EACH_ROW and cut.broadcast is Broadcast.SAME else (0,)
    # An operand of lower rank, such as (C, 1, 1), has the rows that its dimensions broadcast to.
    second = Operand(second_value, cut.access, cut.rows if cut.access == EACH_ROW else None)
    return Lowered(spec, (first, second), (), in_place, cut.rows)


def lower_add(op: AddOp, profile: Profile) -> Lowered:
    """Addition by rows."""
    cut = binary_rows(op)
    return binary_call(op, cut, add_spec(cut.elements, cut.channels, cut.broadcast, cut.constant is not None, add_plan(op, profile)))


def lower_mul(op: MulOp, profile: Profile) -> Lowered:
    """Multiplication by rows."""
    cut = binary_rows(op)
    return binary_call(op, cut, mul.MulSpec(cut.elements, cut.channels, cut.broadcast, cut.constant is not None, mul_plan(op, profile)))


def lower_clamp(op: ClampOp, profile: Profile) -> Lowered:
    """A clamp that could not be fused is a pool over single elements."""
    elements = op.out.elements // op.out.rows
    lower, upper = clamp_bounds(op, profile)
    spec = MaxPoolSpec(elements, 1, elements, 1, 1, 1, 0, lower, upper)
    return Lowered(spec, (Operand(op.operands[0], EACH_ROW),))


def lower_softmax(op: SoftmaxOp, profile: Profile) -> Lowered:
    """Softmax over the last dimension."""
    depth, plan = op.out.shape[-1], softmax_op_plan(op, profile)
    try:
        spec = softmax.softmax_spec(op.out.elements // op.out.rows // depth, depth, plan)
    except ValueError as error:
        refuse("shape", str(error))
    return Lowered(spec, (Operand(op.operands[0], EACH_ROW),), softmax.pack(plan))


def lower_quantize(op: QuantizeOp, profile: Profile) -> Lowered:
    """float32 to int8 by rows."""
    plan = quantization_plan(profile, scale_of(op.out), op.out.zero_point)
    return Lowered(QuantizeSpec(op.out.elements // op.out.rows, plan), (Operand(op.operands[0], EACH_ROW),))


def lower_dequantize(op: DequantizeOp, profile: Profile) -> Lowered:
    """int8 to float32 by rows."""
    source = tensor_of(op.operands[0])
    plan = dequantization_plan(scale_of(source), source.zero_point)
    return Lowered(DequantizeSpec(op.out.elements // op.out.rows, plan), (Operand(op.operands[0], EACH_ROW),))
