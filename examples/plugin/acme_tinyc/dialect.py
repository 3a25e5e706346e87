"""The dialect `acme` with one op, and what the op means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from xdsl.ir import Dialect
from xdsl.irdl import irdl_op_definition

from tinyc.ir.nn_base import ElementwiseOp, require, require_int8
from tinyc.numerics.profile import Profile


@irdl_op_definition
class NegateOp(ElementwiseOp):
    """-1 - q for each quantised element: the bitwise complement, a mirror image around zero."""

    name = "acme.negate"
    TITLE: ClassVar[str] = "ACME_NEGATE"

    def in_place_operands(self) -> tuple[int, ...]:
        return (0,)

    def verify_op(self) -> None:
        require_int8(self.operand_tensor(0), "input")
        require(self.operand_tensor(0) == self.out, "negate keeps the type of its input")


def evaluate_negate(op: NegateOp, operands: Sequence[npt.NDArray[Any]], profile: Profile) -> npt.NDArray[Any]:
    """The complement of every byte."""
    return np.invert(operands[0])


ACME = Dialect("acme", [NegateOp], [])
