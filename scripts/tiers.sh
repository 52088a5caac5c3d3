# Sourced: `tiers` are those that this machine can run, for INTACT_TIERS: AVX-512 is left out where it could not, and what builds on it where
# there is no AMX: they are more than half of the compilation.
tiers=all
has() { grep -qw "$1" /proc/cpuinfo; }
if [ "$(uname -m)" = x86_64 ] && ! has amx_int8; then
    if has avx512_vnni; then tiers='scalar;avx2;avx512'; else tiers='scalar;avx2'; fi
fi
