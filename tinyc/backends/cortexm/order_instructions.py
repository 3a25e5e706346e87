"""order-instructions: kernels in the form for one core.

Cortex-M4 takes one instruction after the other, and the fewest are the best. Cortex-M7 takes two a cycle where they do not wait for each
other, so that loads cost nothing beside products that need none of them. Passes behind this one choose by what a form costs on its core.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tinyc.backends.cortexm.calls import set_kernel
from tinyc.backends.cortexm.explain_output import requantisation_choice
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.errors import UsageError, printable
from tinyc.ir.schedule import steps_of
from tinyc.passes.choices import recorder
from tinyc.passes.pins import layer_names

CORE_FORMS = tuple(form.value for form in CoreForm)
"""Cores that kernels have a form for."""


@dataclass(frozen=True)
class OrderInstructions(ModulePass):
    """Give all kernels that have one the form for `core`: cortex-m4 or cortex-m7."""

    name = "order-instructions"
    core: str = CoreForm.CORTEX_M4.value

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        form = _form(self.core)
        for step in steps_of(op):
            for call in step.calls:
                spec: Any = decode_kernel(call.kernel)
                if any(field.name == "core" for field in dataclasses.fields(spec)) and spec.core is not form:
                    set_kernel(call, dataclasses.replace(spec, core=form))
        choices = recorder(ctx)
        if choices is not None:
            # What select-kernels told about requantisation had the costs of another core.
            told = (requantisation_choice(call, name) for call, name in layer_names(op).items())
            choices += [choice for choice in told if choice is not None]


def _form(core: str) -> CoreForm:
    """Raises UsageError for a core without a form of its own."""
    try:
        return CoreForm(core)
    except ValueError:
        raise UsageError(f"order-instructions: core must be one of {', '.join(CORE_FORMS)}, got {printable(core)}") from None
