#define INTACT_TIER kScalar
#define INTACT_TIER_NAME "scalar"
#include "simd/simd_scalar.h"
#include "tiers/tier.inl"
