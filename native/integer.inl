// Fixed-point arithmetic shared by the kernels of a tier (docs/numerics.md, "Notation" and section 2).

constexpr std::int64_t kLimit = (std::int64_t{1} << 31) - 1;

template <class T>
T smaller(T a, T b) { return a < b ? a : b; }
template <class T>
T larger(T a, T b) { return a > b ? a : b; }

inline int bit_length(std::int64_t x) { return x ? 64 - __builtin_clzll(static_cast<unsigned long long>(x)) : 0; }
inline std::int64_t saturate(std::int64_t x) { return smaller(larger(x, -kLimit), kLimit); }

// Rounds half up; 0 <= s <= 62 and |x| < 2^62.
inline std::int64_t round_shift(std::int64_t x, std::int64_t s) {
    return (x + ((std::int64_t{1} << s) >> 1)) >> s;
}
inline std::int64_t round_shift_any(std::int64_t x, std::int64_t s) { return s >= 63 ? 0 : round_shift(x, s); }
inline std::int64_t shift_either(std::int64_t x, std::int64_t s) {
    return s >= 0 ? round_shift_any(x, s) : saturate(x) << smaller<std::int64_t>(-s, 31);
}
// The same for |x| < 2^31, without branches: beyond 62 a right shift gives 0 anyway.
inline std::int64_t shift_small(std::int64_t x, std::int64_t s) {
    const std::int64_t right = smaller<std::int64_t>(larger<std::int64_t>(s, 0), 62);
    const std::int64_t left = smaller<std::int64_t>(larger<std::int64_t>(-s, 0), 31);
    return round_shift(x << left, right);
}

constexpr std::int64_t kLog2E = 1549082005;  // Q30

// 2^-t for t >= 0 in Q16, as Q30.
inline std::int64_t exp2_neg(std::int64_t t) {
    const std::int64_t whole = smaller<std::int64_t>(t >> 16, 32), fraction = (t & 0xFFFF) << 14;
    constexpr std::int64_t half = 1 << 29;
    std::int64_t acc = -1014583;
    acc = ((acc * fraction + half) >> 30) + 9884650;
    acc = ((acc * fraction + half) >> 30) - 59375086;
    acc = ((acc * fraction + half) >> 30) + 257891465;
    acc = ((acc * fraction + half) >> 30) - 744257403;
    acc = ((acc * fraction + half) >> 30) + 1073741824;
    const auto rounded =
        static_cast<std::int64_t>((static_cast<std::uint64_t>(acc) + ((std::uint64_t{1} << whole) >> 1)) >> whole);
    return whole >= 31 ? 0 : rounded;
}

// floor(2^60 / d) for 2^30 <= d <= 2^31: three Newton steps, then the quotient is corrected by its remainder.
inline std::int64_t reciprocal_q60(std::int64_t d) {
    std::int64_t y = 3031741621 - ((2021161081 * d) >> 31);
    for (int step = 0; step < 3; step++) y = (y * ((std::int64_t{1} << 31) - ((d * y) >> 31))) >> 30;
    std::int64_t q = y >> 1;
    for (int step = 0; step < 2; step++) {
        const std::int64_t rest = (std::int64_t{1} << 60) - q * d;
        q += (rest >= d) - (rest < 0);
    }
    return q;
}

inline std::int64_t sigmoid_q30(std::int64_t x) {
    const std::int64_t magnitude = x < 0 ? -x : x;
    const std::int64_t e = exp2_neg((magnitude * kLog2E + (1 << 29)) >> 30);
    const std::int64_t positive = reciprocal_q60((1 << 30) + e);
    return x < 0 ? (1 << 30) - positive : positive;
}

inline std::int64_t floor_sqrt(std::uint64_t v) {
    std::uint64_t root = 0;
    for (std::uint64_t bit = std::uint64_t{1} << 31; bit; bit >>= 1) {
        const std::uint64_t trial = root | bit;
        if (trial * trial <= v) root = trial;
    }
    return static_cast<std::int64_t>(root);
}
