#define INTACT_TIER kNeon
#define INTACT_TIER_NAME "neon"
#include "simd/simd_neon.h"
#include "tiers/tier.inl"
