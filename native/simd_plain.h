// What tiers share that have no vectors of 512 bits: 64-bit integers one at a time, and plain loops over sixteen.
#pragma once
#include <cstdint>

namespace {

using Wide = std::int64_t;
typedef std::int32_t Sixteen __attribute__((vector_size(64)));

inline Wide widen32(const std::int32_t* p) { return *p; }
inline void narrow32(std::int32_t* p, Wide x) { *p = static_cast<std::int32_t>(x); }

using Split = Sixteen;
inline Split split(Sixteen x) { return x; }
inline Sixteen join(Split x) { return x; }
inline Split low_halves(Split x) { return x & 0xFFFF; }
template <int S> Split multiply_shift(Split a, Split b, std::int64_t c) {
    Split out;
    for (int i = 0; i < 16; i++) out[i] = static_cast<std::int32_t>((std::int64_t{a[i]} * b[i] + c) >> S);
    return out;
}
template <int S> void multiply_shift_wide(std::int64_t* out, Split a, Split b, std::int64_t c) {
    for (int i = 0; i < 16; i++) out[i] = (std::int64_t{a[i]} * b[i] + c) >> S;
}
inline Sixteen shift_sixteen(const std::int64_t* p, std::int64_t c, int s) {
    Sixteen out;
    for (int i = 0; i < 16; i++) out[i] = static_cast<std::int32_t>((p[i] + c) >> s);
    return out;
}

}  // namespace
