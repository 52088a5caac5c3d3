// Sixteen values of 32 bits at once, in the compiler's own vectors: what is a matter of 64 bits on Wide is done here
// with half the instructions, wherever bounds allow it (docs/numerics.md, sections 2 and 8).

typedef std::uint32_t Unsigned __attribute__((vector_size(64)));

inline Sixteen splat(std::int32_t x) { return Sixteen{} + x; }
// Products modulo 2^32.
inline Sixteen times(Sixteen a, Sixteen b) { return (Sixteen)((Unsigned)a * (Unsigned)b); }

// What is added to a product that is then shifted right by s, so that it rounds and c is added to it.
constexpr std::int64_t rounding(std::int64_t c, int s) { return (c << s) + (std::int64_t{1} << (s - 1)); }

// Loads and stores of up to sixteen; what lies beyond `count` reads as 0 and is not written.
inline Sixteen load_sixteen(const std::int32_t* p, std::int64_t count = 16) {
    Sixteen x{};
    __builtin_memcpy(&x, p, static_cast<std::size_t>(count) * 4);
    return x;
}
inline void store_sixteen(std::int32_t* p, Sixteen x, std::int64_t count = 16) {
    __builtin_memcpy(p, &x, static_cast<std::size_t>(count) * 4);
}
// Calls f(i, count) for i = 0, 16, ...: count is 16, but for the last.
template <class F> inline void by_sixteen(std::int64_t n, F f) {
    std::int64_t i = 0;
    for (; i + 16 <= n; i += 16) f(i, std::integral_constant<std::int64_t, 16>());
    if (i < n) f(i, n - i);
}

// 2^-t for t >= 0 in Q16, as Q30. The fraction has 16 bits, so that products of Q30 shift by 16 only.
inline Sixteen exp2_neg(Split t) {
    const Sixteen whole = join(t) >> 16;
    const Split fraction = low_halves(t);
    Split acc = multiply_shift<16>(split(splat(-1014583)), fraction, rounding(9884650, 16));
    acc = multiply_shift<16>(acc, fraction, rounding(-59375086, 16));
    acc = multiply_shift<16>(acc, fraction, rounding(257891465, 16));
    acc = multiply_shift<16>(acc, fraction, rounding(-744257403, 16));
    acc = multiply_shift<16>(acc, fraction, rounding(1073741824, 16));
    const Sixteen s = smaller(whole, splat(30));
    return whole >= 31 ? Sixteen{} : (join(acc) + ((splat(1) << s) >> 1)) >> s;
}

// floor(2^60 / (2^30 + e)) for 0 <= e <= 2^30, by products of 32 bits. A cubic in z gives the reciprocal of x = 1 + z
// with a relative error of 1/577 (Chebyshev), a Newton step 15 bits of it, y; then 2^45 - y * d is small enough for its
// low 32 bits to be all of it, and so is the remainder of the rounded quotient, which is 1 too large at most.
inline Sixteen reciprocal_q60(Sixteen e) {
    const Sixteen minus_d = (Sixteen)(-((Unsigned)e + (1u << 30)));
    const Sixteen z = (e + (1 << 14)) >> 15;
    Sixteen y = ((z * -7269) >> 15) + 21807;
    y = ((y * z) >> 15) - 30894;
    y = ((y * z) >> 15) + 32711;
    const Sixteen error = (1 << 30) - y * (z + (1 << 15));  // Q30, below 2^22
    y += (y * (error >> 6) + (1 << 23)) >> 24;
    const Sixteen h = times(y, minus_d);  // of the error in Q45
    const Sixteen high = h >> 16;
    const Sixteen more = h + ((high * high) >> 13);  // 1 / (1 - h) = 1 + h + h^2 + ...
    const Sixteen fine = y * (more >> 15) + ((y * (more & 0x7FFF)) >> 15);
    const Sixteen q = (y << 15) + ((fine + (1 << 14)) >> 15);
    const Sixteen rest = times(q, minus_d);
    return rest < 0 ? q - 1 : q;
}

// Beyond 32 in Q16 either way the sigmoid is 0 or 1.
inline Sixteen sigmoid_q30(Sixteen x) {
    const Sixteen size = smaller(larger(x, -x), splat(1 << 21));
    const Sixteen e = exp2_neg(multiply_shift<30>(split(size), split(splat(kLog2E)), rounding(0, 30)));
    const Sixteen positive = reciprocal_q60(e);
    return x < 0 ? (1 << 30) - positive : positive;
}
