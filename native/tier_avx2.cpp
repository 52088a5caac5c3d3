#define INTACT_TIER kAvx2
#define INTACT_TIER_NAME "avx2"
#include "simd_avx2.h"
#include "tier.inl"
