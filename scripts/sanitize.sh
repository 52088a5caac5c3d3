#!/usr/bin/env bash
# Builds the extension with AddressSanitizer and UndefinedBehaviorSanitizer and runs the tests marked `native` under it.
#   scripts/sanitize.sh [--scalar] [PYTEST ARGUMENT...]     --scalar: that tier alone, and the tests of kernels alone, for .ci/run
# $PYTHON: an interpreter with nanobind, cmake, ninja and the test dependencies
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/site.sh
. scripts/tiers.sh
python=$(command -v "${PYTHON:-python3}")
build=build/sanitize tests=()
if [ "${1:-}" = --scalar ]; then
    shift
    build=build/sanitize-scalar tiers=scalar tests=("${kernel_tests[@]}")
fi
unset INTACT_REQUIRE_TIERS
PATH="$(dirname "$python"):$PATH"

site "$build/site"
cmake -G Ninja -S . -B "$build" -DINTACT_TIERS="$tiers" -DPython_EXECUTABLE="$python" -DCMAKE_CXX_COMPILER="${CXX:-g++}" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS=-O1 \
    -DINTACT_WERROR=ON -DINTACT_SANITIZE=address,undefined -DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$PWD/$build/site/intact" >"$build/configure.log" ||
    { cat "$build/configure.log" >&2; exit 1; }
cmake --build "$build" -- --quiet

# Python itself is not instrumented: the runtime comes first, libstdc++ beside it so that exceptions are intercepted, and leaks, of which
# the interpreter has its own, are not looked for.
runtime="$("${CXX:-g++}" -print-file-name=libasan.so) $("${CXX:-g++}" -print-file-name=libstdc++.so)"
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 PYTHONPATH="$PWD/$build/site"
LD_PRELOAD="$runtime" "$python" -c 'import intact._native as native; print("sanitize: testing", native.__file__)'
LD_PRELOAD="$runtime" "$python" -m pytest -q -n auto --dist loadfile -m "native and not slow and not nightly" --hypothesis-profile=few \
    -p no:cacheprovider "${tests[@]}" "$@"
