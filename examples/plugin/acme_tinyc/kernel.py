"""How acme.negate becomes C: a kernel spec and the rule that chooses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from acme_tinyc.dialect import NegateOp
from tinyc.backends.cortexm.kernels.base import Form, KernelSpec
from tinyc.backends.cortexm.lowered import Lowered, Operand
from tinyc.memory.row_access import EACH_ROW
from tinyc.numerics.profile import Profile


@dataclass(frozen=True)
class NegateSpec(KernelSpec):
    """A row of `elements` bytes; the output may be the input's memory."""

    elements: int

    form: ClassVar[Form] = Form.ROW

    @property
    def family(self) -> str:
        return "acme_negate"

    def source(self, symbol: str) -> str:
        return f"""static void {symbol}(const int8_t *input, int8_t *output)
{{
    for (int32_t index = 0; index < {self.elements}; ++index) {{
        output[index] = (int8_t)(-1 - input[index]);
    }}
}}
"""


def lower_negate(op: NegateOp, profile: Profile) -> Lowered:
    """One call per row, in place where the input dies."""
    return Lowered(NegateSpec(op.out.row_bytes), (Operand(op.operands[0], EACH_ROW),), in_place=(0,))
