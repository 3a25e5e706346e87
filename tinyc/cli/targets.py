"""`tinyc targets`: the parts that tinyc knows."""

from __future__ import annotations

import json

import click

from tinyc.targets import Target, load_target, target_origins

COLUMNS = ("name", "core", "FPU", "clock", "RAM for the network", "flash", "origin", "description")


@click.command("targets")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with every fact, RAM banks included.")
def targets_command(as_json: bool) -> None:
    """List all targets, where they come from, and what a network may use of each."""
    targets = [(load_target(name), origin) for name, origin in target_origins().items()]
    if as_json:
        click.echo(json.dumps([target.facts() | {"origin": origin} for target, origin in targets], indent=2))
    else:
        click.echo(targets_table(targets))


def targets_table(targets: list[tuple[Target, str]]) -> str:
    """One line per target and its origin under a line of headings; sizes in kB of 1024 bytes."""
    rows = [COLUMNS, *(_row(target, origin) for target, origin in targets)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _row(target: Target, origin: str) -> tuple[str, ...]:
    clock = f"{target.clock_hz / 1e6:g} MHz" if target.clock_hz else "-"
    ram, flash = ("no limit" if target.is_host else f"{size / 1024:g} kB" for size in (target.ram_bytes, target.flash_bytes))
    return (target.name, target.core.name, target.fpu, clock, ram, flash, origin, target.description)
