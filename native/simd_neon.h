// Sixteen 32-bit lanes on NEON (baseline aarch64, no dot-product extension needed), as four vectors.
#pragma once
#include <arm_neon.h>

#include <cstdint>

namespace {

using Wide = std::int64_t;

constexpr int kMaxRows = 2;
constexpr int kQueryRows = 1;

struct Lanes {
    int32x4_t v[4];
};

template <class F> Lanes map(F f) { return {{f(0), f(1), f(2), f(3)}}; }
inline int8x16_t bytes(const Lanes& x, int i) { return vreinterpretq_s8_s32(x.v[i]); }
inline uint8x16_t codes8(const Lanes& x, int i) { return vreinterpretq_u8_s32(x.v[i]); }
inline int16x8_t halves(const Lanes& x, int i) { return vreinterpretq_s16_s32(x.v[i]); }
inline int32x4_t pack(uint8x16_t x) { return vreinterpretq_s32_u8(x); }

inline Wide widen32(const std::int32_t* p) { return *p; }
inline void narrow32(std::int32_t* p, Wide x) { *p = static_cast<std::int32_t>(x); }

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
    return map([&](int i) { return vshrq_n_s32(a.v[i], S); });
}
template <int S> Lanes shift_left(const Lanes& a) {
    return map([&](int i) { return vshlq_n_s32(a.v[i], S); });
}
inline Lanes blend_halves(const Lanes& a, const Lanes& b) {
    const uint16x8_t low = vreinterpretq_u16_u32(vdupq_n_u32(0xFFFF));
    return map([&](int i) { return vreinterpretq_s32_s16(vbslq_s16(low, halves(a, i), halves(b, i))); });
}

// Codes below 128 are signed bytes as they stand; pairs of products fit 16 bits (2 * 63 * 127 = 16,002).
inline int32x4_t dot4(int32x4_t acc, int8x16_t c, int8x16_t x) {
    const int16x8_t low = vmull_s8(vget_low_s8(c), vget_low_s8(x));
    const int16x8_t high = vmull_high_s8(c, x);
    return vpadalq_s16(acc, vpaddq_s16(low, high));
}
inline Lanes dot_codes(const Lanes& acc, const Lanes& codes, const Lanes& x) {
    return map([&](int i) { return dot4(acc.v[i], bytes(codes, i), bytes(x, i)); });
}
// Any byte c: (c - 128) * x, then twice 64 * x. -128 * -127 * 2 = 32,512 still fits 16 bits.
inline Lanes dot_bytes(const Lanes& acc, const Lanes& codes, const Lanes& x) {
    const int8x16_t half = vdupq_n_s8(64);
    return map([&](int i) {
        const int8x16_t signed_codes = vreinterpretq_s8_u8(veorq_u8(codes8(codes, i), vdupq_n_u8(128)));
        const int32x4_t part = dot4(acc.v[i], signed_codes, bytes(x, i));
        return dot4(dot4(part, half, bytes(x, i)), half, bytes(x, i));
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
template <int B> Lanes or_shifted(const Lanes& codes, const Lanes& high) {
    return map([&](int i) { return pack(vorrq_u8(codes8(codes, i), vshlq_n_u8(codes8(high, i), B))); });
}
inline Lanes look_up(const Lanes& table, const Lanes& codes) {
    return map([&](int i) { return pack(vqtbl1q_u8(codes8(table, 0), codes8(codes, i))); });
}
inline Lanes load_table(const std::uint8_t* p) {
    return map([&](int) { return pack(vld1q_u8(p)); });
}
inline void prefetch(const void* p) { __builtin_prefetch(p); }

}  // namespace
