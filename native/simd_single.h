// 64-bit integers one at a time, for tiers without vectors of 512 bits.
#pragma once
#include <cstdint>

namespace {

using Wide = std::int64_t;

inline Wide widen32(const std::int32_t* p) { return *p; }
inline void narrow32(std::int32_t* p, Wide x) { *p = static_cast<std::int32_t>(x); }

}  // namespace
