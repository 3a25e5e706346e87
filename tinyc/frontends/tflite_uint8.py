"""Which ops are taken on uint8 tensors, the type of TFLite's first converter; the reader makes them int8, values and zero points 128 lower.

Shifting changes no result of an op that subtracts zero points or moves bytes. Exceptions are marked on the op by its rule (averages, which
round halves away from uint8's 0; depthwise convolutions, which XNNPACK does not take on uint8) or are not in the list. LOGISTIC and TANH
add the zero point in float32, where the shift can show: in the last place of a value half-way between two outputs. docs/numerics.md has the
evidence.
"""

from __future__ import annotations

UINT8_OPS = frozenset(
    {
        "ADD",
        "ARG_MAX",
        "AVERAGE_POOL_2D",
        "CONCATENATION",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "DEPTH_TO_SPACE",
        "DEQUANTIZE",
        "EXPAND_DIMS",
        "FULLY_CONNECTED",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOGISTIC",
        "MAXIMUM",
        "MAX_POOL_2D",
        "MINIMUM",
        "MIRROR_PAD",
        "MUL",
        "PACK",
        "PAD",
        "PADV2",
        "PRELU",
        "QUANTIZE",
        "REDUCE_MAX",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RESHAPE",
        "RESIZE_NEAREST_NEIGHBOR",
        "SLICE",
        "SOFTMAX",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SPLIT_V",
        "SQUEEZE",
        "STRIDED_SLICE",
        "SUB",
        "TANH",
        "TRANSPOSE",
        "UNPACK",
    }
)
