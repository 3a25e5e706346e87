"""Kernel specs as IR attributes and back: frozen dataclasses of numbers, enums and further dataclasses."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, Final

from xdsl.dialects.builtin import ArrayAttr, BoolAttr, DictionaryAttr, FloatAttr, IntegerAttr, StringAttr, f64, i64
from xdsl.ir import Attribute

from tinyc.backends.cortexm.kernels.base import KernelSpec
from tinyc.errors import PassError
from tinyc.ir.mcu import KernelAttr
from tinyc.plugins import listed

_MODULES = (
    "tinyc.backends.cortexm.kernels.add",
    "tinyc.backends.cortexm.kernels.average_pool",
    "tinyc.backends.cortexm.kernels.blocks",
    "tinyc.backends.cortexm.kernels.compact",
    "tinyc.backends.cortexm.kernels.concat",
    "tinyc.backends.cortexm.kernels.conv",
    "tinyc.backends.cortexm.kernels.copy",
    "tinyc.backends.cortexm.kernels.depthwise",
    "tinyc.backends.cortexm.kernels.dequantize",
    "tinyc.backends.cortexm.kernels.extreme",
    "tinyc.backends.cortexm.kernels.fully_connected",
    "tinyc.backends.cortexm.kernels.gather",
    "tinyc.backends.cortexm.kernels.lookup",
    "tinyc.backends.cortexm.kernels.max_pool",
    "tinyc.backends.cortexm.kernels.maximum",
    "tinyc.backends.cortexm.kernels.mean",
    "tinyc.backends.cortexm.kernels.mul",
    "tinyc.backends.cortexm.kernels.output_stage",
    "tinyc.backends.cortexm.kernels.pad",
    "tinyc.backends.cortexm.kernels.prelu",
    "tinyc.backends.cortexm.kernels.quantize",
    "tinyc.backends.cortexm.kernels.residual",
    "tinyc.backends.cortexm.kernels.resize_bilinear",
    "tinyc.backends.cortexm.kernels.softmax",
    "tinyc.backends.cortexm.kernels.transpose",
    "tinyc.backends.cortexm.kernels.winograd",
    "tinyc.numerics.addition",
    "tinyc.numerics.mean",
    "tinyc.numerics.multiplication",
    "tinyc.numerics.onnxruntime",
    "tinyc.numerics.pooling",
    "tinyc.numerics.prelu",
    "tinyc.numerics.quantization",
    "tinyc.numerics.resize",
)
_CLASS, _FIELDS = "class", "fields"
_PLAIN_FIELDS: Mapping[Any, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (float, int), str: (str,)}
"""What a field of a plain type may hold."""


@cache
def _classes() -> Mapping[str, type]:
    """Every dataclass and enum that a spec can hold, by name: specs, and the numerics plans inside them."""
    found: dict[str, type] = {}
    for name in (*_MODULES, *(addition.where for addition in listed("kernel_modules"))):
        for value in vars(import_module(name)).values():
            if isinstance(value, type) and (dataclasses.is_dataclass(value) or issubclass(value, Enum)):
                found[value.__name__] = value
    return found


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def encode_kernel(spec: KernelSpec) -> KernelAttr:
    """The attribute that carries `spec` through the IR."""
    return KernelAttr(StringAttr(type(spec).__name__), _encode_fields(spec))


def decode_kernel(attribute: KernelAttr) -> KernelSpec:
    """The spec that `encode_kernel` was given. Raises PassError for text that names no spec or does not fit it."""
    known = _DECODED.get(id(attribute))
    if known is not None:
        return known[1]
    spec = _decode_dataclass(attribute.spec.data, attribute.fields)
    if not isinstance(spec, KernelSpec):
        raise PassError(f"{attribute.spec.data} is not a kernel")
    if len(_DECODED) >= _MOST_DECODED:
        _DECODED.clear()
    _DECODED[id(attribute)] = attribute, spec
    return spec


_MOST_DECODED: Final = 4096
_DECODED: Final[dict[int, tuple[KernelAttr, KernelSpec]]] = {}
"""What was decoded last, by identity: neither attributes nor specs can change, and passes ask many times for the same ones. That an
entry holds its attribute keeps the number from becoming another one's."""


@lru_cache(maxsize=4096)
def _integer(value: int) -> Attribute:
    return IntegerAttr(value, i64)


def _encode_fields(value: Any) -> DictionaryAttr:
    values = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    # What a kernel may have and has not is left out; its default says so.
    return DictionaryAttr({name: _encode(entry) for name, entry in values.items() if entry is not None})


def _encode(value: Any) -> Attribute:
    if isinstance(value, bool):
        return BoolAttr.from_bool(value)
    if isinstance(value, Enum):
        return StringAttr(str(value.value))
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return FloatAttr(value, f64)
    if isinstance(value, str):
        return StringAttr(value)
    if isinstance(value, tuple):
        return ArrayAttr([_encode(item) for item in value])
    if dataclasses.is_dataclass(value):
        return DictionaryAttr({_CLASS: StringAttr(type(value).__name__), _FIELDS: _encode_fields(value)})
    raise TypeError(f"a kernel spec cannot hold {type(value).__name__}")


def _decode_dataclass(name: str, fields: DictionaryAttr) -> Any:
    kind = _classes().get(name)
    if kind is None or not dataclasses.is_dataclass(kind):
        raise PassError(f"there is no kernel called {name}")
    hints = _hints(kind)
    values = {key: _decode(attribute, hints.get(key)) for key, attribute in fields.data.items()}
    for key, value in values.items():
        # The IR may come from a file, and fields end up in C text: a number must be a number.
        expected = _PLAIN_FIELDS.get(hints.get(key))
        if expected is not None and type(value) not in expected:
            raise PassError(f"kernel {name}: {key} must be {hints[key].__name__}, got {type(value).__name__}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise PassError(f"kernel {name}: {error}") from error


def _decode(attribute: Attribute, hint: Any) -> Any:
    if isinstance(attribute, IntegerAttr):
        # i1 is how the IR spells a boolean.
        return bool(attribute.value.data) if attribute.type != i64 else int(attribute.value.data)
    if isinstance(attribute, FloatAttr):
        return float(attribute.value.data)
    if isinstance(attribute, StringAttr):
        if not (isinstance(hint, type) and issubclass(hint, Enum)):
            return attribute.data
        try:
            return hint(attribute.data)
        except ValueError as error:
            raise PassError(f"a kernel field is wrong: {error}") from error
    if isinstance(attribute, ArrayAttr):
        return tuple(_decode(item, None) for item in attribute.data)
    if isinstance(attribute, DictionaryAttr):
        name, fields = attribute.data.get(_CLASS), attribute.data.get(_FIELDS)
        if isinstance(name, StringAttr) and isinstance(fields, DictionaryAttr):
            return _decode_dataclass(name.data, fields)
    raise PassError(f"a kernel field cannot be {attribute}")
