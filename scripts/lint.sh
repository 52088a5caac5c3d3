#!/usr/bin/env bash
# All static checks: ruff (rules and format), mypy --strict, import layers, words and lengths of lines, clang-format, the
# list of mutations; with --tidy also clang-tidy, which takes minutes.
# The tools are those of the extra `dev`, beside $PYTHON; --tidy reads the build folder that follows it (default build/dev).
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$(dirname "$(command -v "${PYTHON:-python3}")"):$PATH"

status=0
check() {
    "$@" || { echo "lint: failed: $*" | cut -c1-200 >&2; status=1; }
}
mapfile -t sources < <(find native -name '*.cpp' -o -name '*.h' -o -name '*.inl' | sort)
check ruff check
check ruff format --check
check mypy
check lint-imports --no-logo
check "${PYTHON:-python3}" scripts/vocabulary.py src native docs study scripts README.md CONTRIBUTING.md benchmarks/README.md
check "${PYTHON:-python3}" scripts/mutate.py --list . > /dev/null  # its list follows the kernels
check clang-format --dry-run --Werror "${sources[@]}"
if [ "${1:-}" = --tidy ]; then
    check clang-tidy --quiet -p "${2:-build/dev}" $(find native -name '*.cpp' ! -name 'tier_neon*' ! -name 'tier_wasm*' ! -path 'native/wasm/*')
fi
exit $status
