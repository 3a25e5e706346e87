"""The same model, twice: same bytes, wherever and whenever it is compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

MODEL = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist" / "fashion_mnist.tflite"


def test_two_folders_two_hash_seeds_and_two_time_zones_give_the_same_files(tmp_path: Path) -> None:
    contents = []
    for index, zone in enumerate(("UTC", "Asia/Tokyo")):
        folder = tmp_path / f"place {index}" / ("deeper" * index)
        folder.mkdir(parents=True)
        shutil.copy(MODEL, folder / "net.tflite")
        environment = {**os.environ, "PYTHONHASHSEED": str(index + 1), "TZ": zone}
        command = [sys.executable, "-c", "from tinyc.cli import main; main()", "compile", "net.tflite", "-t", "stm32f746", "-o", "out"]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=120)
        contents.append({path.name: path.read_bytes() for path in (folder / "out").iterdir()})
    assert len(contents[0]) >= 6
    assert contents[0] == contents[1]
