// Products in AMX's tiles where there are rows enough, else those of vbmi2, whose other kernels this tier takes.
#define INTACT_TILES
#include "simd/simd_avx512.h"
#include "tiers/tier.inl"
