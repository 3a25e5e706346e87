"""Any model file that tinyc reads, by its content: TFLite, or tinyc's own IR text."""

from __future__ import annotations

from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from tinyc.errors import ModelError, printable
from tinyc.frontends.tflite import import_tflite
from tinyc.ir.text import parse_module

MAX_FILE_BYTES = 256 << 20
"""Larger files are refused unread: no part holds a hundredth of that."""


def load_model(path: Path) -> ModuleOp:
    """Module of the model file at `path`. Raises ModelError (missing, unreadable, not a model) and UnsupportedError."""
    try:
        if path.is_dir():
            raise ModelError(f"{printable(path)}: is a folder, expected a model file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(f"{printable(path)}: {size} bytes, more than any model for a microcontroller")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{printable(path)}: {error.strerror or error}") from error
    if content[4:8] == b"TFL3":
        return import_tflite(content, str(path))
    if path.suffix in (".mlir", ".ir"):
        try:
            return parse_module(content.decode("utf-8"), str(path))
        except UnicodeDecodeError as error:
            raise ModelError(f"{printable(path)}: not a text file") from error
    if path.suffix == ".onnx":
        raise ModelError(f"{printable(path)}: ONNX is not read yet; convert the model to an int8 TFLite file")
    raise ModelError(f"{printable(path)}: not a TFLite file (the identifier TFL3 is missing)")
