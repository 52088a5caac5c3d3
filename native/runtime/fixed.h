// Fixed-point notation of docs/numerics.md in plain loops (numerics/fixed.py).
#pragma once

#include <algorithm>
#include <bit>
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

}  // namespace intact
