"""The command line: `tinyc VERB ...`. Each verb is one file; this one finds them and turns errors into one line and an exit code."""

from tinyc.cli.main import main

__all__ = ["main"]
