// 32-bit values in a vector of the tier's size, `Narrow`: computes with half the instructions what Wide does in 64
// bits, wherever bounds allow it (docs/spec/numerics.md, sections 2 and 8).

typedef std::uint32_t Unsigned __attribute__((vector_size(sizeof(Narrow))));
constexpr int kNarrow = sizeof(Narrow) / 4;

inline Narrow splat(std::int32_t x) { return Narrow{} + x; }
// Products modulo 2^32.
inline Narrow times(Narrow a, Narrow b) { return (Narrow)((Unsigned)a * (Unsigned)b); }

// Loads and stores of up to kNarrow elements; elements beyond `count` read as 0 and are not written.
inline Narrow load_narrow(const std::int32_t* p, std::int64_t count = kNarrow) {
    Narrow x{};
    __builtin_memcpy(&x, p, static_cast<std::size_t>(count) * 4);
    return x;
}
inline void store_narrow(std::int32_t* p, Narrow x, std::int64_t count = kNarrow) {
    __builtin_memcpy(p, &x, static_cast<std::size_t>(count) * 4);
}
// Calls f(i, count) for i = 0, kNarrow, ...: count is kNarrow except in the last call.
template <class F> inline void by_narrow(std::int64_t n, F f) {
    std::int64_t i = 0;
    for (; i + kNarrow <= n; i += kNarrow) f(i, std::integral_constant<std::int64_t, kNarrow>());
    if (i < n) f(i, n - i);
}

// 2^-t for 0 <= t < 32 in Q16, as Q30. For t >= 31 the result is 1 instead of 0, too little to affect any gate. The
// fraction has 16 bits, so Q30 products need a shift by only 16.
inline Narrow exp2_neg(Split t) {
    const Narrow whole = join(t) >> 16;
    const Split fraction = low_halves(t);
    Split acc = horner<true>(split_all(-1014583), fraction, 9884650);
    acc = horner<false>(acc, fraction, -59375086);
    acc = horner<true>(acc, fraction, 257891465);
    acc = horner<false>(acc, fraction, -744257403);
    const Unsigned twice = (Unsigned)horner_twice<true>(acc, fraction, 1073741824);
    return (Narrow)(((twice >> (Unsigned)whole) + 1) >> 1);
}

// Minus floor(2^60 / d), d = 2^30 + e for 0 <= e <= 2^30. Minus the reciprocal of d / 2^30 = 2 + w, here y, has 16 bits
// including its sign, because 16-bit products are the cheapest. A cubic in w (without a square term) gives y with a
// relative error of 1/577 (Chebyshev), and a Newton step makes 15 bits of it correct; then 2^45 + y * d is small enough
// to fit in its low 32 bits, and so is the remainder of the rounded quotient, which is too large by at most 1. Upper
// halves have products too: for two negative numbers the product is 1, which changes nothing (all e were compared with
// the division).
inline Narrow minus_reciprocal_q60(Narrow e) {
    const Narrow d = (Narrow)((Unsigned)e + (1U << 30));  // modulo 2^32, as what it is multiplied by
    const Narrow w = (e + ((1 << 14) - (1 << 30))) >> 15;
    Narrow y = dot_pairs(Narrow{}, w, splat(7269)) >> 15;
    y = dot_pairs(splat(9086 << 15), y, w) >> 15;
    y = dot_pairs(splat(-16356 * (1 << 15)), y, w) >> 15;
    const Narrow error = dot_pairs((1 << 30) + (y << 16), y, w);  // Q30, below 2^22
    y += dot_pairs(splat(1 << 23), y, error >> 6) >> 24;
    const Narrow h = times(y, d);  // of the error in Q45
    const Narrow high = h >> 16;
    const Narrow more = h + (dot_pairs(Narrow{}, high, high) >> 13);  // 1 / (1 - h) = 1 + h + h^2 + ...
    const Narrow low = dot_pairs(splat(1 << 28), y, (more >> 1) & 0x7FFF) >> 15;
    const Narrow q = (y << 15) + (dot_pairs(low, y, more >> 16) >> 14);
    return times(q, d) < 0 ? q + 1 : q;
}

// 2^-|x| in the sigmoid's divisor; beyond 22 in Q16, the sigmoid is 0 or 1 anyway.
inline Narrow sigmoid_power(Narrow x) {
    const Narrow size = smaller(larger(x, -x), splat(22 << 16));
    return exp2_neg(multiply_shift<30>(split(size), split(splat(kLog2E)), rounding(0, 30)));
}
// The sigmoid of x, given minus the reciprocal of 1 plus that power.
inline Narrow sigmoid_of(Narrow x, Narrow minus_reciprocal) {
    return x < 0 ? (1 << 30) + minus_reciprocal : -minus_reciprocal;
}
