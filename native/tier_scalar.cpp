#define INTACT_TIER kScalar
#define INTACT_TIER_NAME "scalar"
#include "simd_scalar.h"
#include "tier.inl"
