"""tinyc: from a trained int8 network to C for one microcontroller.

import tinyc

compiled = tinyc.load("model.tflite").compile(target="stm32h743")
compiled.write("build")
result = tinyc.run("build", runner="qemu", inputs={"input_0": image})
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinyc.version import VERSION as __version__

if TYPE_CHECKING:
    from tinyc.api import Compiled, Model, load, run
    from tinyc.verify import VerifyResult, verify

__all__ = ["Compiled", "Model", "VerifyResult", "__version__", "load", "run", "verify"]

_HOMES = {
    "Compiled": "tinyc.api",
    "Model": "tinyc.api",
    "load": "tinyc.api",
    "run": "tinyc.api",
    "VerifyResult": "tinyc.verify",
    "verify": "tinyc.verify",
}


def __getattr__(name: str) -> Any:
    # The compiler is imported on first use, so that `tinyc --help` stays quick.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tinyc' has no attribute {name!r}")
