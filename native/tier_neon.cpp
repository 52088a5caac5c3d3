#define INTACT_TIER kNeon
#define INTACT_TIER_NAME "neon"
#include "simd_neon.h"
#include "tier.inl"
