"""The tensor type of the `nn` dialect: shape, element type and, for quantised activations, one scale and zero point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.ir import Data, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

ELEMENT_BYTES = {"i8": 1, "i32": 4, "i64": 8, "f32": 4}
"""Element types of tensors and their size in bytes."""

NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "i8": np.dtype(np.int8),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "f32": np.dtype(np.float32),
}


def float32_text(value: float) -> str:
    """The shortest text that reads back as the same float32, in the IR's syntax for floating point (a point is required)."""
    text = (
        repr(np.float32(value).item()) if not np.isfinite(value) else np.format_float_scientific(np.float32(value), unique=True, trim="0")
    )
    mantissa, _, exponent = text.partition("e")
    if exponent and -4 <= int(exponent) <= 6:
        text = np.format_float_positional(np.float32(value), unique=True, trim="0")
    else:
        text = f"{mantissa}e{int(exponent)}"
    return text


@dataclass(frozen=True)
class Tensor:
    """Shape, element type (`i8`, `i32`, `i64` or `f32`) and quantisation: real = scale * (q - zero_point). `scale` is a float32 value."""

    shape: tuple[int, ...]
    element: str
    scale: float | None = None
    zero_point: int = 0

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return self.elements * ELEMENT_BYTES[self.element]

    @property
    def rows(self) -> int:
        """How many rows the tensor has in memory: its height for an image (1, H, W, C), its first dimension for a matrix, otherwise 1."""
        if len(self.shape) == 4 and self.shape[0] == 1:
            return self.shape[1]
        return self.shape[0] if len(self.shape) == 2 else 1

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.size_bytes // self.rows


@irdl_attr_definition
class TensorType(Data[Tensor], TypeAttribute):
    """`!nn.tensor<[1, 8, 8, 16], i8, 0.05 : -128>`; the quantisation is left out where there is none."""

    name = "nn.tensor"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Tensor:
        with parser.in_angle_brackets():
            shape = parser.parse_comma_separated_list(
                parser.Delimiter.SQUARE, lambda: parser.parse_integer(allow_boolean=False, allow_negative=False)
            )
            parser.parse_punctuation(",")
            element = parser.parse_identifier()
            if element not in ELEMENT_BYTES:
                parser.raise_error(f"element type must be one of {', '.join(ELEMENT_BYTES)}")
            if parser.parse_optional_punctuation(",") is None:
                return Tensor(tuple(shape), element)
            scale = float(np.float32(parser.parse_float()))
            parser.parse_punctuation(":")
            return Tensor(tuple(shape), element, scale, parser.parse_integer(allow_boolean=False))

    def print_parameter(self, printer: Printer) -> None:
        tensor = self.data
        quantisation = f", {float32_text(tensor.scale)} : {tensor.zero_point}" if tensor.scale is not None else ""
        printer.print_string(f"<[{', '.join(map(str, tensor.shape))}], {tensor.element}{quantisation}>")
