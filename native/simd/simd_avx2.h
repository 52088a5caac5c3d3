// Sixteen 32-bit lanes on AVX2, as two vectors.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "simd/simd_single.h"

namespace {

constexpr int kMaxRows = 4, kMaxPanels = 1;  // rows by panels of a matrix tile
constexpr int kUnpackTiles = 2;
constexpr int kScoreRows = 4, kScoreBlocks = 1;
constexpr int kMixRows = 4, kMixColumns = 1;
constexpr int kLowBits = 7;  // of weights, that one product takes
constexpr int kByteZero = 128;
// 8 * 2 * 15 * 127 = 30,480, 4 * 2 * 31 * 127 = 31,496 and 2 * 2 * 63 * 127 = 32,004 fit in 16 bits.
template <int BITS> constexpr int kShortProducts = BITS <= 4 ? 8 : BITS == 5 ? 4 : BITS == 6 ? 2 : 1;
constexpr bool kJoinsHalves = false, kFollows = false;

typedef std::int32_t Narrow __attribute__((vector_size(32)));

// Numbers in the low halves of 64-bit lanes, even and odd places separately, as products read them.
struct Split {
    __m256i even, odd;
};
inline Split split(Narrow x) { return {(__m256i)x, _mm256_srli_epi64((__m256i)x, 32)}; }
inline Narrow join(Split x) { return (Narrow)_mm256_blend_epi32(x.even, _mm256_slli_epi64(x.odd, 32), 0xAA); }
inline Split low_halves(Split x) {
    const __m256i mask = _mm256_set1_epi64x(0xFFFF);
    return {_mm256_and_si256(x.even, mask), _mm256_and_si256(x.odd, mask)};
}
template <int S> Split multiply_shift(Split x, Split y, std::int64_t c) {
    const __m256i more = _mm256_set1_epi64x(c);
    return {_mm256_srli_epi64(_mm256_add_epi64(_mm256_mul_epi32(x.even, y.even), more), S),
            _mm256_srli_epi64(_mm256_add_epi64(_mm256_mul_epi32(x.odd, y.odd), more), S)};
}
// x >> s for signed 64-bit lanes: x plus 2^63 is shifted unsigned, then the shifted 2^63 is subtracted.
inline __m256i shift_signed(__m256i x, int s) {
    const __m256i top = _mm256_set1_epi64x(INT64_MIN);
    const __m128i n = _mm_cvtsi32_si128(s);
    return _mm256_sub_epi64(_mm256_srl_epi64(_mm256_xor_si256(x, top), n), _mm256_srl_epi64(top, n));
}
// Sums of products in 64 bits.
struct Sums {
    __m256i even, odd;
};
inline Sums add_products(Sums sums, Split x, Split y) {
    return {_mm256_add_epi64(sums.even, _mm256_mul_epi32(x.even, y.even)),
            _mm256_add_epi64(sums.odd, _mm256_mul_epi32(x.odd, y.odd))};
}
inline void store_sums(std::int64_t* out, Sums sums) {
    const __m256i low = _mm256_unpacklo_epi64(sums.even, sums.odd), high = _mm256_unpackhi_epi64(sums.even, sums.odd);
    auto* to = reinterpret_cast<__m256i*>(out);
    _mm256_storeu_si256(to, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(low, high, 0x31));
}
template <int S> void multiply_shift_wide(std::int64_t* out, Split x, Split y, std::int64_t c) {
    const __m256i more = _mm256_set1_epi64x(c);
    store_sums(out, {shift_signed(_mm256_add_epi64(_mm256_mul_epi32(x.even, y.even), more), S),
                     shift_signed(_mm256_add_epi64(_mm256_mul_epi32(x.odd, y.odd), more), S)});
}
inline Narrow dot_pairs(Narrow acc, Narrow x, Narrow y) {
    return acc + (Narrow)_mm256_madd_epi16((__m256i)x, (__m256i)y);
}
inline Narrow shift_narrow(const std::int64_t* p, std::int64_t c, int s) {
    const auto half = [&](int i) {
        const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i));
        return shift_signed(_mm256_add_epi64(x, _mm256_set1_epi64x(c)), s);
    };
    const __m256i pairs = _mm256_castps_si256(
        _mm256_shuffle_ps(_mm256_castsi256_ps(half(0)), _mm256_castsi256_ps(half(4)), 0x88));  // 0 1 4 5 2 3 6 7
    return (Narrow)_mm256_permute4x64_epi64(pairs, 0xD8);
}

struct Lanes {
    __m256i a, b;
};

inline const __m256i* at(const void* p, int i) { return static_cast<const __m256i*>(p) + i; }

inline Lanes load(const void* p) { return {_mm256_loadu_si256(at(p, 0)), _mm256_loadu_si256(at(p, 1))}; }
inline void store(void* p, Lanes x) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), x.a);
    _mm256_storeu_si256(static_cast<__m256i*>(p) + 1, x.b);
}
inline Lanes zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline Lanes broadcast(std::int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline Lanes add(Lanes x, Lanes y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
template <int S> Lanes shift_right(Lanes x) { return {_mm256_srai_epi32(x.a, S), _mm256_srai_epi32(x.b, S)}; }
inline Lanes shift_right(Lanes x, int s) {
    const __m128i n = _mm_cvtsi32_si128(s);
    return {_mm256_sra_epi32(x.a, n), _mm256_sra_epi32(x.b, n)};
}
template <int S> Lanes shift_left(Lanes x) { return {_mm256_slli_epi32(x.a, S), _mm256_slli_epi32(x.b, S)}; }
inline Lanes shift_left(Lanes x, int s) {
    const __m128i n = _mm_cvtsi32_si128(s);
    return {_mm256_sll_epi32(x.a, n), _mm256_sll_epi32(x.b, n)};
}
inline Lanes signed_right_each(Lanes x, Lanes s) { return {_mm256_srav_epi32(x.a, s.a), _mm256_srav_epi32(x.b, s.b)}; }
inline bool equal(Lanes x, Lanes y) {
    const __m256i same = _mm256_and_si256(_mm256_cmpeq_epi32(x.a, y.a), _mm256_cmpeq_epi32(x.b, y.b));
    return _mm256_movemask_epi8(same) == -1;
}
inline Lanes blend_halves(Lanes x, Lanes y) {
    return {_mm256_blend_epi16(x.a, y.a, 0xAA), _mm256_blend_epi16(x.b, y.b, 0xAA)};
}

// maddubs saturates beyond 32,767: codes below 128 give at most 2 * 127 * 127 = 32,258.
inline __m256i dot4(__m256i acc, __m256i codes, __m256i x) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, x), _mm256_set1_epi16(1)));
}
inline Lanes dot_codes(Lanes acc, Lanes codes, Lanes x) {
    return {dot4(acc.a, codes.a, x.a), dot4(acc.b, codes.b, x.b)};
}
// Any byte c: |c - 128| times x with the sign of c - 128, at most 2 * 128 * 127 = 32,512 per pair.
inline __m256i dot4_any(__m256i acc, __m256i codes, __m256i x) {
    const __m256i centred = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
    return dot4(acc, _mm256_abs_epi8(centred), _mm256_sign_epi8(x, centred));
}
inline Lanes dot_bytes(Lanes acc, Lanes codes, Lanes x) {
    return {dot4_any(acc.a, codes.a, x.a), dot4_any(acc.b, codes.b, x.b)};
}
inline Lanes dot_pairs(Lanes acc, Lanes x, Lanes y) {
    return {_mm256_add_epi32(acc.a, _mm256_madd_epi16(x.a, y.a)), _mm256_add_epi32(acc.b, _mm256_madd_epi16(x.b, y.b))};
}
inline Lanes short_products(Lanes codes, Lanes x) {
    return {_mm256_maddubs_epi16(codes.a, x.a), _mm256_maddubs_epi16(codes.b, x.b)};
}
inline Lanes add_short(Lanes x, Lanes y) { return {_mm256_add_epi16(x.a, y.a), _mm256_add_epi16(x.b, y.b)}; }
inline Lanes add_pairs(Lanes acc, Lanes x) { return dot_pairs(acc, x, {_mm256_set1_epi16(1), _mm256_set1_epi16(1)}); }
inline Lanes multiply_round15(Lanes x, Lanes y) {
    return {_mm256_mulhrs_epi16(x.a, y.a), _mm256_mulhrs_epi16(x.b, y.b)};
}
inline Lanes multiply_halves(Lanes x, Lanes y) { return {_mm256_mullo_epi16(x.a, y.a), _mm256_mullo_epi16(x.b, y.b)}; }
inline __m128i half(const void* p, int i) { return _mm_loadu_si128(static_cast<const __m128i*>(p) + i); }
inline Lanes widen_unsigned16(const void* p) {
    return {_mm256_cvtepu16_epi32(half(p, 0)), _mm256_cvtepu16_epi32(half(p, 1))};
}
inline Lanes widen_signed8(const void* p) {
    return {_mm256_cvtepi8_epi16(half(p, 0)), _mm256_cvtepi8_epi16(half(p, 1))};
}

inline Lanes mask(Lanes x, char bits) {
    const __m256i m = _mm256_set1_epi8(bits);
    return {_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}
inline Lanes low_nibbles(Lanes x) { return mask(x, 15); }
inline Lanes high_nibbles(Lanes x) { return mask({_mm256_srli_epi16(x.a, 4), _mm256_srli_epi16(x.b, 4)}, 15); }
template <int J> Lanes bit_pairs(Lanes x) {
    return mask({_mm256_srli_epi16(x.a, 2 * J), _mm256_srli_epi16(x.b, 2 * J)}, 3);
}
template <int B> __m256i spread_bits(std::uint32_t bits) {  // byte i becomes 2^B where bit i is set
    const __m256i bytes =
        _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)),
                            _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
    const __m256i select = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
    const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, select), select);
    return _mm256_and_si256(set, _mm256_set1_epi8(1 << B));
}
template <int B> Lanes add_bits(Lanes codes, std::uint64_t bits) {
    return {_mm256_or_si256(codes.a, spread_bits<B>(static_cast<std::uint32_t>(bits))),
            _mm256_or_si256(codes.b, spread_bits<B>(static_cast<std::uint32_t>(bits >> 32)))};
}
template <int J> Lanes insert_pairs(Lanes codes, Lanes line) {
    const Lanes high = bit_pairs<J>(line);
    return {_mm256_or_si256(codes.a, _mm256_slli_epi16(high.a, 4)),
            _mm256_or_si256(codes.b, _mm256_slli_epi16(high.b, 4))};
}
inline Lanes look_up(Lanes table, Lanes codes) {
    return {_mm256_shuffle_epi8(table.a, codes.a), _mm256_shuffle_epi8(table.b, codes.b)};
}
inline Lanes load_table(const std::uint8_t* p) {
    const __m256i t = _mm256_broadcastsi128_si256(half(p, 0));
    return {t, t};
}
// Looks up codes in a table of 16 * PARTS bytes. Codes that belong to another part give 0, because bit 7 of their index
// is set.
template <int PARTS> Lanes look_up_long(const std::uint8_t* table, Lanes codes) {
    Lanes found{_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int part = 0; part < PARTS; part++) {
        const __m256i first = _mm256_set1_epi8(static_cast<char>(16 * part)), far = _mm256_set1_epi8(0x70);
        const Lanes own = load_table(table + 16 * part);
        found.a = _mm256_or_si256(found.a,
                                  _mm256_shuffle_epi8(own.a, _mm256_adds_epu8(_mm256_sub_epi8(codes.a, first), far)));
        found.b = _mm256_or_si256(found.b,
                                  _mm256_shuffle_epi8(own.b, _mm256_adds_epu8(_mm256_sub_epi8(codes.b, first), far)));
    }
    return found;
}

template <class F> Lanes both(F f, Lanes x) { return {f(x.a), f(x.b)}; }
inline Lanes subtract(Lanes x, Lanes y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
inline Lanes bit_or(Lanes x, Lanes y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
inline Lanes larger_lanes(Lanes x, Lanes y) { return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)}; }
inline Lanes smaller_lanes(Lanes x, Lanes y) { return {_mm256_min_epi32(x.a, y.a), _mm256_min_epi32(x.b, y.b)}; }
inline Lanes low_halves(Lanes x) {
    return both([](__m256i v) { return _mm256_and_si256(v, _mm256_set1_epi32(0xFFFF)); }, x);
}
template <int S> Lanes shift_unsigned(Lanes x) { return {_mm256_srli_epi32(x.a, S), _mm256_srli_epi32(x.b, S)}; }
inline Lanes shift_unsigned(Lanes x, Lanes counts) {
    return {_mm256_srlv_epi32(x.a, counts.a), _mm256_srlv_epi32(x.b, counts.b)};
}
inline Lanes bit_and(Lanes x, Lanes y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
inline Lanes choose_bits(Lanes mask, Lanes x, Lanes y) {
    return bit_or(bit_and(mask, x), {_mm256_andnot_si256(mask.a, y.a), _mm256_andnot_si256(mask.b, y.b)});
}
// Stores sixteen bytes from lanes whose values fit.
inline void store_bytes(void* p, Lanes x) {
    const __m256i halves = _mm256_packus_epi32(x.a, x.b);  // 0..3, 8..11, 4..7, 12..15
    const __m256i sorted = _mm256_permute4x64_epi64(halves, 0xD8);
    const __m128i low = _mm256_castsi256_si128(sorted), high = _mm256_extracti128_si256(sorted, 1);
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm_packus_epi16(low, high));
}
// Stores the lanes' low kLowBits as sixteen bytes, then the bits above as sixteen more.
inline void store_weights(void* p, Lanes x) {
    store_bytes(p, bit_and(x, broadcast((1 << kLowBits) - 1)));
    store_bytes(static_cast<std::uint8_t*>(p) + 16, shift_unsigned<kLowBits>(x));
}

using Mask = Lanes;
inline Mask less(Lanes x, Lanes y) { return {_mm256_cmpgt_epi32(y.a, x.a), _mm256_cmpgt_epi32(y.b, x.b)}; }
inline Mask mask_of(std::uint32_t bits) {
    const __m256i all = _mm256_set1_epi32(static_cast<int>(bits));
    const __m256i low = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128), high = _mm256_slli_epi32(low, 8);
    return {_mm256_cmpeq_epi32(_mm256_and_si256(all, low), low), _mm256_cmpeq_epi32(_mm256_and_si256(all, high), high)};
}
inline Lanes keep(Mask m, Lanes x) { return {_mm256_and_si256(m.a, x.a), _mm256_and_si256(m.b, x.b)}; }
inline Lanes choose(Mask m, Lanes x, Lanes y) {
    return {_mm256_blendv_epi8(y.a, x.a, m.a), _mm256_blendv_epi8(y.b, x.b, m.b)};
}

inline Lanes broadcast_wide(std::int64_t x) { return {_mm256_set1_epi64x(x), _mm256_set1_epi64x(x)}; }
inline Lanes add_wide(Lanes x, Lanes y) { return {_mm256_add_epi64(x.a, y.a), _mm256_add_epi64(x.b, y.b)}; }
inline Lanes multiply_low(Lanes x, Lanes y) { return {_mm256_mul_epi32(x.a, y.a), _mm256_mul_epi32(x.b, y.b)}; }
inline Lanes blend_words(Lanes x, Lanes y) {
    return {_mm256_blend_epi32(x.a, y.a, 0xAA), _mm256_blend_epi32(x.b, y.b, 0xAA)};
}
inline Lanes multiply_unsigned(Lanes x, Lanes y) { return {_mm256_mul_epu32(x.a, y.a), _mm256_mul_epu32(x.b, y.b)}; }
inline Lanes low_words(Lanes x) { return blend_words(x, zero()); }
template <int S> Lanes shift_left_wide(Lanes x) { return {_mm256_slli_epi64(x.a, S), _mm256_slli_epi64(x.b, S)}; }
inline Lanes shift_left_wide(Lanes x, std::int64_t s) {
    const __m256i n = _mm256_set1_epi64x(s);
    return {_mm256_sllv_epi64(x.a, n), _mm256_sllv_epi64(x.b, n)};
}
template <int S> Lanes shift_unsigned_wide(Lanes x) { return {_mm256_srli_epi64(x.a, S), _mm256_srli_epi64(x.b, S)}; }
inline Lanes shift_unsigned_wide(Lanes x, std::int64_t s) {
    const __m256i n = _mm256_set1_epi64x(s);
    return {_mm256_srlv_epi64(x.a, n), _mm256_srlv_epi64(x.b, n)};
}
inline Lanes shift_right_wide(Lanes x, int s) { return {shift_signed(x.a, s), shift_signed(x.b, s)}; }
inline Lanes clip_wide(Lanes x, std::int64_t limit) {
    const __m256i high = _mm256_set1_epi64x(limit), low = _mm256_set1_epi64x(-limit);
    return both(
        [&](__m256i v) {
            v = _mm256_blendv_epi8(v, high, _mm256_cmpgt_epi64(v, high));
            return _mm256_blendv_epi8(v, low, _mm256_cmpgt_epi64(low, v));
        },
        x);
}

// Draws (sampling.inl).
inline Lanes larger_of(Lanes x, Lanes y) { return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)}; }
inline std::uint32_t signs(__m256i a, __m256i b) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(a))) |
           static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(b))) << 8;
}
inline std::uint32_t reaches(Lanes x, Lanes y) {
    return signs(_mm256_cmpgt_epi32(y.a, x.a), _mm256_cmpgt_epi32(y.b, x.b)) ^ 0xFFFF;
}
inline __m256i is_below_unsigned(__m256i x, __m256i y) {
    const __m256i top = _mm256_set1_epi32(INT32_MIN);
    return _mm256_cmpgt_epi32(_mm256_xor_si256(y, top), _mm256_xor_si256(x, top));
}
inline std::uint32_t below_unsigned(Lanes x, Lanes y) {
    return signs(is_below_unsigned(x.a, y.a), is_below_unsigned(x.b, y.b));
}
inline Lanes bits_of(Lanes x, Lanes y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
inline Lanes shift_left_each(Lanes x, Lanes y) { return {_mm256_sllv_epi32(x.a, y.a), _mm256_sllv_epi32(x.b, y.b)}; }
inline Lanes shift_right_each(Lanes x, Lanes y) {
    return {_mm256_srlv_epi32(x.a, y.a), _mm256_srlv_epi32(x.b, y.b)};
}  // fills with 0
// Packs the lanes whose bits are set to the front of p, which has room for 16.
inline void pack(std::int32_t* p, Lanes x, std::uint32_t bits) {
    if (bits == 0xFFFF) {
        store(p, x);
        return;
    }
    alignas(32) std::int32_t all[16];
    store(all, x);
    for (; bits; bits &= bits - 1) *p++ = all[__builtin_ctz(bits)];
}
// Pairs of lanes as 64-bit numbers: products of their low halves, sums, shifts that fill with 0.
inline Lanes pair_product(Lanes x, Lanes y) { return {_mm256_mul_epi32(x.a, y.a), _mm256_mul_epi32(x.b, y.b)}; }
inline Lanes pair_product_unsigned(Lanes x, Lanes y) {
    return {_mm256_mul_epu32(x.a, y.a), _mm256_mul_epu32(x.b, y.b)};
}
inline Lanes pair_add(Lanes x, Lanes y) { return {_mm256_add_epi64(x.a, y.a), _mm256_add_epi64(x.b, y.b)}; }
template <int S> Lanes pair_right(Lanes x) { return {_mm256_srli_epi64(x.a, S), _mm256_srli_epi64(x.b, S)}; }
template <int S> Lanes pair_left(Lanes x) { return {_mm256_slli_epi64(x.a, S), _mm256_slli_epi64(x.b, S)}; }
inline Lanes broadcast_pair(std::int64_t x) { return {_mm256_set1_epi64x(x), _mm256_set1_epi64x(x)}; }
inline Lanes low_and_high(Lanes x, Lanes y) {
    return {_mm256_blend_epi32(x.a, y.a, 0xAA), _mm256_blend_epi32(x.b, y.b, 0xAA)};
}

}  // namespace
