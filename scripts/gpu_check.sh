#!/usr/bin/env bash
# Checks a GPU in at most 8 minutes: the same bits as the CPU first, then speeds. Needs `pip install '.[gpu]'` and nothing else.
#   scripts/gpu_check.sh [--quick] [--out FILE]     the options of benchmarks/gpu_check.py
# $PYTHON: the interpreter with that installation; $INTACT_GPU: a part of the adapter's description
set -euo pipefail
exec "${PYTHON:-python3}" "$(dirname "$0")/../benchmarks/gpu_check.py" "$@"
