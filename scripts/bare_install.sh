#!/usr/bin/env bash
# Proves that `pip install .` needs Python and nothing else: installs into a fresh environment whose PATH holds no compiler, CMake, Ninja,
# make or binutils, and runs the tests of kernels on what that built.
#   scripts/bare_install.sh [--scalar]     --scalar: that tier alone, and `intact selftest` in place of the tests, for .ci/run
# $PYTHON: an interpreter with the test dependencies, which the tests borrow
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/site.sh
. scripts/tiers.sh
[ "${1:-}" != --scalar ] || tiers=scalar
unset INTACT_REQUIRE_TIERS
python=$(command -v "${PYTHON:-python3}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/bin"
hidden='^(.*-)?(c\+\+|g\+\+|cc|gcc|clang|clang\+\+|cpp|c89|c99|ld|ld\.[a-z]+|as|ar|ranlib|strip|nm|objcopy|cmake|ninja|make|gmake|zig)(-[0-9.]+)?$'
for folder in /usr/local/bin /usr/bin /bin; do
    for tool in "$folder"/*; do
        name=${tool##*/}
        [[ $name =~ $hidden ]] || ln -sf "$tool" "$work/bin/$name"
    done
done
"$python" -m venv "$work/venv"

bare() { env -u CXX -u CC -u CXXFLAGS -u CMAKE_ARGS -u CMAKE_CXX_COMPILER_LAUNCHER INTACT_TIERS="$tiers" PATH="$work/venv/bin:$work/bin" "$@"; }
if bare sh -c 'command -v c++ g++ gcc cc clang++ cmake ninja make ld ar'; then
    echo "bare_install: a build tool is still visible" >&2
    exit 1
fi
SECONDS=0
bare pip install --quiet --disable-pip-version-check .
echo "bare_install: installed in $SECONDS s without a compiler"
if [ "$tiers" = scalar ]; then
    bare intact selftest
    exit
fi
packages() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
packages "$python" >"$(packages "$work/venv/bin/python")/borrowed.pth"  # behind its own
"$work/venv/bin/python" -c 'import intact._native as native; print("bare_install: testing", native.__file__)' | grep "$work"
"$work/venv/bin/python" -m pytest -q -n auto --dist loadfile -m "native and not slow and not nightly" \
    --hypothesis-profile=few -p no:cacheprovider "${kernel_tests[@]}"
