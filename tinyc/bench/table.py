"""Measurements for a person and for a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tinyc.bench.measure import Figures
from tinyc.errors import printable

_COLUMNS = (
    ("multiply-adds", 13),
    ("instructions", 12),
    ("per MAC", 7),
    ("RAM", 9),
    ("arena", 9),
    ("stack", 6),
    ("flash", 9),
    ("weights", 9),
    ("code", 7),
)


def bench_text(rows: Sequence[Figures]) -> str:
    """A table with one line a network and target; bytes. Flash is that of a linked image."""
    names = [printable(row.network, 40) for row in rows]
    width, targets = max(map(len, [*names, "network"])), max(len(entry) for entry in [*(row.target for row in rows), "target"])
    heading = "  ".join(f"{title:>{size}}" for title, size in _COLUMNS)
    lines = [f"{'network':<{width}}  {'target':<{targets}}  {heading}  numerics"]
    for name, row in zip(names, rows, strict=True):
        values = (row.macs, row.instructions, row.per_mac, row.ram, row.arena, row.stack, row.image, row.weights, row.code)
        cells = "  ".join(f"{_cell(value):>{size}}" for value, (_, size) in zip(values, _COLUMNS, strict=True))
        lines.append(f"{name:<{width}}  {row.target:<{targets}}  {cells}  {row.numerics}")
    return "\n".join(lines) + "\n"


def _cell(value: int | float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def bench_json(rows: Sequence[Figures]) -> list[dict[str, Any]]:
    """The rows as JSON data."""
    return [{**asdict(row), "ram": row.ram, "per_mac": row.per_mac} for row in rows]
