// 64-bit integers one at a time, for tiers without 512-bit vectors.
#pragma once
#include <cstdint>

namespace {

using Wide = std::int64_t;

inline Wide widen32(const std::int32_t* p) { return *p; }
inline void narrow32(std::int32_t* p, Wide x) { *p = static_cast<std::int32_t>(x); }
// The product of numbers that fit in 32 bits.
inline Wide times_low(Wide a, Wide b) {
    return std::int64_t{static_cast<std::int32_t>(a)} * static_cast<std::int32_t>(b);
}

}  // namespace
