# Sourced: `tiers` are arguments to CMake for all tiers that this machine can run. Those that it cannot are left out: they are more than half of
# the compilation.
tiers=(-DINTACT_TIERS=all)
has() { grep -qw "$1" /proc/cpuinfo; }
if [ "$(uname -m)" = x86_64 ] && ! has amx_int8; then
    if has avx512_vnni; then tiers=('-DINTACT_TIERS=scalar;avx2;avx512'); else tiers=('-DINTACT_TIERS=scalar;avx2'); fi
fi
