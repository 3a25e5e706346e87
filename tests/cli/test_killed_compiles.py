"""A compile that is killed at any moment leaves the output folder as it was, or whole; TINYC_KILLS says how many are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

MODEL = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite"
KILLS = int(os.environ.get("TINYC_KILLS", "6"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def start(target: str, output: Path) -> subprocess.Popen[bytes]:
    program = "from tinyc.cli import main; main()"
    command = [sys.executable, "-c", program, "compile", str(MODEL), "-t", target, "-o", str(output)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_output_folder_is_the_old_build_or_the_new_one_whenever_a_compile_is_killed(tmp_path: Path) -> None:
    output, builds = tmp_path / "out", []
    for target in ("cortex-m4", "cortex-m7", "cortex-m4"):
        begin = time.monotonic()
        assert start(target, output).wait(timeout=120) == 0
        seconds = time.monotonic() - begin
        builds.append(content(output))
    old, new = builds[0], builds[1]
    assert old != new
    assert builds[2] == old
    moments, replaced = random.Random(2007), 0
    for number in range(KILLS):
        process = start("cortex-m7", output)
        # The last third of a compile is where it writes.
        time.sleep(seconds * moments.uniform(0.6, 1.15) if number % 2 else seconds * moments.uniform(0, 1))
        process.send_signal(SIGNALS[number % 3])
        process.wait(timeout=120)
        found = content(output)
        assert found in (old, new), f"killed by {SIGNALS[number % 3].name}: {sorted(found)}"
        if found == new:
            replaced += 1
            assert start("cortex-m4", output).wait(timeout=120) == 0
    assert replaced < KILLS
