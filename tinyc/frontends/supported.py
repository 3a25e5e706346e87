"""What the front ends take, as a table: the operators of their rules, and what each asks of a node."""

from __future__ import annotations

from collections.abc import Mapping

from tinyc.frontends.tflite_refusals import REFUSALS
from tinyc.frontends.tflite_rules import RULES
from tinyc.frontends.tflite_uint8 import UINT8_OPS

_IMAGE = "image [1, H, W, C]"
_WEIGHTS = "constant int8 weights, symmetric, one scale or one per output channel; constant int32 bias or none"
_BROADCAST = "one operand has the result's shape; the other is equal, one value, one per channel, one row, or one per row (and channel)"
_KEEPS = "input and output share scale and zero point"
_UNARY = "any shape; any scales"
_CONSTANT = "constant parameters"

CONSTRAINTS: Mapping[str, str] = {
    "ABS": _UNARY,
    "ADD": f"{_BROADCAST}; fused activation",
    "ARG_MAX": "one constant axis; int32 or int64 result",
    "AVERAGE_POOL_2D": f"{_IMAGE}; any window, stride and padding; {_KEEPS}; fused activation",
    "CONCATENATION": f"any number of inputs, any axis; {_KEEPS}; no fused activation",
    "CONV_2D": f"{_IMAGE}; any kernel, stride, dilation, padding, groups; {_WEIGHTS}; fused activation",
    "DEPTHWISE_CONV_2D": f"{_IMAGE}; any kernel, stride, dilation, padding, depth multiplier; {_WEIGHTS}; fused activation",
    "DEPTH_TO_SPACE": f"{_IMAGE}; {_KEEPS}",
    "DEQUANTIZE": "int8 to float32, at the boundary",
    "ELU": _UNARY,
    "EXPAND_DIMS": _CONSTANT,
    "FILL": f"{_CONSTANT}; folded",
    "FULLY_CONNECTED": f"any number of rows; {_WEIGHTS}; fused activation; default weights format",
    "HARD_SWISH": _UNARY,
    "LEAKY_RELU": _UNARY,
    "LOGISTIC": f"{_UNARY}; output scale 1/256, zero point -128",
    "MAXIMUM": f"{_BROADCAST}; {_KEEPS}",
    "MAX_POOL_2D": f"{_IMAGE}; any window, stride and padding; {_KEEPS}; fused activation",
    "MEAN": "any constant axes, with or without keep_dims; any scales",
    "MINIMUM": f"{_BROADCAST}; {_KEEPS}",
    "MIRROR_PAD": f"{_CONSTANT}; reflect or symmetric",
    "MUL": f"{_BROADCAST}; fused activation",
    "NEG": "equal scales and zero points of 0, which LiteRT's kernel takes for granted",
    "PACK": "any axis",
    "PAD": f"{_CONSTANT}, none negative; {_KEEPS}",
    "PADV2": f"{_CONSTANT}, none negative; any padding value",
    "PRELU": "constant slope that broadcasts to the input",
    "QUANTIZE": "float32 to int8 at the boundary; int8 or uint8 to int8 anywhere",
    "REDUCE_MAX": f"constant axes; {_KEEPS}",
    "RELU": _UNARY,
    "RELU6": _UNARY,
    "RELU_N1_TO_1": _UNARY,
    "RESHAPE": "static shapes",
    "RESIZE_BILINEAR": f"{_IMAGE}; constant size; align_corners, half_pixel_centers",
    "RESIZE_NEAREST_NEIGHBOR": f"{_IMAGE}; constant size; align_corners, half_pixel_centers",
    "SHAPE": "folded",
    "SLICE": _CONSTANT,
    "SOFTMAX": "last dimension, up to 4095 values; any beta; output scale 1/256, zero point -128",
    "SPACE_TO_DEPTH": f"{_IMAGE}; {_KEEPS}",
    "SPLIT": _CONSTANT,
    "SPLIT_V": _CONSTANT,
    "SQUEEZE": "static shapes",
    "STRIDED_SLICE": f"{_CONSTANT}; all masks; negative strides",
    "SUB": f"{_BROADCAST}; fused activation",
    "TANH": f"{_UNARY}; output scale 1/128, zero point 0",
    "TRANSPOSE": f"{_CONSTANT}; up to 6 dimensions",
    "TRANSPOSE_CONV": f"{_IMAGE}; stride up to 16; {_WEIGHTS}; fused activation",
    "UNPACK": "any axis",
}
"""One line for each operator of RULES; a test holds both together."""


def supported_ops_markdown() -> str:
    """The table as Markdown: operators taken, then those refused on principle."""
    lines = [
        "# Supported operators",
        "",
        "This file is the output of `tinyc ops`. Tensors have static shapes; activations are int8 with one scale and zero point, or uint8",
        "where marked, which becomes int8 by a shift of 128. What a rule does not cover is refused with node, attribute, reason and hint.",
        "",
        "## TFLite",
        "",
        "| operator | uint8 | constraints |",
        "|---|---|---|",
    ]
    lines += [f"| {op} | {'yes' if op in UINT8_OPS else ''} | {CONSTRAINTS[op]} |" for op in sorted(RULES)]
    lines += ["", "## Refused on principle", "", "| operator | why |", "|---|---|"]
    lines += [f"| {op} | {why} |" for op, (why, _) in sorted(REFUSALS.items())]
    return "\n".join(lines) + "\n"
