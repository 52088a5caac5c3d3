// Sixteen 32-bit lanes on AVX-512 with VNNI. Every tier's header defines the same names (docs/adding.md).
#pragma once
#if !defined(__clang__)
// False alarms inside GCC 12's own intrinsics (its bug 105593).
#    pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#    pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstdint>

namespace {

typedef std::int64_t Wide __attribute__((vector_size(64)));

constexpr int kMaxRows = 8;    // rows of activations a matrix tile holds: 8 sums, 8 groups, 8 totals in 32 registers
constexpr int kQueryRows = 4;  // queries an attention tile holds

struct Lanes {
    __m512i v;
};

inline Wide widen32(const std::int32_t* p) {
    return (Wide)_mm512_cvtepi32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void narrow32(std::int32_t* p, Wide x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi64_epi32((__m512i)x));
}

inline Lanes load(const void* p) { return {_mm512_loadu_si512(p)}; }
inline void store(void* p, Lanes x) { _mm512_storeu_si512(p, x.v); }
inline Lanes zero() { return {_mm512_setzero_si512()}; }
inline Lanes broadcast(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
inline Lanes add(Lanes a, Lanes b) { return {_mm512_add_epi32(a.v, b.v)}; }
template <int S> Lanes shift_right(Lanes a) { return {_mm512_srai_epi32(a.v, S)}; }
inline Lanes shift_right(Lanes a, int s) { return {_mm512_sra_epi32(a.v, _mm_cvtsi32_si128(s))}; }
template <int S> Lanes shift_left(Lanes a) { return {_mm512_slli_epi32(a.v, S)}; }

// Low halves of the lanes from a, high halves from b (as they stand in b's high halves).
inline Lanes blend_halves(Lanes a, Lanes b) { return {_mm512_mask_blend_epi16(0xAAAAAAAAu, a.v, b.v)}; }

// acc + sum over 4 of unsigned bytes times signed bytes. Codes below 64: dot_codes; any: dot_bytes.
inline Lanes dot_codes(Lanes acc, Lanes codes, Lanes x) { return {_mm512_dpbusd_epi32(acc.v, codes.v, x.v)}; }
inline Lanes dot_bytes(Lanes acc, Lanes codes, Lanes x) { return {_mm512_dpbusd_epi32(acc.v, codes.v, x.v)}; }
// acc + sum over 2 of signed 16-bit products.
inline Lanes dot_pairs(Lanes acc, Lanes a, Lanes b) { return {_mm512_dpwssd_epi32(acc.v, a.v, b.v)}; }
// (a * b + 2^14) >> 15 on 32 signed halves.
inline Lanes multiply_round15(Lanes a, Lanes b) { return {_mm512_mulhrs_epi16(a.v, b.v)}; }

inline Lanes widen_unsigned16(const void* p) {
    return {_mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
inline Lanes widen_signed8(const void* p) {  // 32 bytes to 32 halves
    return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}

// Parts of packed code lines.
inline Lanes low_nibbles(Lanes x) { return {_mm512_and_si512(x.v, _mm512_set1_epi8(15))}; }
inline Lanes high_nibbles(Lanes x) { return {_mm512_and_si512(_mm512_srli_epi16(x.v, 4), _mm512_set1_epi8(15))}; }
template <int J> Lanes bit_pairs(Lanes x) {
    return {_mm512_and_si512(_mm512_srli_epi16(x.v, 2 * J), _mm512_set1_epi8(3))};
}
template <int B> Lanes add_bits(Lanes codes, std::uint64_t mask) {  // adds 2^B where the mask has a bit
    return {_mm512_mask_add_epi8(codes.v, static_cast<__mmask64>(mask), codes.v, _mm512_set1_epi8(1 << B))};
}
template <int B> Lanes or_shifted(Lanes codes, Lanes high) {  // codes | high << B, high below 2^(8 - B)
    return {_mm512_or_si512(codes.v, _mm512_slli_epi16(high.v, B))};
}
inline Lanes look_up(Lanes table, Lanes codes) { return {_mm512_shuffle_epi8(table.v, codes.v)}; }
inline Lanes load_table(const std::uint8_t* p) {  // 16 bytes, for look_up
    return {_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

}  // namespace
