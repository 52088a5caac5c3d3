// Sixteen 32-bit lanes in plain C++: the tier that runs anywhere.
#pragma once
#include <cstdint>
#include <cstring>

#include "simd/simd_plain.h"
#include "simd/simd_single.h"

namespace {

constexpr int kMaxRows = 1, kMaxPanels = 1;  // rows by panels of a matrix tile
constexpr int kUnpackTiles = 0;
constexpr int kScoreRows = 1, kScoreBlocks = 1;
constexpr int kMixRows = 1, kMixColumns = 1;
constexpr int kLowBits = 8;  // of weights, that one product takes
constexpr int kByteZero = 0;
template <int BITS> constexpr int kShortProducts = 1;
constexpr bool kJoinsHalves = false, kFollows = false;

struct Lanes {
    alignas(64) std::int32_t v[16];
};

// The 64 bytes of the lanes in little-endian order, as lanes of type T.
template <class T> struct View {
    T v[64 / sizeof(T)];
};
template <class T> View<T> view(Lanes x) {
    View<T> out;
    std::memcpy(&out, &x, 64);
    return out;
}
template <class T> Lanes lanes(const View<T>& x) {
    Lanes out;
    std::memcpy(&out, &x, 64);
    return out;
}
template <class T, class F> Lanes map(F f) {
    View<T> out;
    for (int i = 0; i < static_cast<int>(64 / sizeof(T)); i++) out.v[i] = static_cast<T>(f(i));
    return lanes(out);
}

inline Lanes load(const void* p) {
    Lanes x;
    std::memcpy(&x, p, 64);
    return x;
}
inline void store(void* p, Lanes x) { std::memcpy(p, &x, 64); }
inline Lanes broadcast(std::int32_t x) {
    return map<std::int32_t>([&](int) { return x; });
}
inline Lanes zero() { return broadcast(0); }
inline Lanes add(const Lanes& a, const Lanes& b) {
    return map<std::int32_t>([&](int i) {
        return static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) + static_cast<std::uint32_t>(b.v[i]));
    });
}
inline Lanes shift_right(const Lanes& a, int s) {
    return map<std::int32_t>([&](int i) { return a.v[i] >> s; });
}
template <int S> Lanes shift_right(const Lanes& a) { return shift_right(a, S); }
inline Lanes shift_left(const Lanes& a, int s) {
    return map<std::int32_t>([&](int i) { return static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) << s); });
}
template <int S> Lanes shift_left(const Lanes& a) { return shift_left(a, S); }
inline Lanes shift_left_each(const Lanes& a, const Lanes& s) {
    return map<std::int32_t>(
        [&](int i) { return static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) << (s.v[i] & 31)); });
}
inline Lanes signed_right_each(const Lanes& a, const Lanes& s) {
    return map<std::int32_t>([&](int i) { return a.v[i] >> (s.v[i] & 31); });
}
inline bool equal(const Lanes& a, const Lanes& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
inline Lanes blend_halves(const Lanes& a, const Lanes& b) {
    const auto x = view<std::int16_t>(a), y = view<std::int16_t>(b);
    return map<std::int16_t>([&](int i) { return i % 2 ? y.v[i] : x.v[i]; });
}

inline Lanes dot_bytes(const Lanes& acc, const Lanes& codes, const Lanes& x) {
    const auto c = view<std::uint8_t>(codes);
    const auto a = view<std::int8_t>(x);
    return map<std::int32_t>([&](int i) {
        std::int32_t sum = acc.v[i];
        for (int j = 4 * i; j < 4 * i + 4; j++) sum += c.v[j] * a.v[j];
        return sum;
    });
}
inline Lanes dot_codes(const Lanes& acc, const Lanes& codes, const Lanes& x) { return dot_bytes(acc, codes, x); }
inline Lanes dot_pairs(const Lanes& acc, const Lanes& a, const Lanes& b) {
    const auto x = view<std::int16_t>(a), y = view<std::int16_t>(b);
    return map<std::int32_t>(
        [&](int i) { return acc.v[i] + x.v[2 * i] * y.v[2 * i] + x.v[2 * i + 1] * y.v[2 * i + 1]; });
}
inline Lanes multiply_round15(const Lanes& a, const Lanes& b) {
    const auto x = view<std::int16_t>(a), y = view<std::int16_t>(b);
    return map<std::int16_t>([&](int i) { return (x.v[i] * y.v[i] + (1 << 14)) >> 15; });
}
inline Lanes multiply_halves(const Lanes& a, const Lanes& b) {
    const auto x = view<std::int16_t>(a), y = view<std::int16_t>(b);
    return map<std::int16_t>([&](int i) { return x.v[i] * y.v[i]; });
}
inline Lanes widen_unsigned16(const void* p) {
    std::uint16_t h[16];
    std::memcpy(h, p, 32);
    return map<std::int32_t>([&](int i) { return h[i]; });
}
inline Lanes widen_signed8(const void* p) {
    std::int8_t b[32];
    std::memcpy(b, p, 32);
    return map<std::int16_t>([&](int i) { return b[i]; });
}

inline Lanes low_nibbles(const Lanes& x) {
    const auto b = view<std::uint8_t>(x);
    return map<std::uint8_t>([&](int i) { return b.v[i] & 15; });
}
inline Lanes high_nibbles(const Lanes& x) {
    const auto b = view<std::uint8_t>(x);
    return map<std::uint8_t>([&](int i) { return b.v[i] >> 4; });
}
template <int J> Lanes bit_pairs(const Lanes& x) {
    const auto b = view<std::uint8_t>(x);
    return map<std::uint8_t>([&](int i) { return (b.v[i] >> (2 * J)) & 3; });
}
template <int B> Lanes add_bits(const Lanes& codes, std::uint64_t mask) {
    const auto b = view<std::uint8_t>(codes);
    return map<std::uint8_t>([&](int i) { return b.v[i] + (((mask >> i) & 1) << B); });
}
template <int J> Lanes insert_pairs(const Lanes& codes, const Lanes& line) {
    const auto b = view<std::uint8_t>(codes), h = view<std::uint8_t>(bit_pairs<J>(line));
    return map<std::uint8_t>([&](int i) { return b.v[i] | (h.v[i] << 4); });
}
inline Lanes look_up(const Lanes& table, const Lanes& codes) {
    const auto t = view<std::uint8_t>(table), c = view<std::uint8_t>(codes);
    return map<std::uint8_t>([&](int i) { return t.v[c.v[i] & 15]; });
}
inline Lanes load_table(const std::uint8_t* p) {
    return map<std::uint8_t>([&](int i) { return p[i % 16]; });
}
template <int PARTS> Lanes look_up_long(const std::uint8_t* table, const Lanes& codes) {
    const auto c = view<std::uint8_t>(codes);
    return map<std::uint8_t>([&](int i) { return table[c.v[i] % (16 * PARTS)]; });
}

inline Lanes subtract(const Lanes& a, const Lanes& b) {
    return map<std::int32_t>([&](int i) {
        return static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) - static_cast<std::uint32_t>(b.v[i]));
    });
}
inline Lanes bit_or(const Lanes& a, const Lanes& b) {
    return map<std::int32_t>([&](int i) { return a.v[i] | b.v[i]; });
}
inline Lanes larger_lanes(const Lanes& a, const Lanes& b) {
    return map<std::int32_t>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Lanes smaller_lanes(const Lanes& a, const Lanes& b) {
    return map<std::int32_t>([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Lanes low_halves(const Lanes& a) {
    return map<std::int32_t>([&](int i) { return a.v[i] & 0xFFFF; });
}
template <int S> Lanes shift_unsigned(const Lanes& a) {
    return map<std::int32_t>([&](int i) { return static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) >> S); });
}
inline Lanes shift_unsigned(const Lanes& a, const Lanes& counts) {  // counts from 0 on
    return map<std::int32_t>([&](int i) {
        return counts.v[i] > 31 ? 0 : static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) >> counts.v[i]);
    });
}
inline Lanes bit_and(const Lanes& a, const Lanes& b) {
    return map<std::int32_t>([&](int i) { return a.v[i] & b.v[i]; });
}
inline Lanes choose_bits(const Lanes& mask, const Lanes& a,
                         const Lanes& b) {  // of a where the mask has them, else of b
    return map<std::int32_t>([&](int i) { return (mask.v[i] & a.v[i]) | (~mask.v[i] & b.v[i]); });
}
// Stores the lanes' low kLowBits as sixteen bytes, then the bits above as sixteen more.
inline void store_weights(void* p, const Lanes& x) {
    std::uint8_t bytes[32];
    for (int i = 0; i < 16; i++) {
        bytes[i] = static_cast<std::uint8_t>(x.v[i] & ((1 << kLowBits) - 1));
        bytes[16 + i] = static_cast<std::uint8_t>(x.v[i] >> kLowBits);
    }
    std::memcpy(p, bytes, 32);
}

using Mask = Lanes;
inline Mask mask_of(std::uint32_t bits) {
    return map<std::int32_t>([&](int i) { return bits >> i & 1 ? -1 : 0; });
}
inline Mask less(const Lanes& a, const Lanes& b) {
    return map<std::int32_t>([&](int i) { return a.v[i] < b.v[i] ? -1 : 0; });
}
inline Lanes keep(const Mask& m, const Lanes& x) {
    return map<std::int32_t>([&](int i) { return m.v[i] ? x.v[i] : 0; });
}
inline Lanes choose(const Mask& m, const Lanes& x, const Lanes& y) {
    return map<std::int32_t>([&](int i) { return m.v[i] ? x.v[i] : y.v[i]; });
}

inline Lanes broadcast_wide(std::int64_t x) {
    return map<std::int64_t>([&](int) { return x; });
}
inline Lanes add_wide(const Lanes& a, const Lanes& b) {
    const auto x = view<std::int64_t>(a), y = view<std::int64_t>(b);
    return map<std::int64_t>([&](int i) { return x.v[i] + y.v[i]; });
}
inline Lanes multiply_low(const Lanes& a, const Lanes& b) {
    return map<std::int64_t>([&](int i) { return std::int64_t{a.v[2 * i]} * b.v[2 * i]; });
}
inline Lanes multiply_unsigned(const Lanes& a, const Lanes& b) {
    return map<std::uint64_t>([&](int i) {
        return std::uint64_t{static_cast<std::uint32_t>(a.v[2 * i])} * static_cast<std::uint32_t>(b.v[2 * i]);
    });
}
inline Lanes blend_words(const Lanes& a, const Lanes& b) {
    return map<std::int32_t>([&](int i) { return i % 2 ? b.v[i] : a.v[i]; });
}
inline Lanes low_words(const Lanes& a) { return blend_words(a, zero()); }
template <int S> Lanes shift_left_wide(const Lanes& a) {
    const auto x = view<std::uint64_t>(a);
    return map<std::uint64_t>([&](int i) { return x.v[i] << S; });
}
inline Lanes shift_left_wide(const Lanes& a, std::int64_t s) {
    const auto x = view<std::uint64_t>(a);
    return map<std::uint64_t>([&](int i) { return x.v[i] << s; });
}
inline Lanes shift_unsigned_wide(const Lanes& a, std::int64_t s) {
    const auto x = view<std::uint64_t>(a);
    return map<std::uint64_t>([&](int i) { return x.v[i] >> s; });
}
template <int S> Lanes shift_unsigned_wide(const Lanes& a) { return shift_unsigned_wide(a, S); }
inline Lanes shift_right_wide(const Lanes& a, int s) {
    const auto x = view<std::int64_t>(a);
    return map<std::int64_t>([&](int i) { return x.v[i] >> s; });
}
inline Lanes clip_wide(const Lanes& a, std::int64_t limit) {
    const auto x = view<std::int64_t>(a);
    return map<std::int64_t>([&](int i) { return x.v[i] < -limit ? -limit : x.v[i] > limit ? limit : x.v[i]; });
}

}  // namespace
