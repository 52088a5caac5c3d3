#include "simd/simd_wasm.h"
#include "tiers/tier.inl"
