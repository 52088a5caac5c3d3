#!/usr/bin/env bash
# Runs all property tests on examples that nobody has tried: three times as many as usual, drawn anew each time.
#   scripts/fresh_examples.sh [SEED] [PYTEST_OPTION...]
# Failures are kept in .hypothesis/examples, the next run tries them first, and the log shows a line @reproduce_failure for each. With
# a seed the examples are the same each time, and Hypothesis keeps no failures. $PYTHON: an interpreter with the test dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
seed=()
case ${1:-} in
    [0-9]*) seed=(--hypothesis-seed="$1"); shift ;;
esac
echo "fresh_examples: ${seed[*]:-failures are kept in $PWD/.hypothesis/examples}"
mapfile -t tests < <(grep -rlE '^(from|import) hypothesis' tests --include='test_*.py' | sort)
exec "${PYTHON:-python3}" -m pytest -q -m hypothesis --hypothesis-profile=fresh "${seed[@]}" "$@" "${tests[@]}"
