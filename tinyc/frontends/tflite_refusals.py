"""Ops that tinyc refuses on principle: the reason, and what to do instead. For any other unknown op the hint lists the supported ones."""

from __future__ import annotations

from collections.abc import Mapping

_RECURRENT = (
    "recurrent layers keep state between calls, which tinyc does not support",
    "use a convolutional network, or unroll the recurrence over a fixed number of steps",
)
_CONTROL_FLOW = (
    "control flow is decided at run time, which tinyc does not support",
    "export a plain feed-forward graph: convert the model in inference mode, with fixed shapes and loops unrolled",
)
_VARIABLES = (
    "variables keep state between calls, which tinyc does not support",
    "make the state an input and an output of the network",
)
_BATCHES = (
    "only known around a convolution, as the converter writes a dilated one: stride 1, constant blocks and paddings, nothing in between",
    "give the convolution a dilation instead",
)
_POST_PROCESSING = (
    "detection post-processing is not supported",
    "cut the model before it and decode the boxes in the application",
)

REFUSALS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        (
            "BIDIRECTIONAL_SEQUENCE_LSTM",
            "BIDIRECTIONAL_SEQUENCE_RNN",
            "LSTM",
            "RNN",
            "SVDF",
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            "UNIDIRECTIONAL_SEQUENCE_RNN",
        ),
        _RECURRENT,
    ),
    **dict.fromkeys(("CALL", "CALL_ONCE", "IF", "STABLEHLO_CASE", "STABLEHLO_WHILE", "WHILE"), _CONTROL_FLOW),
    **dict.fromkeys(("ASSIGN_VARIABLE", "READ_VARIABLE", "VAR_HANDLE"), _VARIABLES),
    **dict.fromkeys(("BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND"), _BATCHES),
    **dict.fromkeys(("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5"), _POST_PROCESSING),
}
"""Reason and hint by op."""
