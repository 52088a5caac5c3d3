#!/usr/bin/env bash
# The package on aarch64: cross-compiles the extension and runs tests under qemu.
#   scripts/arm64.sh build              builds it into $INTACT_ARM64/site
#   scripts/arm64.sh test               builds, then runs the tests of kernels there, then the comparison in tests/arm64 here
#   scripts/arm64.sh all [FILE...]      the same with all tests that are marked `native`, of these files or of all: some twenty minutes more
#   scripts/arm64.sh run ARG...         runs the emulated Python, which sees the package
# $INTACT_ARM64 (default ~/.cache/intact-arm64) is an aarch64 Python with NumPy: its `python` runs it, usr/include holds its headers
# and site its packages (docs/dev/building.md). $PYTHON: an interpreter with nanobind, cmake, ninja and the test dependencies; $CXX_ARM64: the
# compiler (default aarch64-linux-gnu-g++).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/site.sh
machine=${INTACT_ARM64:-$HOME/.cache/intact-arm64}
python=$(command -v "${PYTHON:-python3}")
build=build/arm64
PATH="$(dirname "$python"):$PATH"
if [ ! -x "$machine/python" ]; then
    echo "arm64: no emulated Python at $machine/python; docs/dev/building.md says how to set one up (INTACT_ARM64 names the folder)" >&2
    exit 2
fi

build() {
    local version soabi
    version=$(cd "$machine/usr/include" && ls -d python3.*)
    soabi=$("$machine/python" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')
    site "$machine/site"
    mkdir -p "$build"
    cmake -G Ninja -S . -B "$build" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_CXX_COMPILER="${CXX_ARM64:-aarch64-linux-gnu-g++}" \
        -DCMAKE_CXX_FLAGS="-I$machine/usr/include" -DPython_EXECUTABLE="$python" -DPython_INCLUDE_DIR="$machine/usr/include/$version" \
        -DSKBUILD_SOABI="$soabi" -DINTACT_WERROR=ON -DINTACT_TIERS=all \
        -DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$machine/site/intact" >"$build/configure.log" || { cat "$build/configure.log" >&2; exit 1; }
    cmake --build "$build" -- --quiet
    "$machine/python" -c 'import platform, intact._native as native; print("arm64:", platform.machine(), native.__file__)'
}

packages() {
    "$machine/python" -c 'import hypothesis, jinja2, pytest, safetensors, tokenizers' 2>/dev/null && return
    local version
    version=$("$machine/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -m pip install -q --disable-pip-version-check --upgrade --target "$machine/site" --only-binary=:all: --implementation cp \
        --python-version "$version" --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux_2_28_aarch64 \
        hypothesis jinja2 pytest safetensors tokenizers
}

case ${1:-} in
    build)
        build
        ;;
    test | all)
        build
        packages
        tests=("${kernel_tests[@]}")
        if [ "$1" = all ]; then
            shift
            mapfile -t tests < <(grep -rl 'mark\.native' "${@:-tests}" --include='test_*.py')
        fi
        unset INTACT_REQUIRE_TIERS  # /proc/cpuinfo is that of this machine
        "$machine/python" -m pytest -q -m "native and not slow and not nightly" --hypothesis-profile=few -p no:cacheprovider "${tests[@]}"
        INTACT_ARM64=$machine "$python" -m pytest -q -m "not nightly" tests/arm64
        ;;
    run)
        shift
        exec "$machine/python" "$@"
        ;;
    *)
        sed -n '2,10s/^# \?//p' "$0" >&2
        exit 2
        ;;
esac
