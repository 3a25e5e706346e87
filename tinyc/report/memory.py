"""What a compiled network needs, as data: one set of dataclasses behind text, JSON and CSV, and behind report.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tinyc.errors import ModelError


@dataclass(frozen=True)
class BufferReport:
    """A buffer in the arena: `bytes` at `offset`, holding needed data from step `first_step` to `last_step` (-1: before the first)."""

    name: str
    kind: str
    offset: int
    bytes: int
    first_step: int
    last_step: int


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
            layers=tuple(
                LayerReport(**{**layer, "kernels": tuple(layer["kernels"]), "live": tuple(layer["live"])}) for layer in data["layers"]
            ),
            buffers=tuple(BufferReport(**buffer) for buffer in data["buffers"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{where}: not a report of this version of tinyc ({type(error).__name__}: {error})") from error


def _optional(value: Any) -> int | None:
    return None if value is None else int(value)
