"""Which requantisation a layer got when its kernel was selected, as a recorded choice."""

from __future__ import annotations

from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.kernels.output_stage import OutputForm, OutputStage
from tinyc.backends.cortexm.kernels.statements import CoreForm
from tinyc.ir.mcu import CallOp, TableOp, row_shape
from tinyc.report.choices import Alternative, Choice

_COSTS = {
    CoreForm.CORTEX_M4: {OutputForm.INTEGER: 3, OutputForm.MIXED: 4, OutputForm.FLOAT: 8, OutputForm.SHIFT: 6, OutputForm.GENERAL: 14},
    CoreForm.CORTEX_M7: {OutputForm.INTEGER: 2, OutputForm.MIXED: 3, OutputForm.FLOAT: 9, OutputForm.SHIFT: 8, OutputForm.GENERAL: 16},
}
"""Of an output, rounded, in the unit of the core: docs/kernels.md."""
_FIXED_POINT = (OutputForm.INTEGER, OutputForm.SHIFT, OutputForm.GENERAL)
_SCALED = (OutputForm.INTEGER, OutputForm.MIXED, OutputForm.FLOAT)
_NEEDS = {
    OutputForm.INTEGER: "needs a proof for every channel",
    OutputForm.MIXED: "needs proofs for more than half of the channels",
    OutputForm.SHIFT: "needs right shifts, and offsets that fit 32 bits",
}


def requantisation_choice(call: CallOp, name: str) -> Choice | None:
    """The forms of the layer's profile, the cheapest first, and how many channels have a proof; None for layers without channels."""
    spec = decode_kernel(call.kernel)
    stage = getattr(spec, "output_stage", None)
    table = call.tables[-1].owner if call.tables else None
    if not isinstance(stage, OutputStage) or not isinstance(table, TableOp):
        return None
    forms = _FIXED_POINT if stage.form in (OutputForm.SHIFT, OutputForm.GENERAL) else _SCALED
    channels = table.fields.data[0].array.size
    entry_bytes = 16 if stage.form in (OutputForm.SHIFT, OutputForm.GENERAL) else 8
    outputs = row_shape(call.output)[0] * row_shape(call.output)[1]
    costs = _COSTS[getattr(spec, "core", CoreForm.CORTEX_M4)]
    alternatives = []
    for form in forms:
        taken = form is stage.form
        if taken and form is OutputForm.MIXED:
            proved = int((table.fields.data[1].array >= 0).sum())
            reason = f"{proved} of {channels} channels have a proof"
        elif taken:
            reason = "every channel has a proof" if form is OutputForm.INTEGER else "what costs less has no proof"
        else:
            dearer = forms.index(form) > forms.index(stage.form)
            reason = "costs more" if dearer else _NEEDS[form]
        size = (16 if form in (OutputForm.SHIFT, OutputForm.GENERAL) else 8) * channels if forms is _FIXED_POINT else entry_bytes * channels
        alternatives.append(Alternative(form.value, taken, reason, outputs * costs[form], size))
    return Choice(name, "requantisation", "select-kernels", tuple(alternatives))
