// Operations on one row: quantisation, norms, rotary embedding, gates (docs/spec/numerics.md, sections 3, 5, 6 and 8).

template <class T> std::int64_t largest_magnitude(const T* x, std::int64_t n) {
    std::int64_t high = 0, low = 0;
    for (std::int64_t i = 0; i < n; i++) {
        high = larger<std::int64_t>(high, x[i]);
        low = smaller<std::int64_t>(low, x[i]);
    }
    return larger(high, -low);
}

// Scales block sums and rounds them to 13 bits under one exponent; zero-padded to `padded`.
inline std::int32_t scaled_sums(const std::int32_t* sums, std::int64_t n, std::int64_t padded, std::int16_t* out) {
    const std::int64_t amax = largest_magnitude(sums, n);
    std::int32_t e = larger(bit_length(amax) - 13, 0);
    if (round_shift(amax, e) > 8191) e++;
    const std::int32_t half = (1 << e) >> 1;
    for (std::int64_t i = 0; i < n; i++) out[i] = static_cast<std::int16_t>((sums[i] + half) >> e);
    for (std::int64_t i = n; i < padded; i++) out[i] = 0;
    return e;
}

// Selects consecutive lanes; `fold` uses it to reduce a vector by halves.
template <int FIRST, class V, int... I> auto lanes_of(V x, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(x, x, (FIRST + I)...);
}
template <class V, class F> std::int32_t fold(V x, F f) {
    constexpr int kHalf = sizeof(V) / 8;
    if constexpr (kHalf == 2) {
        x = f(x, __builtin_shufflevector(x, x, 2, 3, 0, 1));
        return f(x, __builtin_shufflevector(x, x, 1, 0, 3, 2))[0];
    } else {
        const std::make_integer_sequence<int, kHalf> lanes;
        return fold(f(lanes_of<0>(x, lanes), lanes_of<kHalf>(x, lanes)), f);
    }
}
inline Narrow magnitude(Narrow x) { return larger(x, -x); }

inline std::int64_t largest_of_row(const std::int64_t* x, std::int64_t n) { return largest_magnitude(x, n); }
inline std::int64_t largest_of_row(const std::int32_t* x, std::int64_t n) {
    Narrow most{};
    by_narrow(n, [&](std::int64_t i, auto count) { most = larger(most, magnitude(load_narrow(x + i, count))); });
    return fold(most, [](auto a, auto b) { return larger(a, b); });
}

// Values of a row, shifted right by e (left if e is negative) and rounded.
struct Rounded {
    explicit Rounded(int e) : right(larger(e, 0)), left(larger(-e, 0)) {}

    Narrow operator()(const std::int32_t* x) const {
        const Narrow v = load_narrow(x);
        return right ? (v >> right) + ((v >> (right - 1)) & 1) : v << left;
    }
    Narrow operator()(const std::int64_t* x) const {
        return right ? shift_narrow(x, std::int64_t{1} << (right - 1), right) : shift_narrow(x, 0, 0) << left;
    }

    const int right, left;
};

// Sums every sixteen codes of `blocks` blocks of 32; reads up to the next multiple of 64.
template <int... I, int... FOURTH>
void sum_codes_of(const std::int8_t* codes, std::int64_t blocks, std::int32_t* sums, std::integer_sequence<int, I...>,
                  std::integer_sequence<int, FOURTH...>) {
    const Lanes ones = broadcast(0x01010101);
    for (std::int64_t b = 0; b < blocks; b += 2) {
        Narrow parts[16 / kNarrow];
        store(parts, dot_codes(zero(), ones, load(codes + 32 * b)));
        std::int32_t four[4];
        for (int p = 0; p < 16 / kNarrow; p++) {
            Narrow x = parts[p];
            x += __builtin_shufflevector(x, x, (I ^ 1)...);
            x += __builtin_shufflevector(x, x, (I ^ 2)...);
            const auto few = __builtin_shufflevector(x, x, (4 * FOURTH)...);
            __builtin_memcpy(four + p * kNarrow / 4, &few, sizeof(few));
        }
        __builtin_memcpy(sums + 2 * b, four, b + 1 < blocks ? 16 : 8);
    }
}
inline void sum_codes(const std::int8_t* codes, std::int64_t blocks, std::int32_t* sums) {
    sum_codes_of(codes, blocks, sums, std::make_integer_sequence<int, kNarrow>(),
                 std::make_integer_sequence<int, kNarrow / 4>());
}

// Computes the sums of a row's codes and their scaled form for minima.
inline void sum_row(const Activations& a, std::int64_t row) {
    const std::int32_t* scale = a.scale + row * a.blocks;
    std::int32_t* halves = a.half_sums + row * a.blocks * 2;
    sum_codes(a.codes + row * a.stride, a.blocks, halves);
    // |sum| <= 4064 and scale <= 8191: the products stay below 2^25.
    std::int32_t* scratch = a.minima_scratch + row * a.blocks * 2;
    if (!a.skip_minima32) {
        for (std::int64_t b = 0; b < a.blocks; b++) scratch[b] = (halves[2 * b] + halves[2 * b + 1]) * scale[b];
        a.minima32_exp[row] = scaled_sums(scratch, a.blocks, a.minima_stride, a.minima32 + row * a.minima_stride);
    }
    if (!a.skip_minima16) {
        for (std::int64_t b = 0; b < 2 * a.blocks; b++) scratch[b] = halves[b] * scale[b / 2];
        a.minima16_exp[row] =
            scaled_sums(scratch, 2 * a.blocks, 2 * a.minima_stride, a.minima16 + row * 2 * a.minima_stride);
    }
}

template <class T> void quantize(const T* x, std::int64_t n, int fraction, const Activations& a, std::int64_t row) {
    constexpr std::int64_t kLargest = 127 * 8191;
    const std::int64_t amax = largest_of_row(x, n);
    int e = 0;
    if (amax) {
        e = bit_length(amax) - 20;
        if (amax > (e >= 0 ? kLargest << e : kLargest >> -e)) e++;
    }
    a.exponent[row] = e - fraction;
    std::int8_t* codes = a.codes + row * a.stride;
    std::int32_t* scale = a.scale + row * a.blocks;
    const Rounded rounded(e);
    // Several blocks are processed side by side, as in `gate`.
    const auto some = [&]<int N>(const T* from, std::int64_t b) INTACT_INLINE {
        constexpr int kParts = 32 / kNarrow;
        Narrow u[N][kParts];
        std::int32_t reciprocal[N];
        INTACT_UNROLLED(j, N) {
            Narrow high{};
            for (int i = 0; i < kParts; i++) {
                u[j][i] = rounded(from + 32 * j + i * kNarrow);
                high = larger(high, magnitude(u[j][i]));
            }
            const std::int32_t most = fold(high, [](auto p, auto q) { return larger(p, q); });
            const std::int32_t s = larger((most + 126) / 127, 1);
            reciprocal[j] = ((1 << 24) + (s >> 1)) / s;
            scale[b + j] = s;
        }
        INTACT_UNROLLED(j, N) {
            for (int i = 0; i < kParts; i++) {
                typedef std::int8_t Bytes __attribute__((vector_size(kNarrow)));
                const Bytes bytes = __builtin_convertvector((u[j][i] * reciprocal[j] + (1 << 23)) >> 24, Bytes);
                __builtin_memcpy(codes + (b + j) * 32 + i * kNarrow, &bytes, kNarrow);
            }
        }
    };
    constexpr int kSome = 4;
    std::int64_t b = 0;
    for (; b + kSome <= n / 32; b += kSome) some.template operator()<kSome>(x + 32 * b, b);
    for (; b < n / 32; b++) some.template operator()<1>(x + 32 * b, b);
    if (b < a.blocks) {
        T padded[32];
        for (std::int64_t i = 0; i < 32; i++) padded[i] = b * 32 + i < n ? x[b * 32 + i] : 0;
        some.template operator()<1>(padded, b);
    }
    sum_row(a, row);
}

void quantize_narrow(const std::int32_t* x, std::int64_t n, int fraction, const Activations& a, std::int64_t row) {
    quantize(x, n, fraction, a, row);
}
void quantize_wide(const std::int64_t* x, std::int64_t n, int fraction, const Activations& a, std::int64_t row) {
    quantize(x, n, fraction, a, row);
}

// |u| / 2^least rounded to `mantissa` significant bits or to an integer, ties to even.
inline std::int64_t nearest_level(std::int64_t size, int least, int mantissa) {
    const int drop = larger(bit_length(size) - mantissa, least);
    const std::int64_t whole = size >> drop, rest = size & ((std::int64_t{1} << drop) - 1);
    const bool up = 2 * rest + (whole & 1) > std::int64_t{1} << drop;
    return (whole + up) << (drop - least);
}

// Plain loops: the speed of other grids does not matter yet.
void quantize_to(const std::int64_t* x, std::int64_t n, int fraction, const Scheme& scheme, const Activations& a,
                 std::int64_t row) {
    const std::int64_t most = std::int64_t{scheme.largest} * (scheme.power ? 1 << 12 : 8191);
    const std::int64_t amax = largest_magnitude(x, n);
    int e = 0;
    if (amax) {
        e = bit_length(amax) - bit_length(most);
        if (amax > (e >= 0 ? most << e : most >> -e)) e++;
    }
    a.exponent[row] = e - fraction;
    std::int8_t* codes = a.codes + row * a.stride;
    std::int32_t* scale = a.scale + row * a.blocks;
    const std::int64_t shared = scheme.whole_row ? a.blocks - 3 * scheme.outliers : 0,
                       rest = a.blocks - scheme.outliers;
    const auto value = [&](std::int64_t i) -> std::int64_t {
        if (i >= n) return 0;
        const std::int64_t u = shift_either(x[i], e), coded = i - 64 * scheme.outliers;  // its place among the first
        return i < 32 * rest ? u : u - std::int64_t{codes[coded]} * scale[coded / 32];
    };
    const auto largest = [&](std::int64_t begin, std::int64_t end) {
        std::int64_t top = 0;
        for (std::int64_t i = begin; i < end; i++) top = larger(top, larger(value(i), -value(i)));
        return static_cast<std::int32_t>(top);
    };
    const std::int32_t top = largest(0, 32 * shared);
    for (std::int64_t b = 0; b < a.blocks; b++) {
        const std::int32_t high = b < shared ? top : largest(32 * b, 32 * b + 32);
        std::int32_t s = larger((high + scheme.largest - 1) / scheme.largest, 1);
        const int power = bit_length(s - 1);
        if (scheme.power) s = 1 << power;
        const std::int64_t reciprocal = ((1 << 24) + (s >> 1)) / s;
        scale[b] = s;
        for (std::int64_t i = 32 * b; i < 32 * b + 32; i++) {
            const std::int64_t u = value(i);
            std::int64_t level;
            if (scheme.power) {
                level = nearest_level(larger(u, -u), power + scheme.step_bits, scheme.mantissa);
                if (u < 0) level = -level;
            } else {
                level = round_shift(u * reciprocal, 24 + scheme.step_bits);
            }
            codes[i] = static_cast<std::int8_t>(level * (1 << scheme.step_bits));
        }
    }
    sum_row(a, row);
}

// Finds by bisection the smallest score to keep: the largest score that at least `keep` inputs reach.
void sparsify(const Activations& a, std::int64_t row, std::int64_t n, const Sparsity& sparsity) {
    std::int8_t* codes = a.codes + row * a.stride;
    const std::int32_t* scale = a.scale + row * a.blocks;
    const auto score = [&](std::int64_t i) -> std::int64_t {
        const std::int64_t x = (codes[i] < 0 ? -codes[i] : codes[i]) * scale[i / 32];
        if (!sparsity.random) return sparsity.norms ? x * sparsity.norms[i] : x;
        auto mixed = static_cast<std::uint32_t>(x) * 2654435761u + static_cast<std::uint32_t>(i) * 2246822519u;
        mixed = (mixed ^ mixed >> 15) * 2246822519u;
        return mixed ^ mixed >> 13;
    };
    const auto reach = [&](std::int64_t least) {
        std::int64_t count = 0;
        for (std::int64_t i = 0; i < n; i++) count += score(i) >= least;
        return count;
    };
    std::int64_t low = 0, high = std::int64_t{1} << 36;
    while (high - low > 1) {
        const std::int64_t middle = (low + high) / 2;
        (reach(middle) >= sparsity.keep ? low : high) = middle;
    }
    std::int64_t equal = sparsity.keep - reach(low + 1);  // of those with that very score the first so many
    for (std::int64_t i = 0; i < n; i++) {
        const std::int64_t own = score(i);
        if (own < low || (own == low && equal-- <= 0)) codes[i] = 0;
    }
    sum_row(a, row);
}

void hadamard(std::int64_t* x, std::int64_t n, std::int64_t size) {
    constexpr std::int64_t kMost = std::int64_t{1} << 53;
    for (std::int64_t i = 0; i < n; i++) x[i] = smaller(larger(x[i], -kMost), kMost);
    for (std::int64_t half = 1; half < size; half *= 2)
        for (std::int64_t first = 0; first < n; first += 2 * half)
            for (std::int64_t i = first; i < first + half; i++) {
                const std::int64_t a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
}

// x / |x| as Q30 is round_shift((x rounded by t) * r, drop).
struct Unit {
    std::int64_t t, r, drop;
};

template <class T> Unit unit(const T* x, const Gain& g, int fraction) {
    Wide bits{};  // each bit that any magnitude has
    by_wide(g.n, [&](std::int64_t i, auto count) {
        const Wide v = load_wide(x + i, count);
        bits |= larger(v, -v);
    });
    const int length = bit_length(any_bits(bits)), s = larger(length - 20, 0), t = larger(length - 31, 0);
    const Wide by = all<Wide>(s);
    Wide squares{};
    by_wide(g.n, [&](std::int64_t i, auto count) {
        const Wide v = round_shift(load_wide(x + i, count), by);
        squares += times_low(v, v);
    });
    const std::int64_t epsilon = round_shift_any(g.epsilon, 2 * (20 - fraction));
    const std::int64_t v = larger<std::int64_t>(total_of(squares) + round_shift_any(epsilon, 2 * s), 1);
    const int p = (62 - bit_length(v)) / 2;
    const std::int64_t root = floor_sqrt(static_cast<std::uint64_t>(v) << (2 * p));
    return {t, (std::int64_t{1} << 61) / root, 31 - p + s - t};
}

// Calls f(i, y, count) with the elements y times their gains, in Q60.
template <class T, class F> void by_normed(const T* x, const Unit& u, const Gain& g, F f) {
    const Wide t = all<Wide>(u.t), r = all<Wide>(u.r), drop = all<Wide>(u.drop);
    const auto run = [&](auto product) {
        by_wide(g.n, [&](std::int64_t i, auto count) {
            const Wide y = round_shift(product(round_shift(load_wide(x + i, count), t), r), drop);
            f(i, times_low(y, load_wide(g.factor + i, count)), count);
        });
    };
    if (u.t == 0 && u.r <= kLimit)
        run([](Wide a, Wide b) { return times_low(a, b); });
    else
        run([](Wide a, Wide b) { return a * b; });
}

void norm_wide(const std::int64_t* x, const Gain& g, std::int32_t* narrow, std::int64_t* wide, bool accumulate) {
    by_normed(x, unit(x, g, 20), g, [&](std::int64_t i, Wide y, auto count) {
        if (narrow)
            store_wide(narrow + i, round_shift_by<30>(y), count);
        else
            store_wide(
                wide + i,
                round_shift(y, std::int64_t{40} - g.exponent) + (accumulate ? load_wide(wide + i, count) : Wide{}),
                count);
    });
}

void norm_narrow(const std::int32_t* x, const Gain& g, int fraction, std::int32_t* out) {
    const std::int64_t drop = smaller<std::int64_t>(60 - g.exponent - fraction, 62);  // |y| <= 2^60: 0 beyond 62 anyway
    by_normed(x, unit(x, g, fraction), g,
              [&](std::int64_t i, Wide y, auto count) { store_wide(out + i, saturate(round_shift(y, drop)), count); });
}

void sine_cosine(std::int64_t position, const std::uint64_t* turns, std::int64_t n, std::int32_t* sine,
                 std::int32_t* cosine) {
    for (std::int64_t i = 0; i < n; i++) {
        const std::uint64_t angle = static_cast<std::uint64_t>(position) * turns[i];
        const std::uint64_t quadrant = (angle + (std::uint64_t{1} << 61)) >> 62;
        const std::int64_t u = round_shift(static_cast<std::int64_t>(angle - (quadrant << 62)), 31);
        const std::int64_t square = round_shift(u * u, 30);
        std::int64_t s = 332, c = 3790;
        s = round_shift(s * square, 30) - 39269;
        c = round_shift(c * square, 30) - 349974;
        s = round_shift(s * square, 30) + 2674039;
        c = round_shift(c * square, 30) + 17023452;
        s = round_shift(s * square, 30) - 86699833;
        c = round_shift(c * square, 30) - 331168967;
        s = round_shift(s * square, 30) + 843314857;
        c = round_shift(c * square, 30) + 1073741824;
        s = round_shift(u * s, 30);
        const std::int64_t first = quadrant & 1 ? c : s, second = quadrant & 1 ? s : c;
        sine[i] = static_cast<std::int32_t>(quadrant & 2 ? -first : first);
        cosine[i] = static_cast<std::int32_t>((quadrant + 1) & 2 ? -second : second);
    }
}

void rotate(std::int32_t* head, const std::int32_t* sine, const std::int32_t* cosine, std::int64_t half,
            bool interleaved) {
    const auto turn = [&](std::int32_t& x, std::int32_t& y, std::int64_t i) {
        const std::int64_t a = x, b = y, s = sine[i], c = cosine[i];
        x = static_cast<std::int32_t>(saturate(round_shift(a * c - b * s, 30)));
        y = static_cast<std::int32_t>(saturate(round_shift(a * s + b * c, 30)));
    };
    if (interleaved)
        for (std::int64_t i = 0; i < half; i++) turn(head[2 * i], head[2 * i + 1], i);
    else
        for (std::int64_t i = 0; i < half; i++) turn(head[i], head[i + half], i);
}

// The argument of GELU's sigmoid. Beyond 5.75 the sigmoid is 0 or 1 anyway; within, the slope minus 2^31 has 32 bits.
inline Narrow gelu_inner(Narrow x) {
    const Narrow y = smaller(larger(x, splat(-376832)), splat(376832));
    const Split square = multiply_shift<16>(split(y), split(y), rounding(0, 16));
    const Split slope =
        multiply_shift<16>(square, split(splat(76616651)), rounding(1713444047 - (std::int64_t{1} << 31), 16));
    return join(multiply_shift<30>(split(y), slope, rounding(0, 30))) + 2 * y;
}

// The argument of the sigmoid in the erf form of GELU; beyond 6.5 the sigmoid is 0 or 1.
inline Narrow gelu_erf_inner(Narrow x) {
    const Narrow y = smaller(larger(x, splat(-425984)), splat(425984));
    const Split square = multiply_shift<16>(split(y), split(y), rounding(0, 16));
    Split slope = multiply_shift<16>(split_all(601), square, rounding(-16418, 16));
    slope = multiply_shift<16>(slope, square, rounding(-67035, 16));
    slope = multiply_shift<16>(slope, square, rounding(19579033, 16));
    slope = multiply_shift<16>(slope, square, rounding(428330719, 16));
    return join(multiply_shift<28>(split(y), slope, rounding(0, 28)));
}

// The argument of the sigmoid in gpt-oss's gate, for x up to 7: 1.702 x.
inline Narrow oai_inner(Narrow x) {
    return join(multiply_shift<16>(split(larger(x, splat(-(1 << 20)))), split(splat(111542)), rounding(0, 16)));
}

// Processes several vectors side by side, one step of all of them at a time: a processor looks only a few hundred
// instructions ahead, fewer than one vector has, and most of a vector's instructions wait for each other.
template <GateKind KIND>
void gate_of(const std::int32_t* gates, const std::int32_t* up, std::int64_t n, std::int64_t* out) {
    constexpr std::int32_t kLimit7 = 7 << 16;  // of gpt-oss's gate
    constexpr bool kRelu = KIND == GateKind::kRelu, kOai = KIND == GateKind::kSwigluOai;
    const auto some = [&]<int N>(std::int64_t i, auto count) INTACT_INLINE {
        Narrow x[N], inner[N], y[N];
        INTACT_UNROLLED(j, N) {
            x[j] = load_narrow(gates + i + j * kNarrow, count);
            if constexpr (kRelu) x[j] = larger(x[j], splat(0));
            if constexpr (kOai) x[j] = smaller(x[j], splat(kLimit7));
            inner[j] = KIND == GateKind::kGelu      ? gelu_inner(x[j])
                       : KIND == GateKind::kGeluErf ? gelu_erf_inner(x[j])
                       : kOai                       ? oai_inner(x[j])
                                                    : x[j];
        }
        INTACT_UNROLLED(j, N) y[j] = sigmoid_power(inner[j]);
        INTACT_UNROLLED(j, N) y[j] = minus_reciprocal_q60(y[j]);
        INTACT_UNROLLED(j, N) {
            const Narrow share = kRelu ? splat(1 << 30) : sigmoid_of(inner[j], y[j]);
            Narrow factor = load_narrow(up + i + j * kNarrow, count);
            if constexpr (kOai) factor = smaller(larger(factor, splat(-kLimit7)), splat(kLimit7)) + (1 << 16);
            const Split by = split(factor);
            std::int64_t all[kNarrow];
            std::int64_t* to = count == kNarrow ? out + i + j * kNarrow : all;
            if constexpr (KIND == GateKind::kSigmoid)
                multiply_shift_wide<26>(to, split(share), by, rounding(0, 26));
            else
                multiply_shift_wide<12>(to, multiply_shift<30>(split(x[j]), split(share), rounding(0, 30)), by,
                                        rounding(0, 12));
            if (count < kNarrow) __builtin_memcpy(out + i, all, static_cast<std::size_t>(count) * 8);
        }
    };
    constexpr std::int64_t kSome = 4;
    const std::int64_t most = n / (kSome * kNarrow) * (kSome * kNarrow);
    for (std::int64_t i = 0; i < most; i += kSome * kNarrow)
        some.template operator()<kSome>(i, std::integral_constant<std::int64_t, kNarrow>());
    by_narrow(n - most, [&](std::int64_t i, auto count) { some.template operator()<1>(most + i, count); });
}

void gate(const std::int32_t* gates, const std::int32_t* up, std::int64_t n, GateKind kind, std::int64_t* out) {
    switch (kind) {
        case GateKind::kSilu:
            return gate_of<GateKind::kSilu>(gates, up, n, out);
        case GateKind::kGelu:
            return gate_of<GateKind::kGelu>(gates, up, n, out);
        case GateKind::kRelu:
            return gate_of<GateKind::kRelu>(gates, up, n, out);
        case GateKind::kSwigluOai:
            return gate_of<GateKind::kSwigluOai>(gates, up, n, out);
        case GateKind::kSigmoid:
            return gate_of<GateKind::kSigmoid>(gates, up, n, out);
        case GateKind::kGeluErf:
            return gate_of<GateKind::kGeluErf>(gates, up, n, out);
    }
}

void sigmoid(const std::int32_t* x, std::int64_t n, std::int32_t* out) {
    by_narrow(n, [&](std::int64_t i, auto count) {
        const Narrow v = load_narrow(x + i, count), y = sigmoid_of(v, minus_reciprocal_q60(sigmoid_power(v)));
        __builtin_memcpy(out + i, &y, static_cast<std::size_t>(count) * 4);
    });
}

void soft_cap(std::int32_t* x, std::int64_t n, SoftCap cap) {
    constexpr std::int64_t kSome = 64;
    std::int32_t twice[kSome], share[kSome];
    for (std::int64_t i = 0; i < n; i += kSome) {
        const std::int64_t count = smaller(kSome, n - i);
        by_wide(count, [&](std::int64_t j, auto some) {
            store_wide(twice + j, saturate(round_shift_by<24>(load_wide(x + i + j, some) * cap.slope)), some);
        });
        sigmoid(twice, count, share);
        by_wide(count, [&](std::int64_t j, auto some) {
            store_wide(x + i + j, round_shift_by<29>(load_wide(share + j, some) * cap.limit) - cap.limit, some);
        });
    }
}

void add_scaled(const std::int64_t* y, std::int64_t n, std::int32_t factor, std::int64_t* x) {
    constexpr std::int64_t kMost = std::int64_t{1} << 42;
    by_wide(n, [&](std::int64_t i, auto count) {
        const Wide clipped = larger(smaller(load_wide(y + i, count), all<Wide>(kMost)), all<Wide>(-kMost));
        store_wide(x + i, load_wide(x + i, count) + round_shift_by<18>(clipped * std::int64_t{factor}), count);
    });
}
