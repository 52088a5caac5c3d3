#include "simd/simd_avx2.h"
#include "tiers/tier.inl"
