"""`tinyc passes`: the registry as a table."""

from __future__ import annotations

import json

import click

from tinyc.passes.registry import all_passes, option_texts, pass_class, summary


@click.command("passes")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def passes_command(as_json: bool) -> None:
    """List all passes, tinyc's in the order in which `tinyc compile` runs them, with options, defaults and origin."""
    rows = [(name, entry, summary(pass_class(name)), option_texts(pass_class(name))) for name, entry in all_passes().items()]
    if as_json:
        facts = [
            {"name": name, "level": entry.level, "origin": entry.origin, "summary": text, "options": options}
            for name, entry, text, options in rows
        ]
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"{'pass':<24}{'IR':<11}{'origin':<10}what it does")
    for name, entry, text, options in rows:
        click.echo(f"{name:<24}{entry.level:<11}{entry.origin:<10}{text}")
        if options:
            click.echo(f"{'':<45}options: {', '.join(options)}")
