"""Which float operators can be quantised, and the refusal of the others."""

from __future__ import annotations

import numpy as np

from tinyc.errors import Diagnostic, ModelError, UnsupportedError, printable
from tinyc.quantize.graph import Graph

WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})
QUANTISABLE = WEIGHTED | {
    "Abs",
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Elu",
    "Flatten",
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "MaxPool",
    "Mul",
    "Pad",
    "Relu",
    "Reshape",
    "Resize",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
}

_NORMALISATION = "batch normalisation costs nothing: it folds into the layer before it"
_SMOOTH = "Relu, LeakyRelu and HardSwish have an 8-bit form; train the network with one of them"
HINTS = {
    "ConvTranspose": "enlarge by Resize (nearest) and a convolution",
    "Erf": _SMOOTH,
    "Gelu": _SMOOTH,
    "GroupNormalization": _NORMALISATION,
    "InstanceNormalization": _NORMALISATION,
    "LayerNormalization": _NORMALISATION,
    "LogSoftmax": "export the network without it, or with Softmax: the largest output stays the largest",
    "Mish": _SMOOTH,
    "PRelu": "one slope for all channels would be LeakyRelu",
    "Softplus": _SMOOTH,
}
"""What to do instead, by operator."""


def check_supported(graph: Graph, file: str) -> None:
    """Raises UnsupportedError with every node that cannot be quantised, and ModelError where a shape or a constant is none."""
    refused = [
        Diagnostic(
            file,
            node.name,
            node.op_type,
            "",
            "has no 8-bit form here",
            HINTS.get(node.op_type, f"operators that can be quantised: {', '.join(sorted(QUANTISABLE))}"),
        )
        for node in graph.nodes
        if node.op_type not in QUANTISABLE
    ]
    if refused:
        raise UnsupportedError(refused)
    for name, values in graph.constants.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModelError(f"{printable(file)}: {printable(name)} exceeds the range of float32 once constants are folded")
    shapes = graph.shapes()
    for node in graph.nodes:
        if node.output[0] not in shapes:
            raise ModelError(f"{printable(file)}: the shape of {printable(node.output[0])} depends on more than the input's shape")
