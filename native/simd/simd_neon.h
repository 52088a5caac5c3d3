// Sixteen 32-bit lanes on NEON (baseline aarch64, no dot-product extension needed), as four vectors.
#pragma once
#include <arm_neon.h>

#include <cstdint>

#include "simd/simd_plain.h"
#include "simd/simd_single.h"

namespace {

constexpr int kMaxRows = 2, kMaxPanels = 1;  // rows by panels of a matrix tile
constexpr int kUnpackTiles = 0;
constexpr int kScoreRows = 4, kScoreBlocks = 1;
constexpr int kMixRows = 4, kMixColumns = 1;
constexpr int kLowBits = 7;  // of weights, that one product takes
constexpr int kByteZero = 128;
template <int BITS> constexpr int kShortProducts = 1;
constexpr bool kJoinsHalves = false, kFollows = false;

struct Lanes {
    int32x4_t v[4];
};

template <class F> Lanes map(F f) { return {{f(0), f(1), f(2), f(3)}}; }
inline int8x16_t bytes(const Lanes& x, int i) { return vreinterpretq_s8_s32(x.v[i]); }
inline uint8x16_t codes8(const Lanes& x, int i) { return vreinterpretq_u8_s32(x.v[i]); }
inline int16x8_t halves(const Lanes& x, int i) { return vreinterpretq_s16_s32(x.v[i]); }
inline int32x4_t pack(uint8x16_t x) { return vreinterpretq_s32_u8(x); }

inline Lanes load(const void* p) {
    return map([&](int i) { return vld1q_s32(static_cast<const std::int32_t*>(p) + 4 * i); });
}
inline void store(void* p, const Lanes& x) {
    for (int i = 0; i < 4; i++) vst1q_s32(static_cast<std::int32_t*>(p) + 4 * i, x.v[i]);
}
inline Lanes broadcast(std::int32_t x) {
    return map([&](int) { return vdupq_n_s32(x); });
}
inline Lanes zero() { return broadcast(0); }
inline Lanes add(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return vaddq_s32(a.v[i], b.v[i]); });
}
inline Lanes shift_right(const Lanes& a, int s) {
    return map([&](int i) { return vshlq_s32(a.v[i], vdupq_n_s32(-s)); });
}
template <int S> Lanes shift_right(const Lanes& a) {
    if constexpr (S == 0)
        return a;
    else
        return map([&](int i) { return vshrq_n_s32(a.v[i], S); });
}
template <int S> Lanes shift_left(const Lanes& a) {
    return map([&](int i) { return vshlq_n_s32(a.v[i], S); });
}
inline Lanes shift_left(const Lanes& a, int s) {
    return map([&](int i) { return vshlq_s32(a.v[i], vdupq_n_s32(s)); });
}
inline Lanes shift_left_each(const Lanes& a, const Lanes& s) {
    return map([&](int i) { return vshlq_s32(a.v[i], s.v[i]); });
}
inline Lanes signed_right_each(const Lanes& a, const Lanes& s) {
    return map([&](int i) { return vshlq_s32(a.v[i], vnegq_s32(s.v[i])); });
}
inline bool equal(const Lanes& a, const Lanes& b) {
    uint32x4_t same = vceqq_s32(a.v[0], b.v[0]);
    for (int i = 1; i < 4; i++) same = vandq_u32(same, vceqq_s32(a.v[i], b.v[i]));
    return vminvq_u32(same) != 0;
}
inline Lanes blend_halves(const Lanes& a, const Lanes& b) {
    const uint16x8_t low = vreinterpretq_u16_u32(vdupq_n_u32(0xFFFF));
    return map([&](int i) { return vreinterpretq_s32_s16(vbslq_s16(low, halves(a, i), halves(b, i))); });
}

// Codes below 128 are valid signed bytes; pairs of products fit in 16 bits (2 * 127 * 127 = 32,258).
inline int32x4_t dot4(int32x4_t acc, int8x16_t c, int8x16_t x) {
    const int16x8_t low = vmull_s8(vget_low_s8(c), vget_low_s8(x));
    const int16x8_t high = vmull_high_s8(c, x);
    return vpadalq_s16(acc, vpaddq_s16(low, high));
}
inline Lanes dot_codes(const Lanes& acc, const Lanes& codes, const Lanes& x) {
    return map([&](int i) { return dot4(acc.v[i], bytes(codes, i), bytes(x, i)); });
}
// Any byte c: (c - 128) * x, at most 2 * 128 * 127 = 32,512 per pair.
inline Lanes dot_bytes(const Lanes& acc, const Lanes& codes, const Lanes& x) {
    return map([&](int i) {
        const int8x16_t signed_codes = vreinterpretq_s8_u8(veorq_u8(codes8(codes, i), vdupq_n_u8(128)));
        return dot4(acc.v[i], signed_codes, bytes(x, i));
    });
}
inline Lanes dot_pairs(const Lanes& acc, const Lanes& a, const Lanes& b) {
    return map([&](int i) {
        const int32x4_t low = vmull_s16(vget_low_s16(halves(a, i)), vget_low_s16(halves(b, i)));
        const int32x4_t high = vmull_high_s16(halves(a, i), halves(b, i));
        return vaddq_s32(acc.v[i], vpaddq_s32(low, high));
    });
}
inline Lanes multiply_round15(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return vreinterpretq_s32_s16(vqrdmulhq_s16(halves(a, i), halves(b, i))); });
}
inline Lanes multiply_halves(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return vreinterpretq_s32_s16(vmulq_s16(halves(a, i), halves(b, i))); });
}
inline Lanes widen_unsigned16(const void* p) {
    return map([&](int i) {
        return vreinterpretq_s32_u32(vmovl_u16(vld1_u16(static_cast<const std::uint16_t*>(p) + 4 * i)));
    });
}
inline Lanes widen_signed8(const void* p) {
    return map(
        [&](int i) { return vreinterpretq_s32_s16(vmovl_s8(vld1_s8(static_cast<const std::int8_t*>(p) + 8 * i))); });
}

inline Lanes low_nibbles(const Lanes& x) {
    return map([&](int i) { return pack(vandq_u8(codes8(x, i), vdupq_n_u8(15))); });
}
inline Lanes high_nibbles(const Lanes& x) {
    return map([&](int i) { return pack(vshrq_n_u8(codes8(x, i), 4)); });
}
template <int J> Lanes bit_pairs(const Lanes& x) {
    return map([&](int i) { return pack(vandq_u8(vshlq_u8(codes8(x, i), vdupq_n_s8(-2 * J)), vdupq_n_u8(3))); });
}
template <int B> Lanes add_bits(const Lanes& codes, std::uint64_t mask) {
    alignas(16) static constexpr std::uint8_t kSelect[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t select = vld1q_u8(kSelect);
    return map([&](int i) {
        const auto bits = static_cast<std::uint16_t>(mask >> (16 * i));
        const uint8x16_t spread =
            vcombine_u8(vdup_n_u8(static_cast<std::uint8_t>(bits)), vdup_n_u8(static_cast<std::uint8_t>(bits >> 8)));
        return pack(vorrq_u8(codes8(codes, i), vandq_u8(vtstq_u8(spread, select), vdupq_n_u8(1 << B))));
    });
}
template <int J> Lanes insert_pairs(const Lanes& codes, const Lanes& line) {
    const Lanes high = bit_pairs<J>(line);
    return map([&](int i) { return pack(vorrq_u8(codes8(codes, i), vshlq_n_u8(codes8(high, i), 4))); });
}
inline Lanes look_up(const Lanes& table, const Lanes& codes) {
    return map([&](int i) { return pack(vqtbl1q_u8(codes8(table, 0), codes8(codes, i))); });
}
inline Lanes load_table(const std::uint8_t* p) {
    return map([&](int) { return pack(vld1q_u8(p)); });
}
// Looks up codes in a table of 16 * PARTS bytes. Codes that belong to another part give 0.
template <int PARTS> Lanes look_up_long(const std::uint8_t* table, const Lanes& codes) {
    return map([&](int i) {
        uint8x16_t found = vdupq_n_u8(0);
        for (int part = 0; part < PARTS; part++) {
            const uint8x16_t own = vsubq_u8(codes8(codes, i), vdupq_n_u8(static_cast<std::uint8_t>(16 * part)));
            found = vorrq_u8(found, vqtbl1q_u8(vld1q_u8(table + 16 * part), own));
        }
        return pack(found);
    });
}

inline uint32x4_t unsigned_lanes(const Lanes& x, int i) { return vreinterpretq_u32_s32(x.v[i]); }
inline int64x2_t wide(const Lanes& x, int i) { return vreinterpretq_s64_s32(x.v[i]); }
inline uint64x2_t unsigned_wide(const Lanes& x, int i) { return vreinterpretq_u64_s32(x.v[i]); }
inline int32x4_t pack(uint32x4_t x) { return vreinterpretq_s32_u32(x); }
inline int32x4_t pack(int64x2_t x) { return vreinterpretq_s32_s64(x); }
inline int32x4_t pack(uint64x2_t x) { return vreinterpretq_s32_u64(x); }

inline Lanes subtract(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return vsubq_s32(a.v[i], b.v[i]); });
}
inline Lanes bit_or(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return vorrq_s32(a.v[i], b.v[i]); });
}
inline Lanes larger_lanes(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return vmaxq_s32(a.v[i], b.v[i]); });
}
inline Lanes smaller_lanes(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return vminq_s32(a.v[i], b.v[i]); });
}
inline Lanes low_halves(const Lanes& a) {
    return map([&](int i) { return vandq_s32(a.v[i], vdupq_n_s32(0xFFFF)); });
}
template <int S> Lanes shift_unsigned(const Lanes& a) {
    return map([&](int i) { return pack(vshrq_n_u32(unsigned_lanes(a, i), S)); });
}
inline Lanes shift_unsigned(const Lanes& a, const Lanes& counts) {  // a count is taken for a signed byte
    return map([&](int i) {
        return pack(vshlq_u32(unsigned_lanes(a, i), vnegq_s32(vminq_s32(counts.v[i], vdupq_n_s32(32)))));
    });
}
inline Lanes bit_and(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return vandq_s32(a.v[i], b.v[i]); });
}
inline Lanes choose_bits(const Lanes& mask, const Lanes& a, const Lanes& b) {
    return map([&](int i) { return vbslq_s32(unsigned_lanes(mask, i), a.v[i], b.v[i]); });
}
// Stores sixteen bytes from lanes whose values fit.
inline void store_bytes(void* p, const Lanes& x) {
    const int16x8_t low = vcombine_s16(vmovn_s32(x.v[0]), vmovn_s32(x.v[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(x.v[2]), vmovn_s32(x.v[3]));
    vst1q_s8(static_cast<std::int8_t*>(p), vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}
// Stores the lanes' low kLowBits as sixteen bytes, then the bits above as sixteen more.
inline void store_weights(void* p, const Lanes& x) {
    store_bytes(p, bit_and(x, broadcast((1 << kLowBits) - 1)));
    store_bytes(static_cast<std::uint8_t*>(p) + 16, shift_unsigned<kLowBits>(x));
}

using Mask = Lanes;
inline Mask mask_of(std::uint32_t bits) {
    alignas(16) static constexpr std::uint32_t kSelect[4] = {1, 2, 4, 8};
    const uint32x4_t select = vld1q_u32(kSelect);
    return map([&](int i) { return pack(vtstq_u32(vdupq_n_u32(bits >> (4 * i)), select)); });
}
inline Mask less(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return pack(vcltq_s32(a.v[i], b.v[i])); });
}
inline Lanes keep(const Mask& m, const Lanes& x) {
    return map([&](int i) { return vandq_s32(m.v[i], x.v[i]); });
}
inline Lanes choose(const Mask& m, const Lanes& x, const Lanes& y) {
    return map([&](int i) { return vbslq_s32(unsigned_lanes(m, i), x.v[i], y.v[i]); });
}

inline Lanes broadcast_wide(std::int64_t x) {
    return map([&](int) { return pack(vdupq_n_s64(x)); });
}
inline Lanes add_wide(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return pack(vaddq_s64(wide(a, i), wide(b, i))); });
}
inline Lanes multiply_low(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return pack(vmull_s32(vmovn_s64(wide(a, i)), vmovn_s64(wide(b, i)))); });
}
inline Lanes multiply_unsigned(const Lanes& a, const Lanes& b) {
    return map([&](int i) { return pack(vmull_u32(vmovn_u64(unsigned_wide(a, i)), vmovn_u64(unsigned_wide(b, i)))); });
}
inline Lanes low_words(const Lanes& a) {
    return map([&](int i) { return pack(vandq_u64(unsigned_wide(a, i), vdupq_n_u64(0xFFFFFFFF))); });
}
inline Lanes blend_words(const Lanes& a, const Lanes& b) {
    return map(
        [&](int i) { return pack(vbslq_u64(vdupq_n_u64(0xFFFFFFFF), unsigned_wide(a, i), unsigned_wide(b, i))); });
}
template <int S> Lanes shift_left_wide(const Lanes& a) {
    return map([&](int i) { return pack(vshlq_n_u64(unsigned_wide(a, i), S)); });
}
inline Lanes shift_left_wide(const Lanes& a, std::int64_t s) {
    return map([&](int i) { return pack(vshlq_u64(unsigned_wide(a, i), vdupq_n_s64(s))); });
}
template <int S> Lanes shift_unsigned_wide(const Lanes& a) {
    return map([&](int i) { return pack(vshrq_n_u64(unsigned_wide(a, i), S)); });
}
inline Lanes shift_unsigned_wide(const Lanes& a, std::int64_t s) {
    return map([&](int i) { return pack(vshlq_u64(unsigned_wide(a, i), vdupq_n_s64(-s))); });
}
inline Lanes shift_right_wide(const Lanes& a, int s) {
    return map([&](int i) { return pack(vshlq_s64(wide(a, i), vdupq_n_s64(-s))); });
}
inline Lanes clip_wide(const Lanes& a, std::int64_t limit) {
    const int64x2_t high = vdupq_n_s64(limit), low = vdupq_n_s64(-limit);
    return map([&](int i) {
        const int64x2_t x = vbslq_s64(vcgtq_s64(wide(a, i), high), high, wide(a, i));
        return pack(vbslq_s64(vcgtq_s64(low, x), low, x));
    });
}

}  // namespace
