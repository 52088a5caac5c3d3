// Narrow integers for tiers without dedicated instructions: plain loops.
#pragma once
#include <cstdint>

namespace {

typedef std::int32_t Narrow __attribute__((vector_size(16)));

using Split = Narrow;
inline Split split(Narrow x) { return x; }
inline Narrow join(Split x) { return x; }
inline Split low_halves(Split x) { return x & 0xFFFF; }
template <int S> Split multiply_shift(Split a, Split b, std::int64_t c) {
    Split out;
    for (int i = 0; i < 4; i++) out[i] = static_cast<std::int32_t>((std::int64_t{a[i]} * b[i] + c) >> S);
    return out;
}
template <int S> void multiply_shift_wide(std::int64_t* out, Split a, Split b, std::int64_t c) {
    for (int i = 0; i < 4; i++) out[i] = (std::int64_t{a[i]} * b[i] + c) >> S;
}
// Sums of products in 64 bits.
struct Sums {
    std::int64_t all[4];
};
inline Sums add_products(Sums sums, Split a, Split b) {
    for (int i = 0; i < 4; i++) sums.all[i] += std::int64_t{a[i]} * b[i];
    return sums;
}
inline void store_sums(std::int64_t* out, const Sums& sums) {
    for (int i = 0; i < 4; i++) out[i] = sums.all[i];
}
// acc + sum over 2 of signed 16-bit products.
inline Narrow dot_pairs(Narrow acc, Narrow a, Narrow b) {
    return acc + (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
}
inline Narrow shift_narrow(const std::int64_t* p, std::int64_t c, int s) {
    Narrow out;
    for (int i = 0; i < 4; i++) out[i] = static_cast<std::int32_t>((p[i] + c) >> s);
    return out;
}

}  // namespace
