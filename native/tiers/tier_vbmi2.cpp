// AVX-512 with later extensions: 52-bit multiply-adds, shifts of two concatenated words, affine maps of a byte's bits.
#include "simd/simd_avx512.h"
#include "tiers/tier.inl"
