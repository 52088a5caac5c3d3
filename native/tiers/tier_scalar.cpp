#include "simd/simd_scalar.h"
#include "tiers/tier.inl"
