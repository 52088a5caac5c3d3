// AVX-512 with what came after its first dot products: multiply-adds of 52 bits, shifts of two words as one, affine
// maps of a byte's bits.
#include "simd/simd_avx512.h"
#include "tiers/tier.inl"
