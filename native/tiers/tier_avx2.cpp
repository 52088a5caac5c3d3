#define INTACT_TIER kAvx2
#define INTACT_TIER_NAME "avx2"
#include "simd/simd_avx2.h"
#include "tiers/tier.inl"
