#include "simd/simd_avx512.h"
#include "tiers/tier.inl"
