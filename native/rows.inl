// Operations on one row: quantisation, norms, rotary embedding, gates (docs/numerics.md, sections 3, 5, 6 and 8).

template <class T>
std::int64_t largest_magnitude(const T* x, std::int64_t n) {
    std::int64_t high = 0, low = 0;
    for (std::int64_t i = 0; i < n; i++) {
        high = larger<std::int64_t>(high, x[i]);
        low = smaller<std::int64_t>(low, x[i]);
    }
    return larger(high, -low);
}

// Block sums scaled and rounded to 13 bits under one exponent, zero padded to `padded`.
inline std::int32_t scaled_sums(const std::int32_t* sums, std::int64_t n, std::int64_t padded, std::int16_t* out) {
    const std::int64_t amax = largest_magnitude(sums, n);
    std::int32_t e = larger(bit_length(amax) - 13, 0);
    if (round_shift(amax, e) > 8191) e++;
    const std::int32_t half = (1 << e) >> 1;
    for (std::int64_t i = 0; i < n; i++) out[i] = static_cast<std::int16_t>((sums[i] + half) >> e);
    for (std::int64_t i = n; i < padded; i++) out[i] = 0;
    return e;
}

template <class T>
void quantize(const T* x, std::int64_t n, int fraction, const Activations& a, std::int64_t row) {
    constexpr std::int64_t kLargest = 127 * 8191;
    const std::int64_t amax = largest_magnitude(x, n);
    int e = 0;
    if (amax) {
        e = bit_length(amax) - 20;
        if (amax > (e >= 0 ? kLargest << e : kLargest >> -e)) e++;
    }
    a.exponent[row] = e - fraction;
    std::int8_t* codes = a.codes + row * a.stride;
    std::int32_t* scale = a.scale + row * a.blocks;
    std::int32_t* halves = a.half_sums + row * a.blocks * 2;
    const std::int64_t right = larger(e, 0), left = larger(-e, 0);
    for (std::int64_t b = 0; b < a.blocks; b++) {
        std::int32_t u[32];
        const std::int64_t count = smaller<std::int64_t>(32, n - b * 32);
        const T* from = x + b * 32;
        if (count == 32) {
            for (int i = 0; i < 32; i++) u[i] = static_cast<std::int32_t>(round_shift(std::int64_t{from[i]} << left, right));
        } else {
            for (int i = 0; i < 32; i++)
                u[i] = i < count ? static_cast<std::int32_t>(round_shift(std::int64_t{from[i]} << left, right)) : 0;
        }
        std::int32_t high = 0, low = 0;
        for (int i = 0; i < 32; i++) {
            high = larger(high, u[i]);
            low = smaller(low, u[i]);
        }
        const std::int32_t s = larger((larger(high, -low) + 126) / 127, 1);
        const std::int32_t reciprocal = ((1 << 24) + (s >> 1)) / s;
        scale[b] = s;
        std::int32_t sums[2] = {0, 0};
        for (int h = 0; h < 2; h++)
            for (int i = 0; i < 16; i++) {
                const std::int32_t q = (u[16 * h + i] * reciprocal + (1 << 23)) >> 24;
                codes[b * 32 + 16 * h + i] = static_cast<std::int8_t>(q);
                sums[h] += q;
            }
        halves[2 * b] = sums[0];
        halves[2 * b + 1] = sums[1];
    }
    // |sum| <= 4064 and scale <= 8191: the products stay below 2^25.
    std::int32_t* scratch = a.minima_scratch + row * a.blocks * 2;
    for (std::int64_t b = 0; b < a.blocks; b++) scratch[b] = (halves[2 * b] + halves[2 * b + 1]) * scale[b];
    a.minima32_exp[row] = scaled_sums(scratch, a.blocks, a.minima_stride, a.minima32 + row * a.minima_stride);
    for (std::int64_t b = 0; b < 2 * a.blocks; b++) scratch[b] = halves[b] * scale[b / 2];
    a.minima16_exp[row] = scaled_sums(scratch, 2 * a.blocks, 2 * a.minima_stride, a.minima16 + row * 2 * a.minima_stride);
}

void quantize_narrow(const std::int32_t* x, std::int64_t n, int fraction, const Activations& a, std::int64_t row) {
    quantize(x, n, fraction, a, row);
}
void quantize_wide(const std::int64_t* x, std::int64_t n, const Activations& a, std::int64_t row) { quantize(x, n, 20, a, row); }

// x / |x| as Q30 is round_shift((x rounded by t) * r, drop).
struct Unit {
    std::int64_t t, r, drop;
};

template <class T>
Unit unit(const T* x, const Gain& g, int fraction) {
    const std::int64_t amax = largest_magnitude(x, g.n);
    const int s = larger(bit_length(amax) - 20, 0), t = larger(bit_length(amax) - 31, 0);
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < g.n; i++) {
        const std::int64_t v = round_shift(x[i], s);
        sum += v * v;
    }
    const std::int64_t epsilon = round_shift_any(g.epsilon, 2 * (20 - fraction));
    const std::int64_t v = larger<std::int64_t>(sum + round_shift_any(epsilon, 2 * s), 1);
    const int p = (62 - bit_length(v)) / 2;
    const std::int64_t root = floor_sqrt(static_cast<std::uint64_t>(v) << (2 * p));
    return {t, (std::int64_t{1} << 61) / root, 31 - p + s - t};
}

void norm_wide(const std::int64_t* x, const Gain& g, std::int32_t* narrow, std::int64_t* wide, bool accumulate) {
    const Unit u = unit(x, g, 20);
    if (narrow) {
        for (std::int64_t i = 0; i < g.n; i++)
            narrow[i] = static_cast<std::int32_t>(
                round_shift(round_shift(round_shift(x[i], u.t) * u.r, u.drop) * g.factor[i], 30));
    } else {
        const int drop = 40 - g.exponent;
        for (std::int64_t i = 0; i < g.n; i++)
            wide[i] = (accumulate ? wide[i] : 0) +
                      round_shift(round_shift(round_shift(x[i], u.t) * u.r, u.drop) * g.factor[i], drop);
    }
}

void norm_narrow(const std::int32_t* x, const Gain& g, int fraction, std::int32_t* out) {
    const Unit u = unit(x, g, fraction);
    const int drop = 60 - g.exponent - fraction;
    for (std::int64_t i = 0; i < g.n; i++)
        out[i] = static_cast<std::int32_t>(saturate(round_shift(round_shift(round_shift(x[i], u.t) * u.r, u.drop) * g.factor[i], drop)));
}

void sine_cosine(std::int64_t position, const std::uint64_t* turns, std::int64_t n, std::int32_t* sine, std::int32_t* cosine) {
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

void rotate(std::int32_t* head, const std::int32_t* sine, const std::int32_t* cosine, std::int64_t half, bool interleaved) {
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

void gate(const std::int32_t* gates, const std::int32_t* up, std::int64_t n, bool gelu, std::int64_t* out) {
    const auto times = [](std::int64_t x, std::int64_t sigma, std::int64_t y) {
        return round_shift(round_shift(x * sigma, 30) * y, 12);
    };
    if (!gelu) {
        for (std::int64_t i = 0; i < n; i++) out[i] = times(gates[i], sigmoid_q30(gates[i]), up[i]);
        return;
    }
    for (std::int64_t i = 0; i < n; i++) {
        const std::int64_t x = gates[i], y = smaller<std::int64_t>(larger<std::int64_t>(x, -(1 << 20)), 1 << 20);
        const std::int64_t slope = 1713444047 + round_shift(round_shift(y * y, 16) * 76616651, 16);
        out[i] = times(x, sigmoid_q30(saturate(round_shift(y * slope, 30))), up[i]);
    }
}
