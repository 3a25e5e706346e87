"""`tinyc ops`: what models may consist of, read off the import rules themselves."""

from __future__ import annotations

import click

from tinyc.frontends.supported import supported_ops_markdown


@click.command("ops")
def ops_command() -> None:
    """List the supported operators of every model format with their constraints, as Markdown; docs/ops.md is this text."""
    click.echo(supported_ops_markdown(), nl=False)
