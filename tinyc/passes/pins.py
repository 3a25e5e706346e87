"""Pins: choices about single layers that the user makes instead of the compiler.

They lie on the module as text, `LAYER:DECISION=VALUE`, so that IR printed in the middle of a pipeline, or by a crash reproducer, has them.
The pass that makes a decision reads its pins, and refuses those that its layer cannot have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr

from tinyc.errors import PassError, UsageError, printable
from tinyc.ir.mcu import CallOp
from tinyc.ir.schedule import steps_of

_ATTRIBUTE = "pins"
_DIMENSIONS = re.compile(r"_([0-9]d)$")
_ON_OFF = ("on", "off")


@dataclass(frozen=True)
class Decision:
    """What can be pinned: the values (empty: a positive number), and the passes of which one must be in the pipeline."""

    values: tuple[str, ...]
    passes: tuple[str, ...]
    meaning: str


DECISIONS: Mapping[str, Decision] = {
    "residual": Decision(_ON_OFF, ("fuse-residual",), "whether a convolution adds the other operand of the addition behind it itself"),
    "in_place": Decision(_ON_OFF, ("depthwise-in-place",), "whether a depthwise layer overwrites its input"),
    "rows": Decision((), ("merge-rows",), "rows that one call of a 1x1 convolution takes"),
    "planes": Decision(_ON_OFF, ("plane-rings",), "whether a depthwise layer in a stream finds its input as int16 planes"),
    "columns": Decision((), ("size-im2col",), "output columns that a convolution gathers at a time"),
    "unroll": Decision((), ("size-im2col",), "steps in the body of a convolution's inner loop"),
    "weights": Decision(
        ("int8", "int16", "int8-by-four", "int16-by-four"), ("widen-weights",), "how a convolution by im2col finds its weights in flash"
    ),
    "winograd": Decision(
        ("off", "on", "one-row", "two-rows", "one-row-one-tile", "two-rows-one-tile"),
        ("widen-weights",),
        "Winograd's filtering for a convolution",
    ),
    "unproved": Decision(("inline", "shared"), ("share-code",), "where a depthwise layer requantises channels without a proof"),
    "code": Decision(("specialised", "shared", "compact"), ("share-code", "compact-code"), "whose code the layer runs"),
}


@dataclass(frozen=True)
class Pin:
    """`decision` about `layer` is to be `value`."""

    layer: str
    decision: str
    value: str

    def __str__(self) -> str:
        return f"{self.layer}:{self.decision}={self.value}"


def parse_pin(text: str) -> Pin:
    """The pin of `LAYER:DECISION=VALUE`. Raises UsageError, also for a decision or a value that does not exist."""
    place, equals, value = text.strip().partition("=")
    layer, colon, decision = place.rpartition(":")
    if not equals or not colon or not layer:
        raise UsageError(f"expected LAYER:DECISION=VALUE such as conv2d_3:weights=int16, got {printable(text)}")
    known = DECISIONS.get(decision)
    if known is None:
        raise UsageError(f"cannot pin {printable(text)}: there is no decision {printable(decision)}; known are {', '.join(DECISIONS)}")
    if known.values and value not in known.values:
        raise UsageError(f"cannot pin {printable(text)}: {decision} is one of {', '.join(known.values)}")
    if not known.values and not (value.isascii() and value.isdecimal() and 0 < int(value) < 1 << 16):
        raise UsageError(f"cannot pin {printable(text)}: {decision} is a positive number")
    return Pin(layer, decision, value)


def parse_pins(texts: Iterable[str]) -> tuple[Pin, ...]:
    """The pins of several texts. Raises UsageError, also where two of them contradict each other."""
    found: dict[tuple[str, str], Pin] = {}
    for pin in map(parse_pin, texts):
        former = found.setdefault((pin.layer, pin.decision), pin)
        if former != pin:
            raise UsageError(f"{former} and {pin} contradict each other")
    return tuple(found.values())


def attach_pins(module: ModuleOp, pins: Sequence[Pin]) -> None:
    """Leaves `pins` on `module` for the passes."""
    if pins:
        module.attributes[_ATTRIBUTE] = ArrayAttr([StringAttr(str(pin)) for pin in pins])


def pins_of(module: ModuleOp) -> tuple[Pin, ...]:
    """The pins on `module`. Raises UsageError for text that is none."""
    found = module.attributes.get(_ATTRIBUTE)
    return parse_pins(item.data for item in found.data if isinstance(item, StringAttr)) if isinstance(found, ArrayAttr) else ()


def layer_name(op: str, number: int) -> str:
    """The name of the call `number`, counted from 1 as `tinyc profile` does: `conv2d_3`."""
    title = _DIMENSIONS.sub(r"\1", op.lower())
    return f"{title}_{number}"


def layer_names(module: ModuleOp) -> dict[CallOp, str]:
    """The names of all calls, in the order of the schedule, which no pass changes after select-kernels.

    An op that is computed in another's kernel keeps its number, and no call has it.
    Calls that compute something a second time, which recompute-gates adds, are not counted: `mul_9_again` stands before call 9.
    """
    names: dict[CallOp, str] = {}
    number = 1
    for call in (call for step in steps_of(module) for call in step.calls):
        name = layer_name(call.op.data, number)
        if call.repeats:
            copies = sum(other.startswith(f"{name}_again") for other in names.values())
            names[call] = f"{name}_again" + (f"_{copies + 1}" if copies else "")
        else:
            names[call] = name
            number += len(call.ops)
    return names


def check_layers(module: ModuleOp) -> None:
    """Raises UsageError for a pin of a layer that `module`, whose kernels are selected, does not have."""
    names = set(layer_names(module).values())
    for pin in pins_of(module):
        if pin.layer not in names:
            raise UsageError(f"cannot pin {pin}: the network has no layer {printable(pin.layer)}; --explain prints the names of all")


@dataclass(frozen=True)
class Pinned:
    """The pins of one pass: what each layer is to have, by decision."""

    names: Mapping[CallOp, str]
    values: Mapping[tuple[str, str], str]

    @staticmethod
    def of(module: ModuleOp, *decisions: str) -> Pinned:
        """Those of `module` about `decisions`."""
        pins = {(pin.layer, pin.decision): pin.value for pin in pins_of(module) if pin.decision in decisions}
        return Pinned(layer_names(module), pins)

    def get(self, call: CallOp, decision: str) -> str | None:
        """The pinned value, or None where the pass is free."""
        return self.values.get((self.names[call], decision))

    def has(self, call: CallOp, *decisions: str) -> bool:
        """Whether one of `decisions` about `call` is pinned."""
        return any(self.get(call, decision) is not None for decision in decisions)

    def refuse(self, call: CallOp, decision: str, reason: str) -> None:
        """Raises PassError where `decision` about `call` is pinned: the layer cannot have it."""
        value = self.get(call, decision)
        if value is not None:
            raise PassError(f"cannot pin {Pin(self.names[call], decision, value)}: {reason}")


def check_pipeline(pins: Sequence[Pin], passes: Iterable[str]) -> None:
    """Raises UsageError for a pin that no pass of the pipeline would look at."""
    present = set(passes)
    for pin in pins:
        makers = DECISIONS[pin.decision].passes
        if not present.intersection(makers):
            raise UsageError(f"cannot pin {pin}: the pipeline has no {' or '.join(makers)}, which decides about {pin.decision}")
