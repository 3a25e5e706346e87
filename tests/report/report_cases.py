"""Reports that the tests of this room look at."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import tinyc
from tinyc.report.memory import BufferReport, CallReport, HeldBytes, LayerReport, MemoryReport

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples" / "fashion_mnist" / "fashion_mnist.tflite"
HOSTILE = (
    "</title></text><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\"`{{ 7 * 7 }}&\u202e\x1b[31m"
)
"""A name that leaves attributes, elements, comments and templates, turns text round and colours a terminal."""


@cache
def example() -> MemoryReport:
    """The example network with streams, rings and overlaps."""
    return tinyc.load(MODEL).compile("stm32h743", measure=False).report


def renamed(report: MemoryReport, name: str) -> MemoryReport:
    """`report` with every name that comes from a model replaced by `name`."""
    layers = tuple(
        replace(layer, name=name, live=(f"{name} [tensor] 1",), calls=tuple(replace(call, name=name) for call in layer.calls))
        for layer in report.layers
    )
    return replace(report, name=name, layers=layers, buffers=tuple(replace(buffer, name=name) for buffer in report.buffers))


def buffer(name: str, offset: int, size: int, first: int, last: int, kind: str = "tensor", rows: int = 1, slots: int = 1) -> BufferReport:
    """A buffer of `slots` equal rows."""
    return BufferReport(name, kind, offset, size, first, last, rows, slots, size // slots, ())


def layer(step: int, *calls: CallReport, held: dict[int, int]) -> LayerReport:
    """A step that needs `held` (buffer number to bytes) at its worst moment."""
    entries = tuple(HeldBytes(number, size) for number, size in held.items())
    return LayerReport(step, calls[-1].name, " + ".join(call.op for call in calls), (), 0, sum(held.values()), 0, (), calls, entries)


def call(op: str, inputs: tuple[int, ...], output: int) -> CallReport:
    """A call of a layer with the op's name."""
    return CallReport(f"layer of {op}", op, op.lower(), 0, 1, inputs, output, False)
