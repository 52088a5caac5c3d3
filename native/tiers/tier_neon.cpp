#include "simd/simd_neon.h"
#include "tiers/tier.inl"
