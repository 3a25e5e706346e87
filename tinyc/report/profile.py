"""What an inference costs, layer by layer, as data. Instructions are counted, cycles and times are estimated."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerProfile:
    """One layer: a call of a kernel. `code_bytes` is code that no other layer runs.

    `step` is None for what belongs to no layer: entering and leaving the network.
    """

    step: int | None
    name: str
    op: str
    kernel: str
    macs: int
    instructions: int
    estimated_cycles: int
    code_bytes: int

    @property
    def instructions_per_mac(self) -> float | None:
        """None without multiply-accumulates."""
        return self.instructions / self.macs if self.macs else None


@dataclass(frozen=True)
class SharedCode:
    """A function that several layers run: bytes of code, and the numbers of the layers."""

    function: str
    code_bytes: int
    layers: tuple[int, ...]


@dataclass(frozen=True)
class ProfileReport:
    """One network on one target. `model` names the core whose cycles are estimated, `clock_hz` is the part's (0: unknown)."""

    name: str
    target: str
    numerics: str
    model: str
    clock_hz: int
    timing: str
    """What memory was assumed to cost, in words."""
    compiler: str
    layers: tuple[LayerProfile, ...]
    shared: tuple[SharedCode, ...]
    unused_code_bytes: int
    """Code of the network that did not run in this inference."""

    @property
    def macs(self) -> int:
        """Of the whole network."""
        return sum(layer.macs for layer in self.layers)

    @property
    def instructions(self) -> int:
        """Exactly what `tinyc run` counts."""
        return sum(layer.instructions for layer in self.layers)

    @property
    def estimated_cycles(self) -> int:
        """Of the whole inference."""
        return sum(layer.estimated_cycles for layer in self.layers)

    @property
    def code_bytes(self) -> int:
        """All code of the network, with the constants between its functions."""
        return sum(layer.code_bytes for layer in self.layers) + sum(code.code_bytes for code in self.shared) + self.unused_code_bytes

    def estimated_ms(self, cycles: int) -> float | None:
        """Milliseconds that so many cycles take; None where the clock is unknown."""
        return cycles * 1000 / self.clock_hz if self.clock_hz else None

    def share(self, layer: LayerProfile) -> float:
        """Of the estimated cycles, from 0 to 1."""
        return layer.estimated_cycles / max(self.estimated_cycles, 1)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON data; docs/profile.md is its schema."""
        data = asdict(self)
        for layer, entry in zip(self.layers, data["layers"], strict=True):
            entry["instructions_per_mac"] = layer.instructions_per_mac
            entry["estimated_ms"] = self.estimated_ms(layer.estimated_cycles)
            entry["share"] = self.share(layer)
        totals = {"macs": self.macs, "instructions": self.instructions, "estimated_cycles": self.estimated_cycles}
        return data | {"total": {**totals, "estimated_ms": self.estimated_ms(self.estimated_cycles), "code_bytes": self.code_bytes}}
