"""What a user chooses about quantisation. Imports nothing heavy, so that the command line can name the choices at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tinyc.errors import UsageError

METHODS: Final = ("minmax", "percentile", "entropy", "mse")

Progress = Callable[[str, int, int], None]
"""Called with what is being done, and how many of how many steps are done."""


@dataclass(frozen=True)
class QuantizeOptions:
    """How ranges are chosen (`method`, `percentile`), and which optional steps run. `compare` measures what each layer loses.

    Bias correction is the default because it costs nothing at run time and helped or did nothing on every network tried.

    Raises UsageError for an unknown method, or a percentile outside (50, 100].
    """

    method: str = "minmax"
    percentile: float = 99.99
    equalise: bool = False
    correct_bias: bool = True
    compare: bool = True

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"no calibration method {self.method}; there are {', '.join(METHODS)}")
        if not 50 < self.percentile <= 100:
            raise UsageError(f"percentile {self.percentile:g}: expected more than 50 and at most 100")


def no_progress(action: str, done: int, total: int) -> None:
    """Reports nothing."""
