# Sourced: `tiers` are arguments to CMake that leave out AVX-512 and AMX where this machine could not run them: they are more than a third
# of the compilation.
tiers=()
has() { grep -qw "$1" /proc/cpuinfo; }
if [ "$(uname -m)" = x86_64 ] && ! has amx_int8; then
    tiers=('-DINTACT_TIERS=scalar;avx2')
    if has avx512_vnni; then tiers=('-DINTACT_TIERS=scalar;avx2;avx512'); fi
    if has avx512_vbmi2; then tiers=('-DINTACT_TIERS=scalar;avx2;avx512;vbmi2'); fi
fi
