"""Coverage-guided fuzzing of the TFLite front end and the compiler behind it, with atheris (PyPI).

    pip install atheris
    PYTHONPATH=tests python tests/fuzz/make_corpus.py build/corpus
    PYTHONPATH=tests python tests/fuzz/fuzz_tflite.py build/corpus -max_total_time=1800 -timeout=10 -rss_limit_mb=1024

Stops at the first input that is neither refused nor compiled, and writes it to the working folder.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["tinyc", "tflite", "flatbuffers"]):
    from fuzz.judge import judge


def main() -> None:
    """Hands over to libFuzzer."""
    atheris.Setup(sys.argv, lambda data: judge(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
