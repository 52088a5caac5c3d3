// Attention (docs/numerics.md, section 7): a few queries of one sequence and KV head against its pages.

// Codes of a vector in Q16 under the scale max(1, ceil(amax * 2^BITS / LARGEST)).
template <int BITS, int LARGEST, int DROP, class Put>
std::int32_t quantize_head(const std::int32_t* x, std::int64_t width, Put put) {
    const std::int64_t amax = largest_magnitude(x, width);
    const std::int64_t scale = larger<std::int64_t>(((amax << BITS) + LARGEST - 1) / LARGEST, 1);
    const std::int64_t reciprocal = (std::int64_t{1} << (DROP + BITS)) / scale;
    for (std::int64_t i = 0; i < width; i++) put(i, round_shift_by<DROP>(x[i] * reciprocal));
    return static_cast<std::int32_t>(scale);
}

template <class T> T* part(const HeadCache& cache, std::int64_t position, std::int64_t offset) {
    return reinterpret_cast<T*>(cache.pages[position / cache.page_size] + offset);
}

void append(const std::int32_t* key, const std::int32_t* value, std::int64_t width, const HeadCache& cache,
            std::int64_t position) {
    const std::int64_t at = position % cache.page_size, depth = cache.depth;
    std::int16_t* keys = part<std::int16_t>(cache, position, cache.keys) + (at / 16) * 16 * depth + (at % 16) * 2;
    std::int8_t* values = part<std::int8_t>(cache, position, cache.values) + (at / 2) * 2 * depth + at % 2;
    part<std::int32_t>(cache, position, cache.key_scales)[at] = quantize_head<8, 2047, 48>(
        key, width, [&](std::int64_t i, std::int64_t q) { keys[(i / 2) * 32 + i % 2] = static_cast<std::int16_t>(q); });
    part<std::int32_t>(cache, position, cache.value_scales)[at] = quantize_head<6, 127, 50>(
        value, width, [&](std::int64_t i, std::int64_t q) { values[2 * i] = static_cast<std::int8_t>(q); });
}

struct QueryCodes {
    alignas(64) std::int16_t codes[512];
    std::int64_t mantissa, drop;
};

inline void quantize_query(const std::int32_t* x, std::int64_t width, std::int64_t depth, QueryScale scale,
                           QueryCodes& q) {
    const std::int64_t amax = largest_magnitude(x, width);
    const std::int64_t reciprocal = (std::int64_t{2047} << 48) / larger<std::int64_t>(amax, 1);
    for (std::int64_t i = 0; i < width; i++)
        q.codes[i] = static_cast<std::int16_t>(round_shift_by<48>(x[i] * reciprocal));
    for (std::int64_t i = width; i < depth; i++) q.codes[i] = 0;
    const std::int64_t product = amax * scale.mantissa;
    const int bits = bit_length(product);
    q.mantissa = shift_either(product, bits - 15);
    q.drop = scale.exponent + 24 - bits;
}

// Scores in base 2 and Q16 of T queries with keys begin..end (multiples of 16), to out[t][position - begin].
template <int T>
void scores(const QueryCodes* queries, const HeadCache& cache, std::int64_t begin, std::int64_t end, std::int32_t* out,
            std::int64_t stride) {
    const std::int64_t pairs = cache.depth / 2;
    for (std::int64_t p = begin; p < end; p += 16) {
        const std::int64_t at = p % cache.page_size;
        const std::int16_t* keys = part<std::int16_t>(cache, p, cache.keys) + at * cache.depth;
        const std::int32_t* scales = part<std::int32_t>(cache, p, cache.key_scales) + at;
        Lanes acc[T];
        for (int t = 0; t < T; t++) acc[t] = zero();
        for (std::int64_t d = 0; d < pairs; d++) {
            const Lanes k = load(keys + d * 32);
            for (int t = 0; t < T; t++) {
                std::int32_t two;
                __builtin_memcpy(&two, queries[t].codes + 2 * d, 4);
                acc[t] = dot_pairs(acc[t], k, broadcast(two));
            }
        }
        for (int t = 0; t < T; t++) {
            alignas(64) std::int32_t sums[16];
            store(sums, acc[t]);
            std::int32_t* to = out + t * stride + (p - begin);
            const std::int64_t mantissa = queries[t].mantissa, drop = queries[t].drop;
            if (drop >= 0 && drop <= 62) {
                for (int i = 0; i < 16; i += kWide)
                    store_wide(to + i,
                               saturate(round_shift(
                                   round_shift_by<15>(load_wide(sums + i) * mantissa) * load_wide(scales + i), drop)));
            } else {
                for (int i = 0; i < 16; i++)
                    to[i] = static_cast<std::int32_t>(
                        saturate(shift_either(round_shift_by<15>(sums[i] * mantissa) * scales[i], drop)));
            }
        }
    }
}

// Calls f(from, to) for the runs of slots that a query sees.
template <class F> void by_runs(const Query& q, F f) {
    if (q.first < q.end) f(q.first, q.end);
    for (std::uint64_t more = q.more; more; more &= more - 1) {
        const std::int64_t p = q.end + __builtin_ctzll(more);
        f(p, p + 1);
    }
}
inline std::int64_t end_of(const Query& q) { return q.end + (q.more ? 64 - __builtin_clzll(q.more) : 0); }

// Scores of one query to weights of 12 bits; returns h, and the sum of e in mass.
inline std::int64_t soften(const Query& q, const HeadCache& cache, std::int64_t begin, std::int64_t end,
                           const std::int32_t* score, std::int64_t* scaled, std::int16_t* weight, std::int64_t& mass) {
    std::int32_t top = -kLimit;
    by_runs(q, [&](std::int64_t from, std::int64_t to) {
        for (std::int64_t p = from; p < to; p++) top = larger(top, score[p - begin]);
    });
    Wide sum{}, most{};
    by_runs(q, [&](std::int64_t p, std::int64_t to) {
        while (p < to) {
            const std::int64_t at = p % cache.page_size, count = smaller(cache.page_size - at, to - p);
            const std::int32_t* scales = part<std::int32_t>(cache, p, cache.value_scales) + at;
            by_wide(count, [&](std::int64_t i, auto width) {
                Wide e = exp2_neg(larger(std::int64_t{top} - load_wide(score + (p - begin) + i, width), Wide{}));
                const Wide t = e * load_wide(scales + i, width);
                if (width < kWide) e = first_of(e, width);  // what was loaded beyond the end has a scale of 0, but an e
                store_wide(scaled + (p - begin) + i, t, width);
                sum += e;
                most = larger(most, t);
            });
            p += count;
        }
    });
    const std::int64_t h = larger(bit_length(largest_of(most)) - 12, 0);
    for (std::int64_t p = begin; p < end; p++) weight[p - begin] = 0;
    by_runs(q, [&](std::int64_t from, std::int64_t to) {
        by_wide(to - from, [&](std::int64_t i, auto count) {
            const std::int64_t at = from - begin + i;
            store_wide(weight + at, smaller(round_shift(load_wide(scaled + at, count), h), all<Wide>(4095)), count);
        });
    });
    mass = total_of(sum);
    return h;
}

// Sums of weights times values for 16 * C elements from element `first`, into totals (int64, [t][depth]).
// A 32-bit sum holds 4,096 positions: 4095 * 127 * 4096 < 2^31.
template <int T, int C>
void mix(const HeadCache& cache, std::int64_t begin, std::int64_t end, std::int64_t first, const std::int16_t* weight,
         std::int64_t stride, std::int64_t* totals) {
    for (std::int64_t from = begin; from < end; from += 4096) {
        Lanes acc[T][C];
        for (int t = 0; t < T; t++)
            for (int c = 0; c < C; c++) acc[t][c] = zero();
        for (std::int64_t p = from; p < smaller(from + 4096, end); p += 16) {
            const std::int64_t at = p % cache.page_size;
            const std::int8_t* values = part<std::int8_t>(cache, p, cache.values) + at * cache.depth + 2 * first;
            for (int j = 0; j < 8; j++) {
                Lanes v[C];
                for (int c = 0; c < C; c++) v[c] = widen_signed8(values + j * 2 * cache.depth + 32 * c);
                for (int t = 0; t < T; t++) {
                    std::int32_t two;
                    __builtin_memcpy(&two, weight + t * stride + (p - begin) + 2 * j, 4);
                    for (int c = 0; c < C; c++) acc[t][c] = dot_pairs(acc[t][c], v[c], broadcast(two));
                }
            }
        }
        for (int t = 0; t < T; t++)
            for (int c = 0; c < C; c++) {
                alignas(64) std::int32_t sums[16];
                store(sums, acc[t][c]);
                for (int i = 0; i < 16; i++) totals[t * cache.depth + first + 16 * c + i] += sums[i];
            }
    }
}

template <int T>
void attend_rows(const Query* queries, std::int64_t width, QueryScale scale, const HeadCache& cache,
                 std::int64_t* scratch) {
    std::int64_t first = queries[0].first, last = end_of(queries[0]);
    for (int t = 1; t < T; t++) {
        first = smaller(first, queries[t].first);
        last = larger(last, end_of(queries[t]));
    }
    const std::int64_t begin = first / 16 * 16, end = (last + 15) / 16 * 16, stride = end - begin;
    std::int64_t* totals = scratch;                                  // [T][depth]
    std::int64_t* scaled = totals + T * cache.depth;                 // [stride]
    auto* score = reinterpret_cast<std::int32_t*>(scaled + stride);  // [T][stride]
    auto* weight = reinterpret_cast<std::int16_t*>(score + T * stride);
    QueryCodes codes[T];
    for (int t = 0; t < T; t++) quantize_query(queries[t].x, width, cache.depth, scale, codes[t]);
    scores<T>(codes, cache, begin, end, score, stride);
    std::int64_t h[T], mass[T];
    for (int t = 0; t < T; t++)
        h[t] = soften(queries[t], cache, begin, end, score + t * stride, scaled, weight + t * stride, mass[t]);
    for (std::int64_t i = 0; i < T * cache.depth; i++) totals[i] = 0;
    std::int64_t d = 0;
    for (; d + 64 <= cache.depth; d += 64) mix<T, 4>(cache, begin, end, d, weight, stride, totals);
    for (; d < cache.depth; d += 16) mix<T, 1>(cache, begin, end, d, weight, stride, totals);
    for (int t = 0; t < T; t++) {
        const int s = bit_length(mass[t]) - 23;
        const std::int64_t inverse = (std::int64_t{1} << 46) / round_shift(mass[t], s), drop = 52 + s - h[t];
        for (std::int64_t i = 0; i < width; i++)
            queries[t].out[i] =
                static_cast<std::int32_t>(saturate(round_shift_any(totals[t * cache.depth + i] * inverse, drop)));
    }
}

void attend(const Query* queries, int count, std::int64_t width, QueryScale scale, const HeadCache& cache,
            std::int64_t* scratch) {
    repeat<kQueryRows>([&]<int T>() {
        if (count == T + 1) attend_rows<T + 1>(queries, width, scale, cache, scratch);
    });
}

// Unnormalised probabilities (section 10) of n logits, as Q30, and their sum.
void weights(const std::int32_t* logits, std::int64_t n, std::int32_t largest, std::int64_t slope, std::int32_t* out,
             std::int64_t* mass) {
    const std::int64_t limit = (std::int64_t{1} << 61) / slope;
    Wide sum{};
    by_wide(n, [&](std::int64_t i, auto count) {
        // Lanes beyond the end hold anything: clipped at 0, they stay within bounds, and drop out below.
        const Wide gap =
            smaller(larger(std::int64_t{largest} - load_wide(logits + i, count), Wide{}), all<Wide>(limit));
        Wide e = exp2_neg(round_shift_by<30>(gap * slope));
        if (count < kWide) e = first_of(e, count);
        store_wide(out + i, e, count);
        sum += e;
    });
    *mass = total_of(sum);
}
