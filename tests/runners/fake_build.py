"""Hand-written build folders: a network of a few lines of C and the report that goes with it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tinyc.targets import load_target

REVERSE = """
int reverse_invoke(uint8_t *arena)
{
    for (int i = 0; i < 12; i++) {
        arena[64 + i] = arena[16 + 11 - i];
        arena[16 + 11 - i] = 0;
    }
    return 0;
}
"""

HEADER = """#ifndef REVERSE_H
#define REVERSE_H
#include <stdint.h>
#define REVERSE_ARENA_SIZE {arena_bytes}
#define REVERSE_ARENA_ALIGN 16
#define REVERSE_INPUT_0_OFFSET 16
#define REVERSE_INPUT_0_SIZE 12
#define REVERSE_OUTPUT_0_OFFSET 64
#define REVERSE_OUTPUT_0_SIZE 12
int reverse_invoke(uint8_t *arena);
#endif
"""


def make_build(folder: Path, target: str, body: str = REVERSE, weights: str = "", arena_bytes: int = 77, **changes: Any) -> Path:
    """A build folder of a network that reverses its 12 input bytes, or of whatever `body` does to them."""
    folder.mkdir(parents=True)
    (folder / "reverse.h").write_text(HEADER.format(arena_bytes=arena_bytes))
    (folder / "reverse.c").write_text('#include <string.h>\n#include "reverse.h"\nextern const uint8_t reverse_weights[];\n' + body)
    constants = weights or "const uint8_t reverse_weights[4] = {1, 2, 3, 4};"
    (folder / "reverse_weights.c").write_text(f"#include <stdint.h>\nextern const uint8_t reverse_weights[];\n{constants}\n")
    tensor = {"dtype": "int8", "shape": [3, 4], "bytes": 12, "scale": 0.5, "zero_point": -3}
    report = {
        "name": "reverse",
        "numerics": "tflm",
        "target": load_target(target).facts(),
        "sources": ["reverse.c", "reverse_weights.c", "reverse.h"],
        "arena": {"bytes": arena_bytes, "align": 16},
        "inputs": [{"name": "image", "offset": 16, **tensor}],
        "outputs": [{"name": "label", "offset": 64, **tensor}],
    }
    (folder / "report.json").write_text(json.dumps(report | changes))
    return folder


has_arm_compiler = shutil.which("arm-none-eabi-gcc") is not None or importlib.util.find_spec("ziglang") is not None
needs_arm_compiler = pytest.mark.skipif(not has_arm_compiler, reason="neither arm-none-eabi-gcc nor ziglang is installed")
needs_unicorn = pytest.mark.skipif(
    not has_arm_compiler or importlib.util.find_spec("unicorn") is None,
    reason="unicorn and a compiler for Cortex-M (arm-none-eabi-gcc or ziglang) are not both installed",
)
needs_zig = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed")
needs_gcc_arm = pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed")
needs_qemu = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="arm-none-eabi-gcc and qemu-system-arm are not both installed",
)
needs_native_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler for this machine is installed"
)
