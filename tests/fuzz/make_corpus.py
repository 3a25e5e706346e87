"""Seeds for the fuzzer: `PYTHONPATH=tests python tests/fuzz/make_corpus.py FOLDER` writes small TFLite files, some for each op."""

from __future__ import annotations

import sys
from pathlib import Path

from fuzz.seeds import seed_models


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in seed_models().items():
        (folder / f"{name}.tflite").write_bytes(content)
    print(f"{len(seed_models())} files in {folder}")


if __name__ == "__main__":
    main()
