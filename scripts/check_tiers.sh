#!/usr/bin/env bash
# Looks into the objects of a build for functions that a tier's unit would share with others: an inline function compiled for a wider
# instruction set may be the copy that the linker keeps for everybody, and then crash a smaller machine.
#   scripts/check_tiers.sh BUILD_FOLDER
set -euo pipefail
build=$1
status=0
count=0
for object in "$build"/CMakeFiles/_native.dir/native/tier_*.o; do
    count=$((count + 1))
    if shared=$(nm --defined-only --demangle "$object" | grep -E ' [Ww] '); then
        printf 'check_tiers: %s defines functions that it would share; put them in an anonymous namespace:\n%s\n' "${object##*/}" "$shared" >&2
        status=1
    fi
done
[ "$count" -gt 1 ] || { echo "check_tiers: no tiers in $build" >&2; exit 1; }
[ "$status" != 0 ] || echo "check_tiers: $count tiers share no function"
exit $status
