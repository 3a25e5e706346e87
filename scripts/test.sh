#!/usr/bin/env bash
# Sets up what is missing, then checks style, types and the examples of the documentation, and runs all tests. Arguments go to pytest, e.g. tests/kernels -k depthwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/setup.sh
set_up dev
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy --strict tinyc benchmarks scripts
.venv/bin/python scripts/examples.py --check docs/*.md
exec .venv/bin/pytest -n 2 --dist worksteal "$@"
