// Sixteen 32-bit lanes on AVX-512 with VNNI. Every tier's header defines the same names (docs/dev/adding.md).
#pragma once
#if !defined(__clang__)
// False positives inside GCC 12's own intrinsics (its bug 105593).
#    pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#    pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstdint>

namespace {

typedef std::int64_t Wide __attribute__((vector_size(64)));
typedef std::int32_t Narrow __attribute__((vector_size(64)));

constexpr int kUnpackTiles = 0;  // tiles of rows from which a panel's codes are unpacked once for all; 0: none
constexpr int kScoreRows = 8, kScoreBlocks = 2;  // queries by blocks of 16 keys that a tile of scores holds
constexpr int kMixRows = 6, kMixColumns = 4;     // queries by 16 elements that a tile of values holds
constexpr int kLowBits = 8;                      // of weights, that one product takes
constexpr int kByteZero = 0;                     // what dot_bytes takes off each code

// Number of products of BITS-bit codes that are added in 16 bits (short_products) before they are added in 32.
template <int BITS> constexpr int kShortProducts = 1;

constexpr int kMaxPanels = 2;  // of a matrix tile
#if defined(__AVX512IFMA__) && defined(__AVX512VBMI2__) && defined(__GFNI__)
#    define INTACT_MORE_AVX512       // tier vbmi2 and what builds on it, made for Intel's processors
constexpr int kMaxRows = 8;          // of a matrix tile
constexpr bool kJoinsHalves = true;  // whether there is join_halves
constexpr bool kFollows = true;      // whether lines of a page are fetched by themselves once its first are asked for
#else
constexpr int kMaxRows = 5;  // with more, AMD's processors wait for sums that left the registers
constexpr bool kJoinsHalves = false, kFollows = false;
#endif

struct Lanes {
    __m512i v;
};

inline Wide widen32(const std::int32_t* p) {
    return (Wide)_mm512_cvtepi32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void narrow32(std::int32_t* p, Wide x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi64_epi32((__m512i)x));
}
// Products of numbers that fit in 32 bits.
inline Wide times_low(Wide a, Wide b) { return (Wide)_mm512_mul_epi32((__m512i)a, (__m512i)b); }

// Numbers in the low halves of 64-bit lanes, even and odd places separately, as products read them. The contents of the
// high halves do not matter.
struct Split {
    __m512i even, odd;
};
inline Split split(Narrow x) { return {(__m512i)x, _mm512_srli_epi64((__m512i)x, 32)}; }
inline Narrow join(Split x) { return (Narrow)_mm512_mask_blend_epi32(0xAAAA, x.even, _mm512_slli_epi64(x.odd, 32)); }
inline Split low_halves(Split x) {  // the low 16 bits
    const __m512i mask = _mm512_set1_epi64(0xFFFF);
    return {_mm512_and_si512(x.even, mask), _mm512_and_si512(x.odd, mask)};
}
// (a * b + c) >> S.
template <int S> Split multiply_shift(Split a, Split b, std::int64_t c) {
    const __m512i more = _mm512_set1_epi64(c);
    return {_mm512_srli_epi64(_mm512_add_epi64(_mm512_mul_epi32(a.even, b.even), more), S),
            _mm512_srli_epi64(_mm512_add_epi64(_mm512_mul_epi32(a.odd, b.odd), more), S)};
}
// Sums of products in 64 bits.
struct Sums {
    __m512i even, odd;
};
inline Sums add_products(Sums sums, Split a, Split b) {
    return {_mm512_add_epi64(sums.even, _mm512_mul_epi32(a.even, b.even)),
            _mm512_add_epi64(sums.odd, _mm512_mul_epi32(a.odd, b.odd))};
}
inline void store_sums(std::int64_t* out, Sums sums) {
    const __m512i low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11),
                  high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    _mm512_storeu_si512(out, _mm512_permutex2var_epi64(sums.even, low, sums.odd));
    _mm512_storeu_si512(out + 8, _mm512_permutex2var_epi64(sums.even, high, sums.odd));
}
// (a * b + c) >> S in full width.
template <int S> void multiply_shift_wide(std::int64_t* out, Split a, Split b, std::int64_t c) {
    const __m512i more = _mm512_set1_epi64(c);
    store_sums(out, {_mm512_srai_epi64(_mm512_add_epi64(_mm512_mul_epi32(a.even, b.even), more), S),
                     _mm512_srai_epi64(_mm512_add_epi64(_mm512_mul_epi32(a.odd, b.odd), more), S)});
}
// acc + sum over 2 of signed 16-bit products.
inline Narrow dot_pairs(Narrow acc, Narrow a, Narrow b) {
    return (Narrow)_mm512_dpwssd_epi32((__m512i)acc, (__m512i)a, (__m512i)b);
}
// (p[i] + c) >> s, its low 32 bits.
inline Narrow shift_narrow(const std::int64_t* p, std::int64_t c, int s) {
    const auto half = [&](int i) {
        const __m512i x = _mm512_add_epi64(_mm512_loadu_si512(p + i), _mm512_set1_epi64(c));
        return _mm512_cvtepi64_epi32(_mm512_sra_epi64(x, _mm_cvtsi32_si128(s)));
    };
    return (Narrow)_mm512_inserti64x4(_mm512_castsi256_si512(half(0)), half(8), 1);
}

inline Lanes load(const void* p) { return {_mm512_loadu_si512(p)}; }
inline void store(void* p, Lanes x) { _mm512_storeu_si512(p, x.v); }
inline Lanes zero() { return {_mm512_setzero_si512()}; }
inline Lanes broadcast(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
inline Lanes add(Lanes a, Lanes b) { return {_mm512_add_epi32(a.v, b.v)}; }
template <int S> Lanes shift_right(Lanes a) { return {_mm512_srai_epi32(a.v, S)}; }
inline Lanes shift_right(Lanes a, int s) { return {_mm512_srav_epi32(a.v, _mm512_set1_epi32(s))}; }
template <int S> Lanes shift_left(Lanes a) { return {_mm512_slli_epi32(a.v, S)}; }
inline Lanes shift_left(Lanes a, int s) { return {_mm512_sllv_epi32(a.v, _mm512_set1_epi32(s))}; }
// Shifts each lane by its own count, in 0..31 wherever the lane is not 0; fills with copies of the sign.
inline Lanes signed_right_each(Lanes a, Lanes s) { return {_mm512_srav_epi32(a.v, s.v)}; }
inline bool equal(Lanes a, Lanes b) { return _mm512_cmpneq_epi32_mask(a.v, b.v) == 0; }

// Low halves of the lanes from a, high halves from b (from b's high halves).
inline Lanes blend_halves(Lanes a, Lanes b) { return {_mm512_mask_blend_epi16(0xAAAAAAAAu, a.v, b.v)}; }

// acc + sum over 4 of unsigned bytes times signed bytes. dot_codes: codes below 128; dot_bytes: any. In assembly,
// because GCC 12 moves a loop's sums to other registers and back around its own intrinsics.
inline Lanes dot_codes(Lanes acc, Lanes codes, Lanes x) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc.v) : "v"(codes.v), "v"(x.v));
    return acc;
}
inline Lanes dot_bytes(Lanes acc, Lanes codes, Lanes x) { return dot_codes(acc, codes, x); }
// acc + sum over 2 of signed 16-bit products.
inline Lanes dot_pairs(Lanes acc, Lanes a, Lanes b) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(acc.v) : "v"(a.v), "v"(b.v));
    return acc;
}
// (a * b + 2^14) >> 15 on 32 signed 16-bit halves.
inline Lanes multiply_round15(Lanes a, Lanes b) { return {_mm512_mulhrs_epi16(a.v, b.v)}; }
// The low halves of products of 32 16-bit halves.
inline Lanes multiply_halves(Lanes a, Lanes b) { return {_mm512_mullo_epi16(a.v, b.v)}; }

inline Lanes widen_unsigned16(const void* p) {
    return {_mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
inline Lanes widen_signed8(const void* p) {  // 32 bytes to 32 halves
    return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}

// Parts of packed code lines.
inline Lanes low_nibbles(Lanes x) { return {_mm512_and_si512(x.v, _mm512_set1_epi8(15))}; }
#ifdef INTACT_MORE_AVX512
inline Lanes high_nibbles(Lanes x) {
    return {_mm512_gf2p8affine_epi64_epi8(x.v, _mm512_set1_epi64(0x1020408000000000), 0)};
}
inline Lanes flip_low_signs(Lanes x) { return {_mm512_xor_si512(x.v, _mm512_set1_epi32(1 << 15))}; }  // of low halves
// Low halves of a as high halves, above high halves of b as low ones.
inline Lanes join_halves(Lanes a, Lanes b) { return {_mm512_shldi_epi32(a.v, b.v, 16)}; }
#else
inline Lanes high_nibbles(Lanes x) { return {_mm512_and_si512(_mm512_srli_epi16(x.v, 4), _mm512_set1_epi8(15))}; }
#endif
template <int J> Lanes bit_pairs(Lanes x) {
    return {_mm512_and_si512(_mm512_srli_epi16(x.v, 2 * J), _mm512_set1_epi8(3))};
}
template <int B> Lanes add_bits(Lanes codes, std::uint64_t mask) {  // adds 2^B where the mask has a bit
    return {_mm512_mask_add_epi8(codes.v, static_cast<__mmask64>(mask), codes.v, _mm512_set1_epi8(1 << B))};
}
template <int J> Lanes insert_pairs(Lanes codes, Lanes line) {  // codes | bit_pairs<J>(line) << 4
    const __m512i moved = J == 2  ? line.v
                          : J < 2 ? _mm512_slli_epi16(line.v, J < 2 ? 4 - 2 * J : 0)
                                  : _mm512_srli_epi16(line.v, 2);
    return {_mm512_ternarylogic_epi32(codes.v, moved, _mm512_set1_epi8(0x30), 0xF8)};  // codes | (moved & 0x30)
}
inline Lanes look_up(Lanes table, Lanes codes) { return {_mm512_shuffle_epi8(table.v, codes.v)}; }
inline Lanes load_table(const std::uint8_t* p) {  // 16 bytes, for look_up
    return {_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
// Looks up codes in a table of 16 * PARTS bytes. Codes that belong to another part give 0, because bit 7 of their index
// is set.
template <int PARTS> Lanes look_up_long(const std::uint8_t* table, Lanes codes) {
    __m512i found = _mm512_setzero_si512();
    for (int part = 0; part < PARTS; part++) {
        const __m512i own = _mm512_sub_epi8(codes.v, _mm512_set1_epi8(static_cast<char>(16 * part)));
        const __m512i place = _mm512_adds_epu8(own, _mm512_set1_epi8(0x70));
        found = _mm512_or_si512(found, _mm512_shuffle_epi8(load_table(table + 16 * part).v, place));
    }
    return {found};
}

inline Lanes subtract_bytes(Lanes a, Lanes b) { return {_mm512_sub_epi8(a.v, b.v)}; }
inline Lanes subtract(Lanes a, Lanes b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline Lanes bit_or(Lanes a, Lanes b) { return {_mm512_or_si512(a.v, b.v)}; }
inline Lanes larger_lanes(Lanes a, Lanes b) { return {_mm512_max_epi32(a.v, b.v)}; }
inline Lanes smaller_lanes(Lanes a, Lanes b) { return {_mm512_min_epi32(a.v, b.v)}; }
inline Lanes low_halves(Lanes a) { return {_mm512_and_si512(a.v, _mm512_set1_epi32(0xFFFF))}; }
template <int S> Lanes shift_unsigned(Lanes a) { return {_mm512_srli_epi32(a.v, S)}; }
inline Lanes shift_unsigned(Lanes a, Lanes counts) { return {_mm512_srlv_epi32(a.v, counts.v)}; }
inline Lanes bit_and(Lanes a, Lanes b) { return {_mm512_and_si512(a.v, b.v)}; }
inline Lanes choose_bits(Lanes mask, Lanes a, Lanes b) {  // of a where the mask has them, else of b
    return {_mm512_ternarylogic_epi32(mask.v, a.v, b.v, 0xCA)};
}
// Stores the lanes' low kLowBits as sixteen bytes, then the bits above as sixteen more.
inline void store_weights(void* p, Lanes x) {
    const __m128i bytes = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m512i fours = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 2, 2, 2, 2, 2, 2, 2);
    const __m512i apart = _mm512_shuffle_epi8(x.v, _mm512_broadcast_i32x4(bytes));
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_castsi512_si256(_mm512_permutexvar_epi32(fours, apart)));
}

// The lanes that take part.
using Mask = __mmask16;
inline Mask mask_of(std::uint32_t bits) { return static_cast<Mask>(bits); }
inline Mask less(Lanes a, Lanes b) { return _mm512_cmplt_epi32_mask(a.v, b.v); }
inline Lanes keep(Mask m, Lanes x) { return {_mm512_maskz_mov_epi32(m, x.v)}; }
inline Lanes choose(Mask m, Lanes x, Lanes y) { return {_mm512_mask_mov_epi32(y.v, m, x.v)}; }

// Eight 64-bit lanes: the low half is the 32-bit lane at an even place, the high half the next one.
inline Lanes broadcast_wide(std::int64_t x) { return {_mm512_set1_epi64(x)}; }
inline Lanes add_wide(Lanes a, Lanes b) { return {_mm512_add_epi64(a.v, b.v)}; }
inline Lanes multiply_low(Lanes a, Lanes b) { return {_mm512_mul_epi32(a.v, b.v)}; }  // signed low halves
inline Lanes multiply_unsigned(Lanes a, Lanes b) { return {_mm512_mul_epu32(a.v, b.v)}; }
inline Lanes low_words(Lanes a) { return {_mm512_maskz_mov_epi32(0x5555, a.v)}; }
template <int S> Lanes shift_left_wide(Lanes a) { return {_mm512_slli_epi64(a.v, S)}; }
inline Lanes shift_left_wide(Lanes a, std::int64_t s) { return {_mm512_sllv_epi64(a.v, _mm512_set1_epi64(s))}; }
template <int S> Lanes shift_unsigned_wide(Lanes a) { return {_mm512_srli_epi64(a.v, S)}; }
inline Lanes shift_unsigned_wide(Lanes a, std::int64_t s) { return {_mm512_srlv_epi64(a.v, _mm512_set1_epi64(s))}; }
inline Lanes shift_right_wide(Lanes a, int s) { return {_mm512_sra_epi64(a.v, _mm_cvtsi32_si128(s))}; }
inline Lanes clip_wide(Lanes a, std::int64_t limit) {
    return {_mm512_max_epi64(_mm512_min_epi64(a.v, _mm512_set1_epi64(limit)), _mm512_set1_epi64(-limit))};
}
inline Lanes blend_words(Lanes a, Lanes b) { return {_mm512_mask_mov_epi32(a.v, 0xAAAA, b.v)}; }  // low, high

// Draws (sampling.inl).
inline Lanes larger_of(Lanes a, Lanes b) { return {_mm512_max_epi32(a.v, b.v)}; }
inline std::uint32_t reaches(Lanes a, Lanes b) { return _mm512_cmpge_epi32_mask(a.v, b.v); }
inline std::uint32_t below_unsigned(Lanes a, Lanes b) { return _mm512_cmplt_epu32_mask(a.v, b.v); }
inline Lanes bits_of(Lanes a, Lanes b) { return {_mm512_and_si512(a.v, b.v)}; }
inline Lanes shift_left_each(Lanes a, Lanes s) { return {_mm512_sllv_epi32(a.v, s.v)}; }
inline Lanes shift_right_each(Lanes a, Lanes s) { return {_mm512_srlv_epi32(a.v, s.v)}; }  // fills with 0
// Packs the lanes whose bits are set to the front of p, which has room for 16.
inline void pack(std::int32_t* p, Lanes x, std::uint32_t bits) {
    _mm512_storeu_si512(p, _mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), x.v));
}
// Pairs of lanes as 64-bit numbers: products of their low halves, sums, shifts that fill with 0.
inline Lanes pair_product(Lanes a, Lanes b) { return {_mm512_mul_epi32(a.v, b.v)}; }
inline Lanes pair_product_unsigned(Lanes a, Lanes b) { return {_mm512_mul_epu32(a.v, b.v)}; }
inline Lanes pair_add(Lanes a, Lanes b) { return {_mm512_add_epi64(a.v, b.v)}; }
template <int S> Lanes pair_right(Lanes a) { return {_mm512_srli_epi64(a.v, S)}; }
template <int S> Lanes pair_left(Lanes a) { return {_mm512_slli_epi64(a.v, S)}; }
inline Lanes broadcast_pair(std::int64_t x) { return {_mm512_set1_epi64(x)}; }
inline Lanes low_and_high(Lanes a, Lanes b) { return {_mm512_mask_blend_epi32(0xAAAA, a.v, b.v)}; }

}  // namespace
