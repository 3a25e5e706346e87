"""ONNX ops that tinyc refuses on principle: the reason, and what to do instead. For other unknown ops the hint lists the supported."""

from __future__ import annotations

from collections.abc import Mapping

_RECURRENT = (
    "recurrent layers keep state between calls, which tinyc does not support",
    "use a convolutional network, or unroll the recurrence over a fixed number of steps",
)
_CONTROL_FLOW = (
    "control flow is decided at run time, which tinyc does not support",
    "export a plain feed-forward graph, with fixed shapes and loops unrolled",
)
_DYNAMIC = (
    "scales that are computed at run time are not supported",
    "quantise the activations statically: tinyc quantize MODEL --calibration DATA.npz -o MODEL.int8.onnx",
)
_POST_PROCESSING = (
    "the number of results is known at run time only",
    "end the network before this op and do the post-processing in your own code",
)

REFUSALS: Mapping[str, tuple[str, str]] = {
    "ConvInteger": _DYNAMIC,
    "DynamicQuantizeLinear": _DYNAMIC,
    "MatMulInteger": _DYNAMIC,
    "com.microsoft.DynamicQuantizeMatMul": _DYNAMIC,
    "com.microsoft.MatMulIntegerToFloat": _DYNAMIC,
    "GRU": _RECURRENT,
    "LSTM": _RECURRENT,
    "RNN": _RECURRENT,
    "If": _CONTROL_FLOW,
    "Loop": _CONTROL_FLOW,
    "Scan": _CONTROL_FLOW,
    "BatchNormalization": (
        "batch normalisation between quantised tensors is not supported",
        "fold it into the convolution before quantising, as ONNX Runtime's quant_pre_process and tinyc quantize do",
    ),
    "NonMaxSuppression": _POST_PROCESSING,
    "NonZero": _POST_PROCESSING,
    "TopK": _POST_PROCESSING,
}
