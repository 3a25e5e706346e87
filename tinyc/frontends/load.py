"""Any model file that tinyc reads: TFLite by its content, ONNX and tinyc's own IR text by their suffixes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from tinyc.errors import ModelError, UsageError, printable
from tinyc.frontends.tflite import import_tflite
from tinyc.ir.text import parse_module

MAX_FILE_BYTES = 256 << 20
"""Larger files are refused unread: no part holds a hundredth of that."""


def load_model(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None, approximate: bool = False) -> ModuleOp:
    """Module of the model file at `path`; `shapes` gives inputs of an ONNX model other shapes, by name, and with `approximate` such a model
    may have layers that ONNX Runtime computes in float32.

    Raises ModelError (missing, unreadable, not a model), UnsupportedError, and UsageError for shapes that the model does not take
    and for `approximate` without an ONNX model.
    """
    try:
        if path.is_dir():
            raise ModelError(f"{printable(path)}: is a folder, expected a model file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(f"{printable(path)}: {size} bytes, more than any model for a microcontroller")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{printable(path)}: {error.strerror or error}") from error
    if shapes and path.suffix != ".onnx":
        raise UsageError(f"{printable(path)}: only ONNX models take other shapes")
    if approximate and path.suffix != ".onnx":
        raise UsageError(f"{printable(path)}: --approximate is for ONNX models")
    if content[4:8] == b"TFL3":
        return import_tflite(content, str(path))
    if path.suffix in (".mlir", ".ir"):
        try:
            return parse_module(content.decode("utf-8"), str(path))
        except UnicodeDecodeError as error:
            raise ModelError(f"{printable(path)}: not a text file") from error
    if path.suffix == ".onnx":
        # protobuf and onnx take a while to load; a TFLite model needs neither.
        from tinyc.frontends.onnx import import_onnx

        return import_onnx(content, str(path), path.parent, shapes, approximate)
    raise ModelError(f"{printable(path)}: not a TFLite file (the identifier TFL3 is missing), and not named .onnx or .mlir")
