// Fixed-point notation of docs/numerics.md in plain loops (numerics/fixed.py).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace intact {

constexpr std::int64_t kMost32 = INT32_MAX, kOne30 = std::int64_t{1} << 30;

// Bits of x >= 0.
inline int bits_of(std::int64_t x) { return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(x))); }

// x / 2^s, rounded half up; 0 from 63 bits on.
inline std::int64_t rshift(std::int64_t x, std::int64_t s) {
    if (s >= 63) return 0;
    return s <= 0 ? x : (x + (std::int64_t{1} << (s - 1))) >> s;
}

// x clipped to +-(2^31 - 1).
inline std::int64_t sat32(std::int64_t x) { return std::clamp(x, -kMost32, kMost32); }

// x / 2^s as above, and a shift to the left of what fits 32 bits for s < 0.
inline std::int64_t shift(std::int64_t x, std::int64_t s) {
    return s >= 0 ? rshift(x, s) : sat32(x) * (std::int64_t{1} << std::min<std::int64_t>(-s, 31));
}

// x with so many bits of fraction, at least 16, rounded half up and cut to what Q16 holds; what is no number as the
// largest.
template <int kFraction> inline std::int64_t to_fixed(float x) {
    constexpr std::int64_t kMost = kMost32 << (kFraction - 16);
    const double scaled = std::floor(static_cast<double>(x) * (1 << kFraction) + 0.5);
    if (!(scaled < static_cast<double>(kMost))) return kMost;
    return scaled < -static_cast<double>(kMost) ? -kMost : static_cast<std::int64_t>(scaled);
}

}  // namespace intact
