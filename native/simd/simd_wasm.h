// Sixteen 32-bit lanes on WebAssembly's 128-bit vectors (SIMD128), as four of them.
#pragma once
#include <wasm_simd128.h>

#include <cstdint>

#include "simd/simd_plain.h"
#include "simd/simd_single.h"

namespace {

constexpr int kMaxRows = 2, kMaxPanels = 1;  // rows by panels of a matrix tile
constexpr int kUnpackTiles = 0;
constexpr int kScoreRows = 4, kScoreBlocks = 1;
constexpr int kMixRows = 4, kMixColumns = 1;
constexpr int kLowBits = 8;  // of weights, that one product takes
constexpr int kByteZero = 0;
template <int BITS> constexpr int kShortProducts = 1;
constexpr bool kJoinsHalves = false, kFollows = false;

struct Lanes {
    v128_t v[4];
};

template <class F> Lanes map(F f) { return {{f(0), f(1), f(2), f(3)}}; }

inline Lanes load(const void* p) {
    return map([&](int i) { return wasm_v128_load(static_cast<const std::int32_t*>(p) + 4 * i); });
}
inline void store(void* p, const Lanes& x) {
    for (int i = 0; i < 4; i++) wasm_v128_store(static_cast<std::int32_t*>(p) + 4 * i, x.v[i]);
}
inline Lanes broadcast(std::int32_t x) {
    return map([&](int) { return wasm_i32x4_splat(x); });
}
inline Lanes zero() { return broadcast(0); }
inline Lanes add(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_i32x4_add(a.v[i], b.v[i]); });
}
inline Lanes shift_right(const Lanes& a, int s) {
    return map([&](int i) { return wasm_i32x4_shr(a.v[i], static_cast<std::uint32_t>(s)); });
}
template <int S> Lanes shift_right(const Lanes& a) { return shift_right(a, S); }
inline Lanes shift_left(const Lanes& a, int s) {
    return map([&](int i) { return wasm_i32x4_shl(a.v[i], static_cast<std::uint32_t>(s)); });
}
template <int S> Lanes shift_left(const Lanes& a) { return shift_left(a, S); }
// SIMD128 has no shift with a count per lane: a left shift is a multiplication by a power of two, which is built as a
// float's exponent; a right shift processes the lanes one by one.
inline v128_t power_of_two(v128_t s) {
    const v128_t exponent = wasm_i32x4_add(wasm_v128_and(s, wasm_i32x4_splat(31)), wasm_i32x4_splat(127));
    return wasm_u32x4_trunc_sat_f32x4(wasm_i32x4_shl(exponent, 23));
}
inline Lanes shift_left_each(const Lanes& a, const Lanes& s) {
    return map([&](int i) { return wasm_i32x4_mul(a.v[i], power_of_two(s.v[i])); });
}
template <class F> v128_t each_lane(v128_t a, v128_t b, F f) {
    return wasm_i32x4_make(f(wasm_i32x4_extract_lane(a, 0), wasm_i32x4_extract_lane(b, 0)),
                           f(wasm_i32x4_extract_lane(a, 1), wasm_i32x4_extract_lane(b, 1)),
                           f(wasm_i32x4_extract_lane(a, 2), wasm_i32x4_extract_lane(b, 2)),
                           f(wasm_i32x4_extract_lane(a, 3), wasm_i32x4_extract_lane(b, 3)));
}
inline Lanes signed_right_each(const Lanes& a, const Lanes& s) {
    return map([&](int i) {
        return each_lane(a.v[i], s.v[i], [](std::int32_t x, std::int32_t count) { return x >> (count & 31); });
    });
}
inline bool equal(const Lanes& a, const Lanes& b) {
    v128_t same = wasm_i32x4_eq(a.v[0], b.v[0]);
    for (int i = 1; i < 4; i++) same = wasm_v128_and(same, wasm_i32x4_eq(a.v[i], b.v[i]));
    return wasm_i32x4_all_true(same);
}
inline Lanes blend_halves(const Lanes& a, const Lanes& b) {
    const v128_t low = wasm_i32x4_splat(0xFFFF);
    return map([&](int i) { return wasm_v128_bitselect(a.v[i], b.v[i], low); });
}

// Any byte c times a signed one: one product of 16-bit pairs for the even bytes of a lane, another for the odd bytes.
inline v128_t dot4(v128_t acc, v128_t c, v128_t x) {
    const v128_t even =
        wasm_i32x4_dot_i16x8(wasm_v128_and(c, wasm_i16x8_splat(0xFF)), wasm_i16x8_shr(wasm_i16x8_shl(x, 8), 8));
    const v128_t odd = wasm_i32x4_dot_i16x8(wasm_u16x8_shr(c, 8), wasm_i16x8_shr(x, 8));
    return wasm_i32x4_add(wasm_i32x4_add(acc, even), odd);
}
inline Lanes dot_bytes(const Lanes& acc, const Lanes& codes, const Lanes& x) {
    return map([&](int i) { return dot4(acc.v[i], codes.v[i], x.v[i]); });
}
inline Lanes dot_codes(const Lanes& acc, const Lanes& codes, const Lanes& x) { return dot_bytes(acc, codes, x); }
// acc + sum over 2 of signed 16-bit products.
inline Lanes dot_pairs(const Lanes& acc, const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_i32x4_add(acc.v[i], wasm_i32x4_dot_i16x8(a.v[i], b.v[i])); });
}
inline Lanes multiply_round15(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_i16x8_q15mulr_sat(a.v[i], b.v[i]); });
}
inline Lanes multiply_halves(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_i16x8_mul(a.v[i], b.v[i]); });
}
inline Lanes widen_unsigned16(const void* p) {
    return map([&](int i) { return wasm_u32x4_load16x4(static_cast<const std::uint16_t*>(p) + 4 * i); });
}
inline Lanes widen_signed8(const void* p) {
    return map([&](int i) { return wasm_i16x8_load8x8(static_cast<const std::int8_t*>(p) + 8 * i); });
}

inline Lanes low_nibbles(const Lanes& x) {
    return map([&](int i) { return wasm_v128_and(x.v[i], wasm_i8x16_splat(15)); });
}
inline Lanes high_nibbles(const Lanes& x) {
    return map([&](int i) { return wasm_v128_and(wasm_u16x8_shr(x.v[i], 4), wasm_i8x16_splat(15)); });
}
template <int J> Lanes bit_pairs(const Lanes& x) {
    return map([&](int i) { return wasm_v128_and(wasm_u16x8_shr(x.v[i], 2 * J), wasm_i8x16_splat(3)); });
}
template <int B> Lanes add_bits(const Lanes& codes, std::uint64_t mask) {
    const v128_t select = wasm_u8x16_const(1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
    return map([&](int i) {
        const v128_t both = wasm_i16x8_splat(static_cast<std::int16_t>(mask >> (16 * i)));
        const v128_t spread = wasm_i8x16_shuffle(both, both, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
        const v128_t set = wasm_i8x16_eq(wasm_v128_and(spread, select), select);
        return wasm_v128_or(codes.v[i], wasm_v128_and(set, wasm_i8x16_splat(1 << B)));
    });
}
template <int J> Lanes insert_pairs(const Lanes& codes, const Lanes& line) {
    const Lanes high = bit_pairs<J>(line);
    return map([&](int i) { return wasm_v128_or(codes.v[i], wasm_i16x8_shl(high.v[i], 4)); });
}
inline Lanes look_up(const Lanes& table, const Lanes& codes) {
    return map([&](int i) { return wasm_i8x16_swizzle(table.v[0], codes.v[i]); });
}
inline Lanes load_table(const std::uint8_t* p) {
    return map([&](int) { return wasm_v128_load(p); });
}
// Looks up codes in a table of 16 * PARTS bytes. Codes that belong to another part give 0.
template <int PARTS> Lanes look_up_long(const std::uint8_t* table, const Lanes& codes) {
    return map([&](int i) {
        v128_t found = wasm_i8x16_splat(0);
        for (int part = 0; part < PARTS; part++) {
            const v128_t own = wasm_i8x16_sub(codes.v[i], wasm_i8x16_splat(static_cast<std::int8_t>(16 * part)));
            found = wasm_v128_or(found, wasm_i8x16_swizzle(wasm_v128_load(table + 16 * part), own));
        }
        return found;
    });
}

inline Lanes subtract(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_i32x4_sub(a.v[i], b.v[i]); });
}
inline Lanes bit_or(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_v128_or(a.v[i], b.v[i]); });
}
inline Lanes larger_lanes(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_i32x4_max(a.v[i], b.v[i]); });
}
inline Lanes smaller_lanes(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_i32x4_min(a.v[i], b.v[i]); });
}
inline Lanes low_halves(const Lanes& a) {
    return map([&](int i) { return wasm_v128_and(a.v[i], wasm_i32x4_splat(0xFFFF)); });
}
template <int S> Lanes shift_unsigned(const Lanes& a) {
    return map([&](int i) { return wasm_u32x4_shr(a.v[i], S); });
}
inline Lanes shift_unsigned(const Lanes& a, const Lanes& counts) {  // counts from 0 on
    return map([&](int i) {
        return each_lane(a.v[i], counts.v[i], [](std::int32_t x, std::int32_t count) {
            return count > 31 ? 0 : static_cast<std::int32_t>(static_cast<std::uint32_t>(x) >> count);
        });
    });
}
inline Lanes bit_and(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_v128_and(a.v[i], b.v[i]); });
}
inline Lanes choose_bits(const Lanes& mask, const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_v128_bitselect(a.v[i], b.v[i], mask.v[i]); });
}
// Stores sixteen bytes from the low bytes of the lanes.
inline void store_bytes(void* p, const Lanes& x) {
    const Lanes low = map([&](int i) { return wasm_v128_and(x.v[i], wasm_i32x4_splat(0xFF)); });
    const v128_t first = wasm_i16x8_narrow_i32x4(low.v[0], low.v[1]);
    wasm_v128_store(p, wasm_u8x16_narrow_i16x8(first, wasm_i16x8_narrow_i32x4(low.v[2], low.v[3])));
}
// Stores the lanes' low kLowBits as sixteen bytes, then the bits above as sixteen more.
inline void store_weights(void* p, const Lanes& x) {
    store_bytes(p, x);
    store_bytes(static_cast<std::uint8_t*>(p) + 16, shift_unsigned<kLowBits>(x));
}

using Mask = Lanes;
inline Mask mask_of(std::uint32_t bits) {
    const v128_t select = wasm_i32x4_const(1, 2, 4, 8);
    return map([&](int i) {
        const v128_t spread = wasm_i32x4_splat(static_cast<std::int32_t>(bits >> (4 * i)));
        return wasm_i32x4_eq(wasm_v128_and(spread, select), select);
    });
}
inline Mask less(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_i32x4_lt(a.v[i], b.v[i]); });
}
inline Lanes keep(const Mask& m, const Lanes& x) { return bit_and(m, x); }
inline Lanes choose(const Mask& m, const Lanes& x, const Lanes& y) { return choose_bits(m, x, y); }

inline Lanes broadcast_wide(std::int64_t x) {
    return map([&](int) { return wasm_i64x2_splat(x); });
}
inline Lanes add_wide(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_i64x2_add(a.v[i], b.v[i]); });
}
inline v128_t even_words(v128_t x) { return wasm_i32x4_shuffle(x, x, 0, 2, 0, 2); }
inline Lanes multiply_low(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_i64x2_extmul_low_i32x4(even_words(a.v[i]), even_words(b.v[i])); });
}
inline Lanes multiply_unsigned(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_u64x2_extmul_low_u32x4(even_words(a.v[i]), even_words(b.v[i])); });
}
inline Lanes low_words(const Lanes& a) {
    return map([&](int i) { return wasm_v128_and(a.v[i], wasm_i64x2_splat(0xFFFFFFFF)); });
}
inline Lanes blend_words(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return wasm_v128_bitselect(a.v[i], b.v[i], wasm_i64x2_splat(0xFFFFFFFF)); });
}
inline Lanes shift_left_wide(const Lanes& a, std::int64_t s) {
    return map([&](int i) { return wasm_i64x2_shl(a.v[i], static_cast<std::uint32_t>(s)); });
}
template <int S> Lanes shift_left_wide(const Lanes& a) { return shift_left_wide(a, S); }
inline Lanes shift_unsigned_wide(const Lanes& a, std::int64_t s) {
    return map([&](int i) { return wasm_u64x2_shr(a.v[i], static_cast<std::uint32_t>(s)); });
}
template <int S> Lanes shift_unsigned_wide(const Lanes& a) { return shift_unsigned_wide(a, S); }
inline Lanes shift_right_wide(const Lanes& a, int s) {
    return map([&](int i) { return wasm_i64x2_shr(a.v[i], static_cast<std::uint32_t>(s)); });
}
inline Lanes clip_wide(const Lanes& a, std::int64_t limit) {
    const v128_t high = wasm_i64x2_splat(limit), low = wasm_i64x2_splat(-limit);
    return map([&](int i) {
        const v128_t x = wasm_v128_bitselect(high, a.v[i], wasm_i64x2_gt(a.v[i], high));
        return wasm_v128_bitselect(low, x, wasm_i64x2_lt(x, low));
    });
}

}  // namespace
