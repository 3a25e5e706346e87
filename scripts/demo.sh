#!/usr/bin/env bash
# Sets up what is missing, compiles the example network, classifies its test images in an emulated Cortex-M7 and compares with TFLite.
# Arguments go to examples/fashion_mnist/demo.py, e.g. -t stm32f412.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/setup.sh
set_up verify
exec .venv/bin/python examples/fashion_mnist/demo.py "$@"
