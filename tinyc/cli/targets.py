"""`tinyc targets`: the parts that tinyc knows."""

from __future__ import annotations

import json

import click

from tinyc.targets import Target, available_targets, load_target

COLUMNS = ("name", "core", "FPU", "clock", "RAM for the network", "flash", "description")


@click.command("targets")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with every fact, RAM banks included.")
def targets_command(as_json: bool) -> None:
    """List the built-in targets and what a network may use of each."""
    targets = [load_target(name) for name in available_targets()]
    click.echo(json.dumps([target.facts() for target in targets], indent=2) if as_json else targets_table(targets))


def targets_table(targets: list[Target]) -> str:
    """One line per target under a line of headings; sizes in kB of 1024 bytes."""
    rows = [COLUMNS, *(_row(target) for target in targets)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _row(target: Target) -> tuple[str, ...]:
    clock = f"{target.clock_hz / 1e6:g} MHz" if target.clock_hz else "-"
    ram, flash = ("no limit" if target.is_host else f"{size / 1024:g} kB" for size in (target.ram_bytes, target.flash_bytes))
    return (target.name, target.core.name, target.fpu, clock, ram, flash, target.description)
