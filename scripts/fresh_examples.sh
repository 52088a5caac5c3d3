#!/usr/bin/env bash
# Runs all property tests on examples that nobody has tried: three times as many as usual, drawn anew each time.
#   scripts/fresh_examples.sh [SEED] [PYTEST_OPTION...]
# The seed is printed; the same seed draws the same examples again. Failures are kept in .hypothesis/examples, and the next run
# tries them first. $PYTHON: an interpreter with the test dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
seed=$(date +%s)
case ${1:-} in
    [0-9]*) seed=$1; shift ;;
esac
echo "fresh_examples: seed $seed; failures are kept in $PWD/.hypothesis/examples"
mapfile -t tests < <(grep -rlE '^(from|import) hypothesis' tests --include='test_*.py' | sort)
exec "${PYTHON:-python3}" -m pytest -q -m hypothesis --hypothesis-profile=fresh --hypothesis-seed="$seed" "$@" "${tests[@]}"
