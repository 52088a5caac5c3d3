// Values of 32 bits in a vector of the tier's size, `Narrow`: what is a matter of 64 bits on Wide is done here with
// half the instructions, wherever bounds allow it (docs/numerics.md, sections 2 and 8).

typedef std::uint32_t Unsigned __attribute__((vector_size(sizeof(Narrow))));
constexpr int kNarrow = sizeof(Narrow) / 4;

inline Narrow splat(std::int32_t x) { return Narrow{} + x; }
// Products modulo 2^32.
inline Narrow times(Narrow a, Narrow b) { return (Narrow)((Unsigned)a * (Unsigned)b); }

// Loads and stores of up to kNarrow; what lies beyond `count` reads as 0 and is not written.
inline Narrow load_narrow(const std::int32_t* p, std::int64_t count = kNarrow) {
    Narrow x{};
    __builtin_memcpy(&x, p, static_cast<std::size_t>(count) * 4);
    return x;
}
inline void store_narrow(std::int32_t* p, Narrow x, std::int64_t count = kNarrow) {
    __builtin_memcpy(p, &x, static_cast<std::size_t>(count) * 4);
}
// Calls f(i, count) for i = 0, kNarrow, ...: count is kNarrow, but for the last.
template <class F> inline void by_narrow(std::int64_t n, F f) {
    std::int64_t i = 0;
    for (; i + kNarrow <= n; i += kNarrow) f(i, std::integral_constant<std::int64_t, kNarrow>());
    if (i < n) f(i, n - i);
}

// 2^-t for t >= 0 in Q16, as Q30. The fraction has 16 bits, so that products of Q30 shift by 16 only.
inline Narrow exp2_neg(Split t) {
    const Narrow whole = join(t) >> 16;
    const Split fraction = low_halves(t);
    Split acc = horner<true>(split_all(-1014583), fraction, 9884650);
    acc = horner<false>(acc, fraction, -59375086);
    acc = horner<true>(acc, fraction, 257891465);
    acc = horner<false>(acc, fraction, -744257403);
    acc = horner<true>(acc, fraction, 1073741824);
    const Narrow s = smaller(whole, splat(30));
    return whole >= 31 ? Narrow{} : (join(acc) + ((splat(1) << s) >> 1)) >> s;
}

// floor(2^60 / (2^30 + e)) for 0 <= e <= 2^30, by products of 32 bits. A cubic in z gives the reciprocal of x = 1 + z
// with a relative error of 1/577 (Chebyshev), a Newton step 15 bits of it, y; then 2^45 - y * d is small enough for its
// low 32 bits to be all of it, and so is the remainder of the rounded quotient, which is 1 too large at most.
inline Narrow reciprocal_q60(Narrow e) {
    const Narrow minus_d = (Narrow)(-((Unsigned)e + (1u << 30)));
    const Narrow z = (e + (1 << 14)) >> 15;
    Narrow y = ((z * -7269) >> 15) + 21807;
    y = ((y * z) >> 15) - 30894;
    y = ((y * z) >> 15) + 32711;
    const Narrow error = (1 << 30) - y * (z + (1 << 15));  // Q30, below 2^22
    y += (y * (error >> 6) + (1 << 23)) >> 24;
    const Narrow h = times(y, minus_d);  // of the error in Q45
    const Narrow high = h >> 16;
    const Narrow more = h + ((high * high) >> 13);  // 1 / (1 - h) = 1 + h + h^2 + ...
    const Narrow fine = y * (more >> 15) + ((y * (more & 0x7FFF)) >> 15);
    const Narrow q = (y << 15) + ((fine + (1 << 14)) >> 15);
    const Narrow rest = times(q, minus_d);
    return rest < 0 ? q - 1 : q;
}

// Beyond 32 in Q16 either way the sigmoid is 0 or 1.
inline Narrow sigmoid_q30(Narrow x) {
    const Narrow size = smaller(larger(x, -x), splat(1 << 21));
    const Narrow e = exp2_neg(multiply_shift<30>(split(size), split(splat(kLog2E)), rounding(0, 30)));
    const Narrow positive = reciprocal_q60(e);
    return x < 0 ? (1 << 30) - positive : positive;
}
