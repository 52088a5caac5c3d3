// Fixed-point notation of docs/spec/numerics.md in plain loops (numerics/fixed.py).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace intact {

constexpr std::int64_t kMost32 = INT32_MAX, kOne30 = std::int64_t{1} << 30;

// Number of bits of x >= 0.
inline int bits_of(std::int64_t x) { return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(x))); }

// x / 2^s, rounded half up; 0 for s of 63 or more.
inline std::int64_t rshift(std::int64_t x, std::int64_t s) {
    if (s >= 63) return 0;
    return s <= 0 ? x : (x + (std::int64_t{1} << (s - 1))) >> s;
}

// x clipped to +-(2^31 - 1).
inline std::int64_t sat32(std::int64_t x) { return std::clamp(x, -kMost32, kMost32); }

// x / 2^s as above; for s < 0, x clipped to 32 bits and shifted left.
inline std::int64_t shift(std::int64_t x, std::int64_t s) {
    return s >= 0 ? rshift(x, s) : sat32(x) * (std::int64_t{1} << std::min<std::int64_t>(-s, 31));
}

// Converts x to fixed point with kFraction fraction bits, at least 16, rounded half up and clipped to the range of Q16;
// NaN becomes the largest number.
template <int kFraction> inline std::int64_t to_fixed(float x) {
    constexpr std::int64_t kMost = kMost32 << (kFraction - 16);
    const double scaled = std::floor(static_cast<double>(x) * (1 << kFraction) + 0.5);
    if (!(scaled < static_cast<double>(kMost))) return kMost;
    return scaled < -static_cast<double>(kMost) ? -kMost : static_cast<std::int64_t>(scaled);
}

}  // namespace intact
