"""ADD and SUB: seven instructions an element where one shift is proved equal to the profile's rule, which is nearly always."""

from __future__ import annotations

from dataclasses import dataclass

from tinyc.backends.cortexm.kernels.base import c_number, render
from tinyc.backends.cortexm.kernels.elementwise import BinarySpec, Broadcast
from tinyc.numerics.addition import AdditionPlan, FixedPointAddition, ShiftedAddition, equivalent_shifted_addition
from tinyc.numerics.onnxruntime import DequantizedAddition, FloatAddition, SwappedFloatAddition


@dataclass(frozen=True)
class AddSpec(BinarySpec):
    """A row of sums; `plan` is what the body computes, see add_spec."""

    plan: AdditionPlan

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.plan, FixedPointAddition) and self.plan.output_shift > 0:
            raise ValueError(f"the output scale is too small for the input scales: output shift {self.plan.output_shift}")

    @property
    def family(self) -> str:
        return "sub" if self.subtracts else "add"

    @property
    def subtracts(self) -> bool:
        """Whether one operand is taken off the other."""
        if isinstance(self.plan, FixedPointAddition):
            return min(self.plan.first_sign, self.plan.second_sign) < 0
        if self.floating is not None:
            return min(self.floating.first_ratio, self.floating.second_ratio) < 0
        if isinstance(self.plan, DequantizedAddition):
            return min(self.plan.first_scale, self.plan.second_scale) < 0
        assert isinstance(self.plan, ShiftedAddition)
        return min(self.plan.first_multiplier, self.plan.second_multiplier) < 0

    @property
    def floating(self) -> FloatAddition | None:
        """The sum in float32, if the body is that."""
        if isinstance(self.plan, SwappedFloatAddition):
            return self.plan.plan
        return self.plan if isinstance(self.plan, FloatAddition) else None

    @property
    def swapped(self) -> bool:
        """Whether the sum in float32 takes the operands in the other order."""
        return isinstance(self.plan, SwappedFloatAddition)

    @property
    def dequantized(self) -> bool:
        """Whether the body adds dequantised operands."""
        return isinstance(self.plan, DequantizedAddition)

    @property
    def shifted(self) -> bool:
        """Whether the body is the short one."""
        return isinstance(self.plan, ShiftedAddition)

    def source(self, symbol: str) -> str:
        return render("add.c.j2", symbol=symbol, spec=self, plan=self.plan, subtracts=self.subtracts, number=c_number)


def add_spec(elements: int, channels: int, broadcast: Broadcast, constant: bool, plan: AdditionPlan) -> AddSpec:
    """Spec of one row for `plan`, which is replaced by a cheaper plan with the same results where there is one."""
    return AddSpec(elements, channels, broadcast, constant, equivalent_shifted_addition(plan) or plan)
