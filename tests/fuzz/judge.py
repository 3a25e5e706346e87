"""What a fuzzed model may do to tinyc: be refused by one of its errors, or compile. Nothing else, in bounded time."""

from __future__ import annotations

import signal
from types import FrameType

from tinyc.driver.compile import compile_module
from tinyc.driver.pipeline import CompileOptions
from tinyc.errors import TinycError
from tinyc.frontends.tflite import import_tflite
from tinyc.targets import load_target

TIME_LIMIT_SECONDS = 10
"""Of this process's own work, so that a busy machine makes no hangs."""


class Hang(Exception):
    """A model took longer than the limit."""


def _alarm(signum: int, frame: FrameType | None) -> None:
    raise Hang(f"no answer within {TIME_LIMIT_SECONDS} seconds")


def judge(content: bytes) -> str:
    """`refused: KIND` or `compiled` for the bytes of a file; every other exception of tinyc, and Hang, passes through."""
    signal.signal(signal.SIGPROF, _alarm)
    signal.setitimer(signal.ITIMER_PROF, TIME_LIMIT_SECONDS)
    try:
        module = import_tflite(content, "fuzzed.tflite")
        compile_module(module, "fuzzed", load_target("stm32h743"), CompileOptions(measure=False))
    except TinycError as error:
        return f"refused: {type(error).__name__}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "compiled"
