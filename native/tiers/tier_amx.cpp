// Products in AMX tiles if there are enough rows, otherwise those of vbmi2, whose other kernels this tier uses too.
#define INTACT_TILES
#include "simd/simd_avx512.h"
#include "tiers/tier.inl"
