"""The addition of another tensor as the last part of a convolution's kernel, for ADD and SUB whose sum is one proved shift.

The convolution's output is computed as ever, to an int8 in a register; then a byte of the other tensor is loaded from the same place, and
two multiplications, a saturating shift and the store follow: four instructions an element, where a kernel of its own takes seven or eight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tinyc.backends.cortexm.kernels.base import Table
from tinyc.numerics.addition import AdditionPlan, equivalent_shifted_addition

USUAL_SHIFT = 20
"""Tried first: layers can share code only where their shifts are equal."""


@dataclass(frozen=True)
class FusedAddition:
    """What a body's text must know of the addition; its factors and bias lie in a table."""

    shift: int
    minimum: int
    maximum: int

    def __post_init__(self) -> None:
        if not 1 <= self.shift <= 31:
            raise ValueError(f"the shift of an addition must be 1 to 31, not {self.shift}")

    @property
    def clamped_by_saturation(self) -> bool:
        """Whether the bounds are those of int8 itself."""
        return (self.minimum, self.maximum) == (-128, 127)


@lru_cache(maxsize=64)
def fused_addition(plan: AdditionPlan, first: bool) -> tuple[FusedAddition, Table] | None:
    """How a convolution computes `plan` with its output as the `first` operand or the other one, and the table of the constants.

    None where no single shift is proved equal to `plan` on all pairs of operands.
    """
    found = equivalent_shifted_addition(plan, USUAL_SHIFT)
    if found is None:
        return None
    own, other = (found.first_multiplier, found.second_multiplier) if first else (found.second_multiplier, found.first_multiplier)
    fields = [(name, "i4") for name in ("own", "other", "bias", "shift")]
    values = np.array([(own, other, found.bias, found.shift)], dtype=fields)
    return FusedAddition(found.shift, found.minimum, found.maximum), Table("addition", "tinyc_addition", values)
