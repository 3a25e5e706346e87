"""What a lowering rule returns, and what rules share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from xdsl.ir import SSAValue

from tinyc.backends.cortexm.kernels.base import KernelSpec, Table
from tinyc.ir.nn_base import constant_of
from tinyc.memory.row_access import RowAccess

WHOLE = RowAccess(window=0)
"""The operand is needed whole and passed by one pointer, such as one that is broadcast over rows."""


class CannotLower(Exception):
    """A rule has no kernel for its op; becomes a diagnostic."""

    def __init__(self, attribute: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.attribute, self.reason, self.hint = attribute, reason, hint


@dataclass(frozen=True)
class Operand:
    """A run-time input: the value, how rows read it (for `Form.ROW`), and the rows that it is divided into where they are not its own."""

    value: SSAValue
    access: RowAccess = WHOLE
    rows: int | None = None


@dataclass(frozen=True)
class Lowered:
    """One kernel call for one op. `output_rows` divides the result into other rows than its own; `in_place` lists operands by position."""

    spec: KernelSpec
    operands: tuple[Operand, ...]
    tables: tuple[Table, ...] = ()
    in_place: tuple[int, ...] = ()
    output_rows: int | None = None


def refuse(attribute: str, reason: str, hint: str = "") -> NoReturn:
    """Ends a rule."""
    raise CannotLower(attribute, reason, hint)


def constant_array(value: SSAValue, what: str) -> npt.NDArray[Any]:
    """Data of a constant operand. Raises CannotLower where it is computed at run time."""
    data = constant_of(value)
    if data is None:
        refuse(what, f"{what} must be constant")
    return data.array


def weights_and_bias(operands: Sequence[SSAValue]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32] | None]:
    """Constant operands 1 and, where present, 2."""
    bias = constant_array(operands[2], "bias") if len(operands) > 2 else None
    return constant_array(operands[1], "weights"), bias
