# Sourced: `tiers` are arguments to CMake that leave out AVX-512 where this machine could not run it, and what builds on it where there is no
# AMX: they are more than half of the compilation.
tiers=()
has() { grep -qw "$1" /proc/cpuinfo; }
if [ "$(uname -m)" = x86_64 ] && ! has amx_int8; then
    if has avx512_vnni; then tiers=('-DINTACT_TIERS=scalar;avx2;avx512'); else tiers=('-DINTACT_TIERS=scalar;avx2'); fi
fi
