"""Kernel specs survive the way through the IR, whatever class they are of."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from enum import Enum

import pytest
from xdsl.dialects.builtin import ArrayAttr, BoolAttr, DictionaryAttr, FloatAttr, IntegerAttr, ModuleOp, StringAttr, UnitAttr, f64, i64

from support.network_builder import NetworkBuilder
from tinyc.backends.cortexm.kernel_attr import _classes, decode_kernel, encode_kernel
from tinyc.backends.cortexm.kernels.base import KernelSpec
from tinyc.backends.cortexm.kernels.copy import CopySpec
from tinyc.backends.cortexm.kernels.max_pool import MaxPoolSpec
from tinyc.errors import PassError
from tinyc.ir.mcu import CallOp, KernelAttr
from tinyc.ir.nn_base import tensor_of
from tinyc.ir.text import parse_module, print_module
from tinyc.numerics.profile import Profile
from tinyc.passes.manager import run_passes
from tinyc.passes.registry import parse_passes

SPECS = [kind for kind in _classes().values() if issubclass(kind, KernelSpec) and not inspect.isabstract(kind)]
FIELD_TYPES = (bool, int, float, str)


def storable(hint: object) -> bool:
    """Whether a field of this type can be encoded, and decoded to what it was."""
    if hint in FIELD_TYPES or hint is type(None):
        return True
    origin = typing.get_origin(hint)
    if origin is tuple:
        # Items carry no type of their own in the IR, so an enum among them would come back as text.
        items = [argument for argument in typing.get_args(hint) if argument is not Ellipsis]
        return all(storable(item) and not (isinstance(item, type) and issubclass(item, Enum)) for item in items)
    if origin in (typing.Union, types.UnionType):
        return all(storable(argument) for argument in typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _classes().get(hint.__name__) is hint or hint in _classes().values()
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        registered = _classes().get(hint.__name__) is hint
        return registered and all(storable(typing.get_type_hints(hint)[entry.name]) for entry in dataclasses.fields(hint) if entry.init)
    return False


@pytest.mark.parametrize("kind", SPECS, ids=lambda kind: kind.__name__)
def test_every_field_of_every_spec_can_be_stored(kind: type) -> None:
    hints = typing.get_type_hints(kind)
    for entry in dataclasses.fields(kind):
        if entry.init:
            assert storable(hints[entry.name]), f"{kind.__name__}.{entry.name}: {hints[entry.name]}"


def many_kernels() -> ModuleOp:
    """A network for which every kind of convolution, pool, sum and mean is chosen."""
    builder = NetworkBuilder(14)
    image = builder.quantize(builder.float_input((1, 9, 8, 3)))
    stem = builder.conv(image, 6, (3, 3), (2, 2), (1, 1, 1, 1), clamp=(-5, 100))
    first = builder.depthwise(builder.conv(stem, 12))
    second = builder.depthwise(first, multiplier=2)
    summed = builder.add(builder.conv(second, 6, bias=False), stem)
    scaled = builder.mul(summed, builder.constant(builder.random.integers(-9, 9, (6,)).astype("int8"), 0.1))
    padded = builder.pad(scaled, (1, 0, 1, 2))
    pooled = builder.pool(builder.pool(builder.clamp(padded, (-50, 50)), False, (2, 2), (2, 2)), True, (2, 2), (1, 1))
    turned = builder.transpose(pooled, (0, 2, 3, 1))
    outputs = [builder.softmax(builder.fully_connected(turned, 4)), builder.mean(pooled, (1, 2)), builder.mean(pooled, (2,), True)]
    outputs += [
        builder.mean(pooled, (3,)),
        builder.dequantize(builder.fully_connected(builder.reshape(pooled, (1, tensor_of(pooled).elements)), 2)),
    ]
    return builder.finish(*outputs, image)


@pytest.mark.parametrize("profile", list(Profile))
def test_specs_are_equal_behind_the_attribute_and_behind_the_text(profile: Profile) -> None:
    module = many_kernels()
    passes = f"canonicalize,eliminate-dead-code,select-kernels{{numerics={profile.value}}},depthwise-in-place,size-im2col"
    run_passes(module, parse_passes(passes))
    again = parse_module(print_module(module))
    calls, same = ([op for op in tree.walk() if isinstance(op, CallOp)] for tree in (module, again))
    seen = set()
    for call, other in zip(calls, same, strict=True):
        spec = decode_kernel(call.kernel)
        seen.add(type(spec))
        assert encode_kernel(spec) == call.kernel
        assert decode_kernel(encode_kernel(spec)) == spec
        assert decode_kernel(other.kernel) == spec
        assert hash(decode_kernel(other.kernel)) == hash(spec)
        assert decode_kernel(other.kernel).source("kernel") == spec.source("kernel")
    assert len(seen) >= 12


SPEC = MaxPoolSpec(8, 4, 4, 2, 2, 2, 0, -128, 127)


def changed(**fields: object) -> KernelAttr:
    """SPEC's attribute with some fields replaced; None removes one."""
    data = {**encode_kernel(SPEC).fields.data, **fields}
    return KernelAttr(StringAttr("MaxPoolSpec"), DictionaryAttr({key: value for key, value in data.items() if value is not None}))  # type: ignore[misc]


def test_the_undamaged_attribute_decodes() -> None:
    assert decode_kernel(changed()) == SPEC


@pytest.mark.parametrize(
    "attribute",
    [
        KernelAttr(StringAttr("NoSuchSpec"), DictionaryAttr({})),
        KernelAttr(StringAttr("Broadcast"), DictionaryAttr({})),
        KernelAttr(StringAttr("PoolSpec"), encode_kernel(SPEC).fields),
        KernelAttr(StringAttr("OutputStage"), DictionaryAttr({})),
        KernelAttr(StringAttr("CopySpec"), DictionaryAttr({})),
        KernelAttr(StringAttr("CopySpec"), DictionaryAttr({"elements": UnitAttr()})),
        changed(channels=None),
        changed(colour=IntegerAttr(1, i64)),
        changed(channels=IntegerAttr(0, i64)),
        changed(pad_left=IntegerAttr(7, i64)),
        KernelAttr(StringAttr("QuantizeSpec"), DictionaryAttr({"elements": IntegerAttr(1, i64), "plan": DictionaryAttr({})})),
        changed(channels=FloatAttr(4.0, f64)),
        changed(channels=StringAttr("4); evil(")),
        changed(channels=BoolAttr.from_bool(True)),
        changed(channels=ArrayAttr([])),
    ],
)
def test_damaged_attributes_are_refused(attribute: KernelAttr) -> None:
    with pytest.raises(PassError):
        decode_kernel(attribute)


def test_a_field_that_cannot_be_stored_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match="cannot hold list"):
        encode_kernel(CopySpec([1]))  # type: ignore[arg-type]
