"""What a build's report says about its layers and its part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyc.errors import ModelError, printable
from tinyc.targets import Timing, timing_from


@dataclass(frozen=True)
class LayerRecord:
    """One call of a kernel, and the C functions that are its own."""

    step: int
    name: str
    op: str
    kernel: str
    macs: int
    functions: tuple[str, ...]


@dataclass(frozen=True)
class ProfiledBuild:
    """The layers of a build in the order of the schedule, and what its part costs."""

    layers: tuple[LayerRecord, ...]
    clock_hz: int
    timing: Timing
    banks: tuple[tuple[str, int], ...]
    """For each arena the bank that it lies in, and the cycles that an access there waits."""


def read_profiled_build(build_dir: Path) -> ProfiledBuild:
    """From BUILD/report.json. Raises ModelError where it is damaged or from a version that did not record its calls."""
    path = build_dir / "report.json"
    shown = printable(path)
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{printable(build_dir)} is not a build folder: cannot read report.json: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{shown} is not JSON: {printable(error)}") from error
    if not isinstance(report, dict) or not isinstance(report.get("target"), dict) or not isinstance(report.get("calls"), list):
        raise ModelError(f"{shown} does not say which layers there are: compile the model again with this version of tinyc")
    try:
        layers = tuple(_layer(entry) for entry in report["calls"])
        clock_hz = int(report["target"]["clock_hz"])
        banks = tuple(_arena_banks(report))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{shown}: not a report of this version of tinyc ({type(error).__name__}: {error})") from error
    return ProfiledBuild(layers, clock_hz, timing_from(report["target"].get("timing", {}), shown), banks)


def _arena_banks(report: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    target = report["target"]
    waits = {str(bank["name"]): int(bank.get("wait_cycles", 0)) for bank in target.get("banks", ())}
    for arena in report.get("arenas", [{"bank": target.get("arena_bank", "")}]):
        name = str(arena["bank"])
        yield name, waits.get(name, 0)


def _layer(entry: Mapping[str, Any]) -> LayerRecord:
    functions = tuple(str(function) for function in entry["functions"])
    return LayerRecord(int(entry["step"]), str(entry["name"]), str(entry["op"]), str(entry["kernel"]), int(entry["macs"]), functions)
