"""`tinyc passes`: the registry as a table."""

from __future__ import annotations

import json

import click

from tinyc.passes.registry import PASSES, option_texts, pass_class, summary


@click.command("passes")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def passes_command(as_json: bool) -> None:
    """List all passes in the order in which `tinyc compile` runs them, with their options and defaults."""
    rows = [(name, entry.level, summary(pass_class(name)), option_texts(pass_class(name))) for name, entry in PASSES.items()]
    if as_json:
        click.echo(json.dumps([{"name": n, "level": level, "summary": s, "options": o} for n, level, s, o in rows], indent=2))
        return
    click.echo(f"{'pass':<24}{'IR':<11}what it does")
    for name, level, text, options in rows:
        click.echo(f"{name:<24}{level:<11}{text}")
        if options:
            click.echo(f"{'':<35}options: {', '.join(options)}")
