"""What a compiled network needs, as data: one set of dataclasses behind text, JSON and CSV, and behind report.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tinyc.errors import ModelError


@dataclass(frozen=True)
class BufferReport:
    """A buffer in the arena: `bytes` at `offset`, holding needed data from step `first_step` to `last_step` (-1: before the first).

    It keeps `slots` of the `rows` rows of its tensor, each of `row_bytes` bytes; fewer slots than rows make it a ring.
    """

    name: str
    kind: str
    offset: int
    bytes: int
    first_step: int
    last_step: int
    rows: int
    slots: int
    row_bytes: int
    shape: tuple[int, ...]
    """Dimensions of the tensor; empty for what is no tensor of the model."""
    bank: str = ""
    """The RAM bank of the arena that `offset` counts from; empty where there is one arena."""

    @property
    def end(self) -> int:
        """First byte behind the buffer."""
        return self.offset + self.bytes

    def live_in(self, step: int) -> bool:
        """Whether its data is needed in `step`."""
        return self.first_step <= step <= self.last_step


@dataclass(frozen=True)
class CallReport:
    """One kernel of a step: what the model calls the layer, and the numbers of the buffers that it reads and writes."""

    name: str
    op: str
    kernel: str
    macs: int
    rows: int
    """Rows of its result."""
    inputs: tuple[int, ...]
    output: int
    in_place: bool
    """Whether the result takes the input's place in the same buffer."""
    again: bool = False
    """Whether the same was computed before, and not kept for want of RAM."""
    again_macs: int = 0
    """Multiply-adds of it that were executed before."""
    part: int = 0
    """Which vertical strip of the result it computes, from 1; 0 where it computes all columns."""
    parts: int = 1
    """How many strips there are."""


@dataclass(frozen=True)
class HeldBytes:
    """How many bytes of buffer number `buffer` are needed at the worst moment of a step."""

    buffer: int
    bytes: int


@dataclass(frozen=True)
class OverlapReport:
    """In `step`, `bytes` bytes are used by the buffer `result` and, before that, by the buffer `source` (numbers of buffers).

    `result` starts `distance` bytes before `source`; no byte is overwritten before its last read from a distance of `least_distance`
    bytes on (None: all reads come before all writes, any distance is safe). Where the rows are computed `backwards`, from the last to the
    first, `result` ends `distance` bytes behind the end of `source`.
    """

    step: int
    result: int
    source: int
    bytes: int
    distance: int
    least_distance: int | None
    backwards: bool = False


@dataclass(frozen=True)
class Remedy:
    """Something to change, tried: with it the arena has `arena_bytes` bytes, `saved_bytes` fewer than now."""

    change: str
    arena_bytes: int
    saved_bytes: int


@dataclass(frozen=True)
class LayerReport:
    """One step: a layer, or several that run row by row together. Bytes are of the arena."""

    step: int
    name: str
    op: str
    kernels: tuple[str, ...]
    macs: int
    live_bytes: int
    """Most bytes of needed data at one moment of the step."""
    scratch_bytes: int
    """Working memory of the kernels: scratch, accumulators and rings of rows."""
    live: tuple[str, ...]
    """Names of the buffers that are live."""
    calls: tuple[CallReport, ...]
    """In topological order; several are a stream."""
    held: tuple[HeldBytes, ...]
    """What `live_bytes` is made of."""

    @property
    def streamed(self) -> bool:
        """Whether several calls run row by row together."""
        return len(self.calls) > 1


@dataclass(frozen=True)
class RamReport:
    """RAM in bytes. `static_bytes` is .data and .bss; `stack_bytes` the deepest path of calls by the compiler's account (None: unknown)."""

    arena_bytes: int
    lower_bound_bytes: int
    static_bytes: int
    stack_bytes: int | None

    @property
    def total_bytes(self) -> int:
        """Everything that is known."""
        return self.arena_bytes + self.static_bytes + (self.stack_bytes or 0)


@dataclass(frozen=True)
class BankReport:
    """One RAM bank: the bytes of its arena, how many it may have, and the estimated loads and stores of one inference there.

    `capacity_bytes` is the whole bank, in which the stack needs room too where it `holds_stack`; None where there is no part.
    """

    name: str
    arena_bytes: int
    limit_bytes: int
    capacity_bytes: int | None
    holds_stack: bool
    accesses: int

    def needed_bytes(self, ram: RamReport) -> int:
        """Everything that must fit in the bank."""
        return self.arena_bytes + (ram.static_bytes + (ram.stack_bytes or 0) if self.holds_stack else 0)


@dataclass(frozen=True)
class FlashReport:
    """Flash in bytes: constant tables, and code for the target (None: not measured, no compiler)."""

    weights_bytes: int
    code_bytes: int | None

    @property
    def total_bytes(self) -> int:
        """Everything that is known."""
        return self.weights_bytes + (self.code_bytes or 0)


@dataclass(frozen=True)
class MemoryReport:
    """The whole account of one network on one target. Limits are None on the host."""

    name: str
    target: str
    numerics: str
    ram: RamReport
    ram_limit_bytes: int | None
    flash: FlashReport
    flash_limit_bytes: int | None
    macs: int
    layers: tuple[LayerReport, ...]
    buffers: tuple[BufferReport, ...]
    overlaps: tuple[OverlapReport, ...]
    remedies: tuple[Remedy, ...] | None = None
    """What was tried to go lower, best first; None where nothing was tried."""
    approximate_layers: tuple[str, ...] = ()
    """Names of the layers that the model's own runtime computes in float32, so that its results may differ."""
    banks: tuple[BankReport, ...] = ()
    """The RAM banks with an arena, the fastest first; none where the user did not choose any."""

    def position(self, buffer: BufferReport) -> int:
        """Offset of `buffer` in all arenas, laid side by side in the order of the banks."""
        base = 0
        for bank in self.banks:
            if bank.name == buffer.bank:
                return base + buffer.offset
            base += bank.arena_bytes
        return buffer.offset

    @property
    def recomputed_macs(self) -> int:
        """Multiply-adds of what is computed a second time."""
        return sum(call.again_macs for layer in self.layers for call in layer.calls)

    @property
    def peak_layer(self) -> LayerReport:
        """The first step that needs the most."""
        return max(self.layers, key=lambda layer: layer.live_bytes)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON data; docs/report.md is its schema."""
        data = asdict(self)
        data["ram"]["total_bytes"] = self.ram.total_bytes
        data["flash"]["total_bytes"] = self.flash.total_bytes
        data["peak_step"] = self.peak_layer.step
        for buffer in data["buffers"]:
            if not buffer["bank"]:
                del buffer["bank"]
        if not self.banks:
            del data["banks"]
        for call in (call for layer in data["layers"] for call in layer["calls"]):
            if not call["again"]:
                del call["again"]
            if not call["again_macs"]:
                del call["again_macs"]
            if not call["part"]:
                del call["part"], call["parts"]
        return data


def memory_report_from_json(data: Mapping[str, Any], where: str) -> MemoryReport:
    """The report inside a report.json. Raises ModelError where keys are missing or of the wrong kind."""
    try:
        ram, flash = data["ram"], data["flash"]
        target = data["target"]
        return MemoryReport(
            name=str(data["name"]),
            target=str(target["name"] if isinstance(target, Mapping) else target),
            numerics=str(data["numerics"]),
            ram=RamReport(int(ram["arena_bytes"]), int(ram["lower_bound_bytes"]), int(ram["static_bytes"]), _optional(ram["stack_bytes"])),
            ram_limit_bytes=_optional(data["ram_limit_bytes"]),
            flash=FlashReport(int(flash["weights_bytes"]), _optional(flash["code_bytes"])),
            flash_limit_bytes=_optional(data["flash_limit_bytes"]),
            macs=int(data["macs"]),
            layers=tuple(_layer(layer) for layer in data["layers"]),
            buffers=tuple(BufferReport(**{**buffer, "shape": tuple(buffer["shape"])}) for buffer in data["buffers"]),
            overlaps=tuple(OverlapReport(**overlap) for overlap in data["overlaps"]),
            remedies=None if data["remedies"] is None else tuple(Remedy(**remedy) for remedy in data["remedies"]),
            approximate_layers=tuple(str(name) for name in data["approximate_layers"]),
            banks=tuple(BankReport(**bank) for bank in data.get("banks", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{where}: not a report of this version of tinyc ({type(error).__name__}: {error})") from error


def _layer(data: Mapping[str, Any]) -> LayerReport:
    calls = tuple(CallReport(**{**call, "inputs": tuple(call["inputs"])}) for call in data["calls"])
    held = tuple(HeldBytes(**entry) for entry in data["held"])
    return LayerReport(**{**data, "kernels": tuple(data["kernels"]), "live": tuple(data["live"]), "calls": calls, "held": held})


def _optional(value: Any) -> int | None:
    return None if value is None else int(value)
