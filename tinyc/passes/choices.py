"""How passes leave behind what they chose: data beside the module, for `--explain`.

A pass asks `recorder(ctx)`, which is None unless someone wants to know, and adds a Choice for each decision with the alternatives that it
weighed. Nothing is worked out again afterwards.
"""

from __future__ import annotations

from xdsl.context import Context

from tinyc.report.choices import Alternative, Choice


class RecordingContext(Context):
    """A context in which passes record what they choose."""

    def __init__(self) -> None:
        super().__init__()
        self.choices: list[Choice] = []


def recorder(ctx: Context) -> list[Choice] | None:
    """Where choices go; None where nobody asked for them."""
    return ctx.choices if isinstance(ctx, RecordingContext) else None


def either(value: str, taken: bool, why: str, why_not: str, **costs: int | None) -> Alternative:
    """An alternative that was taken because of `why`, or not because of `why_not`."""
    return Alternative(value, taken, why if taken else why_not, **costs)
