// AVX-512 with what came after its first dot products: multiply-adds of 52 bits, shifts of two words as one, affine
// maps of a byte's bits.
#define INTACT_TIER kVbmi2
#define INTACT_TIER_NAME "vbmi2"
#include "simd/simd_avx512.h"
#include "tiers/tier.inl"
