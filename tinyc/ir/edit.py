"""Taking ops out of a module."""

from __future__ import annotations

from xdsl.ir import Operation


def detach(operation: Operation) -> None:
    """Takes `operation` out of its block; it can be put into another."""
    operation.detach()


def erase(operation: Operation) -> None:
    """Takes `operation` out of its block for good; its results must not be used."""
    operation.detach()
    operation.erase()
