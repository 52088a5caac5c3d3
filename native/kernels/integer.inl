// Fixed-point arithmetic shared by the kernels of a tier (docs/spec/numerics.md, "Notation" and section 2).

#define INTACT_INLINE __attribute__((always_inline))

// Calls f<0>() to f<N - 1>(), unrolled.
template <class F, int... G> INTACT_INLINE inline void each(F f, std::integer_sequence<int, G...>) {
    (f.template operator()<G>(), ...);
}
template <int N, class F> INTACT_INLINE inline void repeat(F f) { each(f, std::make_integer_sequence<int, N>()); }

// A fully unrolled loop over i = 0 to n - 1 for a known small n. It compiles in a third of the time of `repeat`, which
// is for bodies that need the index as a constant.
#define INTACT_UNROLLED(i, n) _Pragma("GCC unroll 64") for (int i = 0; i < (n); i++)

constexpr std::int64_t kLimit = (std::int64_t{1} << 31) - 1;

template <class T> constexpr T smaller(T a, T b) { return a < b ? a : b; }
template <class T> T larger(T a, T b) { return a > b ? a : b; }

// `Wide` (from the tier's simd header) is int64_t or a vector of int64_t; the arithmetic below works for both.
template <class T> struct TypeIs {
    using type = T;
};
template <class T> using Same = typename TypeIs<T>::type;  // takes no part in deduction, so that constants convert
template <class T> T all(std::int64_t x) { return T{} + x; }

inline int bit_length(std::int64_t x) { return x ? 64 - __builtin_clzll(static_cast<unsigned long long>(x)) : 0; }

template <class T> T saturate(T x) { return smaller(larger(x, all<T>(-kLimit)), all<T>(kLimit)); }

// Rounds half up; 0 <= s <= 62 and |x| < 2^62.
template <class T, class S> T round_shift(T x, S s) { return (x + ((all<T>(1) << s) >> 1)) >> s; }
template <int S, class T> T round_shift_by(T x) { return (x + (std::int64_t{1} << (S - 1))) >> S; }

inline std::int64_t round_shift_any(std::int64_t x, std::int64_t s) { return s >= 63 ? 0 : round_shift(x, s); }
inline std::int64_t shift_either(std::int64_t x, std::int64_t s) {
    return s >= 0 ? round_shift_any(x, s) : saturate(x) << smaller<std::int64_t>(-s, 31);
}
// The same for |x| < 2^31, without branches: a right shift beyond 62 gives 0 anyway.
template <class T> T shift_small(T x, T s) {
    const T right = smaller(larger(s, all<T>(0)), all<T>(62)), left = smaller(larger(-s, all<T>(0)), all<T>(31));
    return round_shift(x << left, right);
}

// The addend of a product before a right shift by s: it adds c to the result and rounds it.
constexpr std::int64_t rounding(std::int64_t c, int s) { return (c << s) + (std::int64_t{1} << (s - 1)); }

constexpr std::int64_t kLog2E = 1549082005;  // Q30

// 2^-t for t >= 0 in Q16, as Q30.
template <class T> T exp2_neg(T t) {
    const T whole = smaller(t >> 16, all<T>(32)), fraction = (t & 0xFFFF) << 14;
    T acc = all<T>(-1014583);
    acc = round_shift_by<30>(acc * fraction) + 9884650;
    acc = round_shift_by<30>(acc * fraction) - 59375086;
    acc = round_shift_by<30>(acc * fraction) + 257891465;
    acc = round_shift_by<30>(acc * fraction) - 744257403;
    acc = round_shift_by<30>(acc * fraction) + 1073741824;
    return whole >= 31 ? all<T>(0) : round_shift(acc, whole);
}

// Newton's method, which converges from above, in a few steps for 2^60 <= v < 2^62.
inline std::int64_t floor_sqrt(std::uint64_t v) {
    const auto next = [&](std::uint64_t root) { return (root + v / root) / 2; };
    std::uint64_t root = next(std::uint64_t{3} << 29);
    for (std::uint64_t lower; (lower = next(root)) < root;) root = lower;
    return static_cast<std::int64_t>(root);
}

// Loads and stores of up to kWide elements; elements beyond `count` read as 0 and are not written.
constexpr int kWide = sizeof(Wide) / 8;

template <class T> Wide load_wide(const T* p, std::int64_t count = kWide) {
    if constexpr (kWide == 1) {
        return static_cast<Wide>(*p);
    } else {
        T part[kWide] = {};
        const T* from = p;
        if (count < kWide) {
            __builtin_memcpy(part, p, static_cast<std::size_t>(count) * sizeof(T));
            from = part;
        }
        if constexpr (sizeof(T) == 4) {
            return widen32(from);
        } else {
            Wide x;
            __builtin_memcpy(&x, from, sizeof(x));
            return x;
        }
    }
}
template <class T> void store_wide(T* p, Wide x, std::int64_t count = kWide) {
    if constexpr (kWide == 1) {
        *p = static_cast<T>(x);
    } else if (count < kWide) {
        std::int64_t all[kWide];
        __builtin_memcpy(all, &x, sizeof(x));
        for (std::int64_t i = 0; i < count; i++) p[i] = static_cast<T>(all[i]);
    } else if constexpr (sizeof(T) == 4) {
        narrow32(p, x);
    } else {
        std::int64_t all[kWide];
        __builtin_memcpy(all, &x, sizeof(x));
        for (int i = 0; i < kWide; i++) p[i] = static_cast<T>(all[i]);
    }
}
// Returns x with zeros from element `count` onwards.
template <class T> T first_of(T x, std::int64_t count) {
    if constexpr (sizeof(T) > 8)
        for (std::int64_t i = count; i < kWide; i++) x[i] = 0;
    return x;
}
template <class T> std::int64_t total_of(T x) {
    if constexpr (sizeof(T) == 8) {
        return x;
    } else {
        std::int64_t sum = 0;
        for (int i = 0; i < kWide; i++) sum += x[i];
        return sum;
    }
}
template <class T> std::int64_t any_bits(T x) {  // that any element has
    if constexpr (sizeof(T) == 8) {
        return x;
    } else {
        std::int64_t bits = 0;
        for (int i = 0; i < kWide; i++) bits |= x[i];
        return bits;
    }
}
template <class T> std::int64_t largest_of(T x) {
    if constexpr (sizeof(T) == 8) {
        return x;
    } else {
        std::int64_t most = x[0];
        for (int i = 1; i < kWide; i++) most = larger<std::int64_t>(most, x[i]);
        return most;
    }
}
// Calls f(i, count) for i = 0, kWide, ...: count is kWide except in the last call.
template <class F> inline void by_wide(std::int64_t n, F f) {
    std::int64_t i = 0;
    for (; i + kWide <= n; i += kWide) f(i, std::integral_constant<std::int64_t, kWide>());
    if (i < n) f(i, n - i);
}
