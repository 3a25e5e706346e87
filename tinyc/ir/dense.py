"""Constant data by reference: the IR carries a handle, equality is by content, and text shows a digest unless all is asked for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.ir import Data
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from tinyc.errors import ModelError

DENSE_TYPES: dict[str, np.dtype[Any]] = {
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "f32": np.dtype(np.float32),
}
INLINE_ELEMENTS = 8
"""Constants up to this many integers are always printed in full: shapes, paddings, scalars."""


@dataclass(frozen=True)
class Dense:
    """An array known at compile time. `content` is None after reading text in which the data was left out."""

    shape: tuple[int, ...]
    element: str
    digest: str
    content: bytes | None = field(compare=False, repr=False)


@irdl_attr_definition
class DenseAttr(Data[Dense]):
    """`#nn.dense<[2, 2], i32, values [0, 1, 1, 0]>`, `... sha256 "..."` (data left out) or `... base64 "..."` (data in full)."""

    name = "nn.dense"

    @staticmethod
    def of(array: npt.NDArray[Any]) -> DenseAttr:
        """A handle on a copy of `array` (dtype int8, int16, int32, int64 or float32)."""
        element = next(name for name, dtype in DENSE_TYPES.items() if dtype == array.dtype)
        content = np.ascontiguousarray(array).tobytes()
        return DenseAttr(Dense(tuple(int(size) for size in array.shape), element, hashlib.sha256(content).hexdigest(), content))

    @property
    def array(self) -> npt.NDArray[Any]:
        """The data as a read-only array. Raises ModelError where the text it was read from left the data out."""
        if self.data.content is None:
            raise ModelError("this IR was printed without its weights, which are needed here; print it with --print-weights")
        return np.frombuffer(self.data.content, DENSE_TYPES[self.data.element]).reshape(self.data.shape)

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Dense:
        with parser.in_angle_brackets():
            shape = tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, lambda: parser.parse_integer(allow_negative=False)))
            parser.parse_punctuation(",")
            element = parser.parse_identifier()
            if element not in DENSE_TYPES:
                parser.raise_error(f"element type must be one of {', '.join(DENSE_TYPES)}")
            parser.parse_punctuation(",")
            form = parser.parse_identifier()
            if form == "sha256":
                return Dense(shape, element, parser.parse_str_literal(), None)
            if form == "values":
                values = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer)
                try:
                    content = np.array(values, DENSE_TYPES[element]).tobytes()
                except OverflowError:
                    parser.raise_error(f"a value does not fit {element}")
            elif form == "base64":
                try:
                    content = base64.b64decode(parser.parse_str_literal(), validate=True)
                except binascii.Error as error:
                    parser.raise_error(f"bad base64: {error}")
            else:
                parser.raise_error("expected `values`, `base64` or `sha256`")
            if len(content) != math.prod(shape) * DENSE_TYPES[element].itemsize:
                parser.raise_error(f"{len(content)} bytes of data do not fill the shape {list(shape)} of {element}")
            return Dense(shape, element, hashlib.sha256(content).hexdigest(), content)

    def print_parameter(self, printer: Printer) -> None:
        dense = self.data
        content = dense.content
        if content is not None and dense.element != "f32" and math.prod(dense.shape) <= INLINE_ELEMENTS:
            body = f"values [{', '.join(str(value) for value in self.array.ravel())}]"
        elif content is not None and getattr(printer, "print_weights", False):
            body = f'base64 "{base64.b64encode(content).decode()}"'
        else:
            body = f'sha256 "{dense.digest}"'
        printer.print_string(f"<[{', '.join(map(str, dense.shape))}], {dense.element}, {body}>")
