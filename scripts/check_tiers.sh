#!/usr/bin/env bash
# Looks into the objects of a build for functions that a tier's unit would share with others: an inline function compiled for a wider
# instruction set may be the copy that the linker keeps for everybody, and then crash a smaller machine. Also for fetches that got lost.
#   scripts/check_tiers.sh BUILD_FOLDER
set -euo pipefail
build=$1
status=0
count=0
for object in "$build"/CMakeFiles/_native.dir/native/tiers/tier_*.o; do
    count=$((count + 1))
    if shared=$(nm --defined-only --demangle "$object" | grep -E ' [Ww] '); then
        printf 'check_tiers: %s defines functions that it would share; put them in an anonymous namespace:\n%s\n' "${object##*/}" "$shared" >&2
        status=1
    fi
    # A compiler may take a function that only fetches for one without effects, and drop its calls: no result would tell.
    case $object in
    *tier_avx2_products*.o | *tier_avx512_products*.o | *tier_vbmi2_products*.o)
        if [ "$(objdump -d "$object" | grep -c prefetcht1)" -lt 100 ]; then
            echo "check_tiers: ${object##*/} does not fetch its weights ahead" >&2
            status=1
        fi ;;
    esac
done
[ "$count" -gt 1 ] || { echo "check_tiers: no tiers in $build" >&2; exit 1; }
[ "$status" != 0 ] || echo "check_tiers: $count units of tiers share no function"
exit $status
