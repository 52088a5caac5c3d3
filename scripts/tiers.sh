# Sourced: `tiers` are arguments to CMake that leave out AVX-512 where this machine could not run it: it is more than a third of the
# compilation.
tiers=()
[ "$(uname -m)" != x86_64 ] || grep -qw avx512_vnni /proc/cpuinfo || tiers=('-DINTACT_TIERS=scalar;avx2')
