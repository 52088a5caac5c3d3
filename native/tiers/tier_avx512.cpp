#define INTACT_TIER kAvx512
#define INTACT_TIER_NAME "avx512"
#include "simd/simd_avx512.h"
#include "tiers/tier.inl"
